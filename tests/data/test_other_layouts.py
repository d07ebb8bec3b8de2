"""Layouts that other tools leave: rows as lists, maps under a key, tables in archives, caches of the hub, names from elsewhere."""

import io
import json
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

import pairloom
from pairloom.data.formats import _json
from pairloom.data.formats._texts import texts_in
from pairloom.errors import Mistake

TEXTS = ["a dog on a beach", "two cats, asleep", 'a man with a "hat"', "a red car"]
NAMES = [f"{at}.jpg" for at in range(4)]
PAIRS = dict(zip(NAMES, TEXTS))
CSV = "image,caption\n" + "".join(
    '{},"{}"\n'.format(name, text.replace('"', '""')) for name, text in PAIRS.items()
)


def picture(at: int) -> bytes:
    pixels = np.random.default_rng(at).integers(0, 256, (20, 24, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG")
    return file.getvalue()


def lay(root: Path, contents: dict[str, bytes | str]) -> Path:
    for name, content in contents.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    return root


def pictures(folder: str = "", names: list[str] = NAMES) -> dict[str, bytes | str]:
    return {folder + name: picture(at) for at, name in enumerate(names)}


def texts(where: Path | pairloom.PairSet) -> list[str]:
    """The texts of the pictures 0 to 3, each of which must have its own."""
    by_bytes = {picture(at): at for at in range(4)}
    seen: dict[int, list[str]] = {}
    for pair in pairloom.open(where) if isinstance(where, Path) else where:
        assert pair.problem == ""
        seen.setdefault(by_bytes[pair.image.read()], []).extend(text.text for text in pair.texts)
    assert sorted(seen) == [0, 1, 2, 3] and all(len(each) == 1 for each in seen.values())
    return [seen[at][0] for at in range(4)]


ROWS = [{"image": name, "caption": text} for name, text in PAIRS.items()]
JSON = {
    "rows that are lists": [[name, text] for name, text in PAIRS.items()],
    "lists with the text first": [[text, name] for name, text in PAIRS.items()],
    "lists of a name and its texts": [[name, [text]] for name, text in PAIRS.items()],
    "a map under a key": {"info": {"version": 1}, "annotations": PAIRS},
    "a map of lists under a key": {"captions": {name: [text] for name, text in PAIRS.items()}},
    "a list under a key": {"version": 1, "data": ROWS},
    "a list for each split": {"train": ROWS[:3], "val": ROWS[3:]},
    "annotations with names": {"annotations": ROWS},
}  # fmt: skip


@pytest.mark.parametrize("folder", ["", "images/"])
@pytest.mark.parametrize("kind", JSON)
def test_shapes_of_json_are_read_and_what_clean_writes_of_them_too(
    tmp_path: Path, kind: str, folder: str
) -> None:
    lay(tmp_path / "raw", {**pictures(folder), "captions.json": json.dumps(JSON[kind])})
    assert texts(tmp_path / "raw") == TEXTS
    if not folder:
        result = pairloom.open(tmp_path / "raw").clean(tmp_path / "out", captions=False, workers=1)
        assert texts(result.pairs) == TEXTS


def test_the_arrays_of_a_file_are_splits(tmp_path: Path) -> None:
    lay(
        tmp_path,
        {**pictures(), "captions.json": json.dumps({"train": ROWS[:3], "val": [{**ROWS[3], "split": "x"}]})},
    )
    assert [pair.meta["split"] for pair in pairloom.open(tmp_path)] == ["train", "train", "train", "x"]


def test_lists_that_name_no_picture_or_two_are_no_rows() -> None:
    for value in (["a dog", "a cat"], ["a.jpg", "b.jpg"], ["a.jpg"], ["a.jpg", 3], "a.jpg"):
        assert _json.as_row(value) == value
    assert _json.as_row(["a.jpg", "a dog", "the dog"]) == {"image": "a.jpg", "caption": ["a dog", "the dog"]}


def tar(path: Path, contents: dict[str, bytes | str]) -> None:
    with tarfile.open(path, "w") as archive:
        for name, content in contents.items():
            data = content if isinstance(content, bytes) else content.encode()
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))


def packed(path: Path, contents: dict[str, bytes | str]) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in contents.items():
            archive.writestr(name, content)


