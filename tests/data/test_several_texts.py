"""Several texts of one picture, wherever they stand: numbered columns and fields, tokens of Karpathy's splits, text files of archives."""

import csv
import io
import json
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

import pairloom
from pairloom.data.formats import _columns
from pairloom.data.pair import Pair, Text
from pairloom.data.shards import ColumnNames, find, open_set, read

COUNT = 3


def png(seed: int) -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.random.default_rng(seed).integers(0, 255, (6, 5, 3), dtype=np.uint8)).save(file, "PNG")
    return file.getvalue()


def words(pair: Pair) -> list[str]:
    return [text.text for text in pair.texts]


def pictures(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for at in range(COUNT):
        (folder / f"{at}.png").write_bytes(png(at))
    return folder


RIGHT = [["a dog 0", "the dog 0"], ["a dog 1", "the dog 1"], ["a dog 2"]]
ROWS = [
    {
        "image": f"{at}.png",
        "caption_0": f"a dog {at}",
        "caption_1": f"the dog {at}" if at < 2 else "",
        "split": "x",
    }
    for at in range(COUNT)
]


def as_csv(folder: Path) -> None:
    with open(folder / "a.csv", "w", newline="") as file:
        writer = csv.DictWriter(file, list(ROWS[0]))
        writer.writeheader()
        writer.writerows(ROWS)


def as_lines(folder: Path) -> None:
    (folder / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))


def as_list(folder: Path) -> None:
    (folder / "a.json").write_text(json.dumps(ROWS))


def as_parquet(folder: Path) -> None:
    pq.write_table(pa.Table.from_pylist(ROWS), folder / "a.parquet")