def parquet() -> bytes:
    file = io.BytesIO()
    pq.write_table(pa.table({"file_name": NAMES, "text": TEXTS}), file)
    return file.getvalue()


INSIDE = {
    "a CSV beside the pictures": ("", "captions.csv", CSV),
    "a CSV above their folder": ("set/images/", "set/captions.csv", CSV),
    "a TSV that names folders": ("x/", "all.tsv", "image\tcaption\n" + "".join(f"data/x/{n}\t{t}\n" for n, t in PAIRS.items())),
    "JSON lines": ("", "metadata.jsonl", "".join(json.dumps({"file_name": n, "text": t}) + "\n" for n, t in PAIRS.items())),
    "a parquet": ("train/", "train/metadata.parquet", parquet()),
    "a list of JSON": ("images/", "captions.json", json.dumps(ROWS)),
    "a map": ("images/", "captions.json", json.dumps(PAIRS)),
    "Flickr8k as Kaggle has it": ("Images/", "captions.txt", CSV),
}  # fmt: skip


@pytest.mark.parametrize("write", [tar, packed])
@pytest.mark.parametrize("kind", INSIDE)
def test_a_table_in_an_archive_is_read_with_its_pictures(tmp_path: Path, kind: str, write) -> None:
    folder, name, table = INSIDE[kind]
    file = tmp_path / ("set.tar" if write is tar else "set.zip")
    write(file, {**pictures(folder), name: table})
    assert texts(file) == TEXTS == texts(tmp_path)


def test_what_a_table_in_an_archive_says_of_absent_and_equal_names_is_told(tmp_path: Path) -> None:
    contents = {
        **pictures("a/"),
        "b/0.jpg": picture(9),
        "captions.csv": CSV + "4.jpg,a lake\n,a hill\na,b,c\n",
    }
    tar(tmp_path / "set.tar", contents)
    pairs = list(pairloom.open(tmp_path / "set.tar"))
    problems = {pair.texts[0].text: pair.problem for pair in pairs if pair.texts and pair.problem}
    assert problems == {
        TEXTS[0]: "no image: several pictures are called '0.jpg': a/0.jpg, b/0.jpg",
        "a lake": "no image: '4.jpg' is not in the archive",
        "a hill": "no image",
        "a,b,c": "row has 3 cells, not 2",
    }
    known = [pair for pair in pairs if pair.texts and not pair.problem]
    assert [pair.texts[0].text for pair in known] == TEXTS[1:]
    assert all("by its name alone" in pair.notes[0] for pair in known)
    assert sum(pair.problem == "no text" for pair in pairs) == 2


def test_samples_with_texts_of_their_own_need_no_table(tmp_path: Path) -> None:
    contents = {f"{at}.{kind}": picture(at) if kind == "jpg" else TEXTS[at] for at in range(4) for kind in ("jpg", "txt")}  # fmt: skip
    tar(tmp_path / "set.tar", {**contents, "captions.csv": CSV})
    pairs = list(pairloom.open(tmp_path / "set.tar"))
    assert [pair.texts[0].text for pair in pairs[:4]] == TEXTS


def cache(root: Path, revision: str) -> None:
    """A snapshot of a cache of the hub, whose files are links into blobs/."""
    folder = root / "snapshots" / revision
    for at, (name, content) in enumerate({**pictures("images/"), "metadata.csv": CSV.replace("image,caption", "file_name,text").replace("\n0", "\nimages/0")}.items()):  # fmt: skip
        lay(root / "blobs", {f"{at}": content})
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).symlink_to(root / "blobs" / f"{at}")


def test_a_cache_of_the_hub_is_read_by_its_main_snapshot(tmp_path: Path) -> None:
    root = tmp_path / "hub" / "datasets--owner--name"
    cache(root, "0a1b")
    assert texts(root) == TEXTS == texts(tmp_path / "hub")
    cache(root, "ffff")
    with pytest.raises(Mistake, match=r"several sets.\nSeen there: 0a1b, ffff"):
        pairloom.open(root)
    lay(root, {"refs/main": "ffff"})
    assert texts(root) == TEXTS and pairloom.open(root).path.name == "ffff"
    cache(tmp_path / "hub" / "datasets--owner--other", "1")
    with pytest.raises(Mistake, match="datasets--owner--name, datasets--owner--other"):
        pairloom.open(tmp_path / "hub")