def as_metadata(folder: Path) -> None:
    rows = [{"file_name" if name == "image" else name: value for name, value in row.items()} for row in ROWS]
    (folder / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


KINDS = [as_csv, as_lines, as_list, as_parquet, as_metadata]


@pytest.mark.parametrize("kind", KINDS)
def test_numbered_columns_are_the_texts_of_one_picture(tmp_path: Path, kind: Callable[[Path], None]) -> None:
    kind(pictures(tmp_path / "in"))
    pairs = pairloom.open(tmp_path / "in")
    assert [words(pair) for pair in pairs] == RIGHT and [pair.meta for pair in pairs] == [
        {"split": "x"}
    ] * COUNT
    assert any("texts from the columns 'caption_0' to 'caption_1'" in note for note in pairs.notes)
    # written with a further text: one more column
    module, before = find(pairs.format), open_set(tmp_path / "in")
    for shard in before.shards:
        more = [pair.with_texts((*pair.texts, Text("new", "synthetic:m"))) for pair in read(shard)]
        module.write(tmp_path / "out", shard.name, more, shard)
    module.finish(tmp_path / "out", [shard.name for shard in before.shards])
    after = list(pairloom.open(tmp_path / "out"))
    assert [words(pair) for pair in after] == [[*texts, "new"] for texts in RIGHT]
    assert [pair.texts[-1].source for pair in after] == ["synthetic:m"] * COUNT
    assert [pair.texts[0].source for pair in after] == ["original"] * COUNT


@pytest.mark.parametrize(
    ("names", "texts"),
    [
        (["image", "caption_10", "caption_2", "caption_1"], ("caption_1", "caption_2", "caption_10")),
        (["image", "Text 1", "Text 2"], ("Text 1", "Text 2")),
        (["image", "caption", "caption2", "caption3"], ("caption", "caption2", "caption3")),
        (["image", "description1", "description2"], ("description1", "description2")),
        (["image", "caption1"], ("caption1",)),
        (["image", "caption", "caption.1"], ("caption",)),  # a second column of the same name
        (["image", "text", "title_1", "title_2"], ("text",)),
        (["image", "title_1", "title_2", "alt_1", "alt_2"], ()),  # either could be meant
        (["image", "text_1", "text_2", "prompt_1"], ("text_1", "text_2")),
        (["image", "caption", "text"], ("text", "caption")),  # the first that has one
        (["image", "score_1", "score_2"], ()),
    ],
)
def test_which_columns_are_a_series(names: list[str], texts: tuple[str, ...]) -> None:
    assert _columns.text_columns(names, ColumnNames())[0] == texts


def test_numbered_fields_of_json_beside_a_picture_and_in_a_tar(tmp_path: Path) -> None:
    folder = pictures(tmp_path / "in")
    with tarfile.open(tmp_path / "x.tar", "w") as tar:
        for at, row in enumerate(ROWS):
            record = json.dumps({"caption_0": row["caption_0"], "caption_1": row["caption_1"]}).encode()
            (folder / f"{at}.json").write_bytes(record)
            for name, data in ((f"{at}.png", png(at)), (f"{at}.json", record)):
                entry = tarfile.TarInfo(name)
                entry.size = len(data)
                tar.addfile(entry, io.BytesIO(data))
    assert [words(pair) for pair in pairloom.open(folder)] == RIGHT
    assert [words(pair) for pair in pairloom.open(tmp_path / "x.tar")] == RIGHT


def test_tokens_of_karpathys_splits_where_there_is_no_raw(tmp_path: Path) -> None:
    sentences = [
        {"tokens": ["a", "dog", "runs"], "sentid": 1},
        {"tokens": ["b"], "raw": "B!"},
        {"tokens": []},
    ]
    rows = [{"filename": "0.png", "split": "train", "sentences": sentences}]
    (pictures(tmp_path) / "dataset.json").write_text(json.dumps({"images": rows}))
    (pair,) = pairloom.open(tmp_path)
    assert words(pair) == ["a dog runs", "B!"] and pair.texts[0].meta == {"tokens": ["a", "dog", "runs"], "sentid": 1}  # fmt: skip
    assert pair.notes == ("sentences without raw are read from their tokens",)


# -- archives ----------------------------------------------------------------------------------------------------------

ARCHIVED = [
    ({"0.caption.txt": "a dog"}, ["a dog"]),
    ({"0.caption.txt": "a dog", "0.tags.txt": "dog, beach"}, ["a dog"]),
    ({"0.txt": "a dog", "0.tags.txt": "dog, beach"}, ["a dog"]),
    ({"0.0.txt": "a dog", "0.1.txt": "the dog", "0.10.txt": "dogs", "0.2.txt": "one dog"}, ["a dog", "the dog", "one dog", "dogs"]),
    ({"0.txt": "a dog", "0.1.txt": "the dog"}, ["a dog", "the dog"]),
    ({"0.caption_0.txt": "a dog", "0.caption_1.txt": "the dog"}, ["a dog", "the dog"]),
    ({"0.prompt.txt": "a dog"}, ["a dog"]),
    ({"0.long.txt": "a dog", "0.short.txt": "dog"}, []),  # either could be meant
    ({"0.txt": "a dog", "0.5.png": "", "0.5.txt": "another picture's"}, ["a dog"]),
]  # fmt: skip


def archive(path: Path, files: dict[str, bytes], compression: int = zipfile.ZIP_DEFLATED) -> Path:
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w", compression) as packed:
            for name, data in files.items():
                packed.writestr(name, data)
    else:
        with tarfile.open(path, "w") as tar:
            for name, data in files.items():
                entry = tarfile.TarInfo(name)
                entry.size = len(data)
                tar.addfile(entry, io.BytesIO(data))
    return path


@pytest.mark.parametrize("suffix", [".tar", ".zip"])
@pytest.mark.parametrize(("texts", "right"), ARCHIVED)
def test_text_files_of_a_sample(tmp_path: Path, texts: dict[str, str], right: list[str], suffix: str) -> None:
    files = {"0.png": png(0), **{name: text.encode() for name, text in texts.items()}}
    (pair,) = pairloom.open(archive(tmp_path / f"x{suffix}", files))
    assert words(pair) == right and pair.image.read() == png(0)
    left = [name for name in texts if texts[name] not in right]
    assert all(any(name[1:] in note for note in pair.notes) for name in left)


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_zips_of_pictures_with_their_texts_are_read_in_place(tmp_path: Path, compression: int) -> None:
    files = {f"train/{at}.png": png(at) for at in range(COUNT)}
    files |= {f"train/{at}.txt": f"a dog {at}".encode() for at in range(COUNT)}  # pictures first
    files |= {"__MACOSX/train/._0.png": b"x", "train/.DS_Store": b"", "train/caf\u00e9.png": png(9), "train/caf\u00e9.txt": b"a cat"}  # fmt: skip
    archive(tmp_path / "x.zip", files, compression)
    for where in (tmp_path / "x.zip", tmp_path):
        pairs = list(pairloom.open(where))
        assert [words(pair)[0] for pair in pairs] == ["a dog 0", "a dog 1", "a dog 2", "a cat"]
        assert [pair.image.read() for pair in pairs] == [png(0), png(1), png(2), png(9)]
        assert not any(pair.problem for pair in pairs)
    shard = open_set(tmp_path).shards[0]
    find("webdataset").write(tmp_path / "out", shard.name, read(shard), shard)
    assert [words(pair)[0] for pair in pairloom.open(tmp_path / "out" / "x.tar")][0] == "a dog 0"


def test_names_that_lead_out_of_a_zip_are_told_and_windows_separators_are_read(tmp_path: Path) -> None:
    files = {"../0.png": png(0), "../0.txt": b"a dog", "in\\1.png": png(1), "in\\1.txt": b"the dog"}
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as packed:
        for name, data in files.items():
            entry = zipfile.ZipInfo("x")
            entry.filename = name
            packed.writestr(entry, data)
    pairs = list(pairloom.open(tmp_path))
    assert [pair.name for pair in pairs if not pair.problem] == ["in/1"]
    assert sum("leads out of the archive" in pair.problem for pair in pairs) == 2


def test_members_that_cannot_be_read_are_told_and_the_others_are_read(tmp_path: Path) -> None:
    names = ("a", "b", "c", "d", "e")
    files = {f"{k}{suffix}": data for k in names for suffix, data in ((".png", png(1)), (".txt", b"a dog"))}
    raw = bytearray(archive(tmp_path / "x.zip", files, zipfile.ZIP_STORED).read_bytes())
    entries = {entry.filename: entry for entry in zipfile.ZipFile(tmp_path / "x.zip").infolist()}
    at = raw.index(b"PK\1\2")
    for name in entries:  # the directory: flags at 8, method at 10, sizes at 20 and 24, header's place at 42
        if name == "b.png":
            raw[at + 8] |= 1
        if name == "c.png":
            raw[at + 10] = 14  # LZMA
        if name == "d.png":
            raw[at + 10] = 8
            raw[at + 24 : at + 28] = (1 << 31).to_bytes(4, "little")  # a bomb
        at += 46 + len(name)
    (tmp_path / "x.zip").write_bytes(raw)
    pairs = list(pairloom.open(tmp_path / "x.zip"))
    problems = [pair.problem for pair in pairs if pair.problem and "no image" not in pair.problem]
    assert [words(pair) for pair in pairs if not pair.problem] == [["a dog"], ["a dog"]]
    assert ["encrypted" in problems[0], "method" in problems[1], "more bytes" in problems[2]] == [True] * 3


def test_a_zip_that_is_broken_or_holds_a_table_of_other_things_says_so(tmp_path: Path) -> None:
    whole = archive(tmp_path / "x.zip", {"0.png": png(0), "metadata.csv": b"number,weight\n0,3\n"}).read_bytes()  # fmt: skip
    with pytest.raises(pairloom.Mistake, match=r"1 \.png, 1 \.csv: .*unpack it first"):
        pairloom.open(tmp_path / "x.zip").check()
    (tmp_path / "x.zip").write_bytes(whole[: len(whole) // 2])
    (pair,) = pairloom.open(tmp_path / "x.zip")
    assert "no sound zip" in pair.problem


# -- maps --------------------------------------------------------------------------------------------------------------

MAPS: list[tuple[dict[str, object], list[list[str]]]] = [
    ({f"{at}.png": f"a dog {at}" for at in range(COUNT)}, [["a dog 0"], ["a dog 1"], ["a dog 2"]]),
    ({f"{at}.png": row for at, row in enumerate(RIGHT)}, RIGHT),
    ({str(at): {"caption": f"a dog {at}", "tags": "x, y"} for at in range(COUNT)}, [["a dog 0"], ["a dog 1"], ["a dog 2"]]),
    ({"images/0.png": "a dog 0", "/home/me/set/images/1.png": "a dog 1", "2.png": None, "3.png": "gone"}, [["a dog 0"], ["a dog 1"], [], ["gone"]]),
]  # fmt: skip


@pytest.mark.parametrize(("captions", "right"), MAPS)
def test_maps_from_pictures_to_captions(
    tmp_path: Path, captions: dict[str, object], right: list[list[str]]
) -> None:
    pictures(tmp_path / "images")
    (tmp_path / "captions.json").write_text(json.dumps(captions))
    pairs = pairloom.open(tmp_path)
    assert pairs.format == "caption_map" and [words(pair) for pair in pairs] == right
    assert [pair.image.read() for pair in pairs if pair.image_key] == [png(0), png(1), png(2)]
    assert [bool(pair.problem) for pair in pairs] == [not texts or texts == ["gone"] for texts in right]


def test_a_map_comes_back_as_it_was_and_a_key_that_stands_twice_is_read_twice(tmp_path: Path) -> None:
    pictures(tmp_path)
    entries = '"0.png": {"tags": "x", "caption": "a dog"}, "1.png": {"caption": ["b", "c"]}, "1.png": {"caption": "d"}'
    (tmp_path / "meta_cap.json").write_text("{" + entries + "}")
    pairs, module = open_set(tmp_path), find("caption_map")
    assert [words(pair) for pair in pairs.pairs()] == [["a dog"], ["b", "c"], ["d"]]
    for shard in pairs.shards:
        module.write(tmp_path / "out", shard.name, read(shard), shard)
    module.finish(tmp_path / "out", [shard.name for shard in pairs.shards])
    after = json.loads((tmp_path / "out" / "meta_cap.json").read_text())
    assert after == {"0.png": {"tags": "x", "caption": "a dog"}, "1.png": {"caption": ["b", "c", "d"]}}


def test_a_map_beside_texts_of_the_same_names_is_no_set(tmp_path: Path) -> None:
    pictures(tmp_path)
    for at in range(COUNT):
        (tmp_path / f"{at}.txt").write_text(f"a cat {at}")
    (tmp_path / "meta.json").write_text(json.dumps({f"{at}.png": "a dog" for at in range(COUNT)}))
    pairs = pairloom.open(tmp_path)
    assert pairs.format == "folder_text" and "meta.json was not read" in pairs.notes[0]


def test_keys_without_suffix_and_lists_beside_a_picture(tmp_path: Path) -> None:
    for at in range(COUNT):
        (tmp_path / f"{at}.PNG").write_bytes(png(at))
    (tmp_path / "meta.json").write_text(json.dumps({str(at): texts for at, texts in enumerate(RIGHT)}))
    assert [words(pair) for pair in pairloom.open(tmp_path)] == RIGHT
    (tmp_path / "meta.json").unlink()
    for at, texts in enumerate(RIGHT):
        (tmp_path / f"{at}.json").write_text(json.dumps(texts))
    assert [words(pair) for pair in pairloom.open(tmp_path)] == RIGHT