def test_tables_some_folders_down_are_seen(tmp_path: Path) -> None:
    lay(
        tmp_path,
        {**pictures("export/2024/set/images/"), "export/2024/set/captions.csv": CSV, "export/readme.md": ""},
    )
    assert texts(tmp_path) == TEXTS


HEADS = {
    "the line by which Excel names a delimiter": "sep=;\r\n" + CSV.replace("image,", "image;").replace(".jpg,", ".jpg;"),
    "a comment": "# written by a tool, version 1\n\n" + CSV,
    "a comment that is the header": "# of 2024\n#" + CSV,
}  # fmt: skip


@pytest.mark.parametrize("charset", ["utf-8", "utf-16", "utf-16-be"])
@pytest.mark.parametrize("kind", [*HEADS, "nothing"])
def test_what_stands_before_a_header_in_any_charset(tmp_path: Path, kind: str, charset: str) -> None:
    mark = "\ufeff" if charset == "utf-16-be" else ""
    table = (mark + HEADS.get(kind, CSV)).encode(charset)
    lay(tmp_path, {**pictures(), "captions.csv": table})
    assert texts(tmp_path) == TEXTS


@pytest.mark.parametrize("charset", ["utf-16-le", "utf-16-be"])
def test_lines_of_two_byte_characters(tmp_path: Path, charset: str) -> None:
    """U+010A and U+0A0A have the byte of a line feed; JSON lines come from PowerShell in UTF-16."""
    words = ["\u010a\u0a41 one", "\u0a0a\u0a0a two", "\u410a three", "four"]
    rows = zip(NAMES, words)
    table = "\ufeff" + "".join(
        json.dumps({"file_name": name, "text": word}, ensure_ascii=False) + "\r\n" for name, word in rows
    )
    lay(tmp_path, {**pictures(), "metadata.jsonl": table.encode(charset)})
    assert texts(tmp_path) == words


NAMED = {
    "stems": ([f"{at:06d}.jpg" for at in range(4)], "image_id", "{at:06d}"),
    "numbers that lost their zeros": ([f"{at:06d}.jpg" for at in range(4)], "image_id", "{at}"),
    "stems of a length": ([f"{at:06d}.jpg" for at in range(4)], "id", "{at:06d}"),
    "other stems": ([f"x{at}.jpg" for at in range(4)], "key", "x{at}"),
    "the set's own folder": (NAMES, "image", "raw/{at}.jpg"),
}  # fmt: skip


@pytest.mark.parametrize("kind", NAMED)
def test_names_from_elsewhere(tmp_path: Path, kind: str) -> None:
    files, column, name = NAMED[kind]
    rows = "".join(f"{name.format(at=at)}\t{text}\n" for at, text in enumerate(TEXTS))
    lay(tmp_path / "raw", {**pictures(names=files), "captions.tsv": f"{column}\tcaption\n{rows}"})
    assert texts(tmp_path / "raw") == TEXTS


def test_a_path_of_another_machine_is_told_with_the_picture_of_its_name(tmp_path: Path) -> None:
    lay(tmp_path, {**pictures(), "captions.csv": "image,caption\n/x/test/0.jpg,a\n/x/test/1,b\n/x/7.jpg,c\n"})
    assert [pair.problem for pair in pairloom.open(tmp_path)] == [
        "no image: '/x/test/0.jpg' is not there; there is 0.jpg: write names relative to the table",
        "no image: '/x/test/1' is not there; there is 1.jpg: write names relative to the table",
        "no image: '/x/7.jpg' is not there",
    ]


@pytest.mark.parametrize(
    "cell, words",
    [
        ("['a dog', 'a cat']", ["a dog", "a cat"]),
        ("['a dog' 'a cat'\n 'a cow']", ["a dog", "a cat", "a cow"]),  # as numpy prints arrays
        ('["it\'s", "\\u00e9t\\u00e9 \\ud83d\\ude00", "a\\/b"]', ["it's", "\u00e9t\u00e9 \U0001f600", "a/b"]),
        ("['a', 3]", ["['a', 3]"]),
        ("['open", ["['open"]),
        ("['a'] and more", ["['a'] and more"]),
    ],
)
def test_a_list_that_was_written_as_text(cell: str, words: list[str]) -> None:
    assert texts_in(cell)[0] == words


def test_columns_of_a_table_in_json_are_no_map_of_captions(tmp_path: Path) -> None:
    """As pandas writes a table: what looks like a picture's stem is the number of a row."""
    rows = {str(at): f"{3 - at}.jpg" for at in range(4)}
    table = {"image": rows, "caption": dict(enumerate(TEXTS))}
    lay(tmp_path, {**pictures(), "data.json": json.dumps(table)})
    assert all(pair.problem == "no text" for pair in pairloom.open(tmp_path))
    with pytest.raises(Mistake, match=r"data.json was not read: an object of 2 entries such as 'image'"):
        pairloom.open(tmp_path).check()


def test_pictures_that_no_row_names_are_told(tmp_path: Path) -> None:
    table = CSV.replace("image,caption", "file_name,text")
    lay(tmp_path / "one", {**pictures(), "4.jpg": picture(4), "metadata.csv": table})
    assert pairloom.open(tmp_path / "one").notes == (
        "1 pictures were not read, since no row names them: 4.jpg.",
    )
    lay(tmp_path / "two", {**pictures("train/"), **pictures("test/"), "train/metadata.csv": table})
    assert pairloom.open(tmp_path / "two").notes == (
        "4 of the 8 pictures there were not read, since no row names them.",
    )
    lay(tmp_path / "all", {**pictures(), "metadata.csv": table})
    assert pairloom.open(tmp_path / "all").notes == ()


def test_records_that_have_the_whole_name_of_their_picture(tmp_path: Path) -> None:
    """Google's exports and download tools write x.jpg.json; the title of the former is the picture's name."""
    records = {
        f"{name}.json": json.dumps({"title": name, "description": text}) for name, text in PAIRS.items()
    }
    lay(tmp_path, {**pictures(), **records})
    assert texts(tmp_path) == TEXTS and pairloom.open(tmp_path).notes == ()
    lay(tmp_path, {"0.jpg.txt": "a lake"})  # a text counts before a record
    assert texts(tmp_path) == ["a lake", *TEXTS[1:]]


@pytest.mark.parametrize("suffix", ["", ".jpg?w=300", ".tmp"])
def test_pictures_without_a_suffix_of_their_own_beside_texts(tmp_path: Path, suffix: str) -> None:
    names = [f"{at}{suffix}" for at in range(4)]
    lay(tmp_path, {**pictures(names=names), **{f"{at}.txt": text for at, text in enumerate(TEXTS)}})
    assert texts(tmp_path) == TEXTS


def test_lists_whose_texts_come_first(tmp_path: Path) -> None:
    lay(tmp_path, {**pictures(), "train.tsv": "".join(f"{text}\t{name}\n" for name, text in PAIRS.items())})
    assert texts(tmp_path) == TEXTS


def test_the_only_column_that_is_called_some_caption(tmp_path: Path) -> None:
    head = "file_name\tcaption_str\tcaption_id\tnum_captions_len\n"
    lay(
        tmp_path,
        {**pictures(), "data.tsv": head + "".join(f"{name}\t{text}\t1\t2\n" for name, text in PAIRS.items())},
    )
    assert texts(tmp_path) == TEXTS
    assert pairloom.open(tmp_path).notes == ("data.tsv is read with texts from the column 'caption_str'.",)


@pytest.mark.parametrize("row", ['"{}" , "{}"', '"{}", "{}"', '  "{}"  ,"{}"  '])
def test_blanks_may_stand_around_the_quotes_of_a_cell(tmp_path: Path, row: str) -> None:
    quoted = [row.format(name, text.replace('"', '""')) for name, text in PAIRS.items()]
    lay(tmp_path, {**pictures(), "data.csv": "\n".join(['"image" , "caption"', *quoted])})
    assert texts(tmp_path) == TEXTS


def test_a_quotation_mark_behind_a_blank_that_opens_no_cell_is_a_character(tmp_path: Path) -> None:
    lay(
        tmp_path,
        {
            **pictures(),
            "data.csv": 'image,caption\n0.jpg, "stop" says a sign\n1.jpg, "open\n2.jpg,c\n3.jpg,d',
        },
    )
    assert texts(tmp_path) == ['"stop" says a sign', '"open', "c", "d"]


def test_two_columns_that_are_called_as_texts_are_are_told(tmp_path: Path) -> None:
    lay(
        tmp_path,
        {**pictures(), "data.csv": "image,text,caption\n" + "".join(f"{name},dog,a\n" for name in NAMES)},
    )
    (note,) = pairloom.open(tmp_path).notes
    assert (
        note
        == "data.csv has texts in 'text' and 'caption': of each row the first is read. --text-column names another."
    )
    assert pairloom.open(tmp_path, text_column="caption").notes == ()


def test_a_table_beside_an_archive_and_one_that_is_broken_are_told(tmp_path: Path) -> None:
    tar(tmp_path / "images.tar", pictures())
    lay(tmp_path, {"captions.csv": CSV, "more.parquet": "PAR1 and no more"})
    csv, broken = pairloom.open(tmp_path).notes
    assert csv.endswith("columns image, caption; if its pictures are in images.tar, unpack that first.")
    assert broken.startswith("more.parquet was not read: it cannot be read: ")


@pytest.mark.parametrize("mark", ["###", " | ", "<sep>"])
def test_cells_that_look_as_if_several_texts_stood_in_each_are_told(tmp_path: Path, mark: str) -> None:
    rows = "".join(f"{name}\ta dog{mark}the dog\n" for name in [*NAMES, "4.jpg"])
    lay(tmp_path, {**pictures(names=[*NAMES, "4.jpg"]), "data.tsv": "image\tcaption\n" + rows})
    (note,) = pairloom.open(tmp_path).notes
    assert note.startswith(f"Nearly every text of data.tsv has {mark.strip()!r} in it")
    lay(tmp_path, {"data.tsv": "image\tcaption\n" + rows.replace(mark, " and ", 1)})
    assert pairloom.open(tmp_path).notes == ()


def test_a_parquet_under_another_name_is_told(tmp_path: Path) -> None:
    lay(tmp_path, {"data.parquet.gzip": parquet()})
    with pytest.raises(Mistake, match=r"data.parquet.gzip: it is a parquet: call it .parquet"):
        pairloom.open(tmp_path)


def test_numbers_of_rows_are_no_names_of_pictures(tmp_path: Path) -> None:
    """Rows count from 1, pictures from 0."""
    rows = "".join(f"{at + 1},{text}\n" for at, text in enumerate(["a", "b", "c", "d"]))
    lay(tmp_path, {**pictures(), "data.csv": "id,caption\n" + rows})
    pairs = pairloom.open(tmp_path)
    assert [pair.problem for pair in pairs] == ["no text"] * 4
    assert pairs.notes == ("data.csv was not read: columns id, caption.",)


def test_lines_of_json_that_are_lists_and_numbers_that_are_names(tmp_path: Path) -> None:
    lines = "".join(json.dumps([name, text]) + "\n" for name, text in PAIRS.items())
    lay(tmp_path / "lines", {**pictures(), "data.jsonl": lines})
    assert texts(tmp_path / "lines") == TEXTS
    lay(tmp_path / "numbers", pictures("images/", [f"{at:012d}.jpg" for at in range(4)]))
    pq.write_table(pa.table({"image_id": range(4), "caption": TEXTS}), tmp_path / "numbers" / "data.parquet")
    assert texts(tmp_path / "numbers") == TEXTS


def test_a_link_back_to_a_folder_above_is_not_entered(tmp_path: Path) -> None:
    table = CSV.replace("image,caption", "file_name,text")
    lay(tmp_path / "raw", {**pictures(), "metadata.csv": table})
    lay(tmp_path / "other", {**pictures(), "metadata.csv": table})
    (tmp_path / "raw" / "inner").mkdir()
    (tmp_path / "raw" / "inner" / "self").symlink_to(tmp_path / "raw")
    (tmp_path / "raw" / "above").symlink_to(tmp_path)
    assert texts(tmp_path / "raw") == TEXTS and pairloom.open(tmp_path / "raw").notes == ()
