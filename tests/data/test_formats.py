"""Single formats on files as users hold them, written here by hand and by other tools, never by our writers."""

import base64
import csv
import io
import json
import os
import tarfile
import tracemalloc
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from pairloom.data.formats import _files, _json, _tar, _texts, folder_text, webdataset
from pairloom.data.pair import Blob, Pair, Text, make_pair
from pairloom.data.shards import open_set, read, save_set
from pairloom.errors import Mistake


def png(seed: int = 0) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 255, (4, 4, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def lay(root: Path, **contents: bytes | str) -> Path:
    """Files under root; "__" in a name stands for "/", "_dot_" for "."."""
    for name, content in contents.items():
        path = root / name.replace("__", "/").replace("_dot_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    return root


def by_name(path: Path) -> dict[str, Pair]:
    return {pair.name: pair for pair in open_set(path).pairs()}


def words(pair: Pair) -> list[str]:
    return [text.text for text in pair.texts]


@pytest.mark.parametrize(
    ("path", "format", "pairs", "texts"),
    [
        ("ucm/train", "webdataset", 1680, 8400),
        ("ucm/val", "webdataset", 210, 1050),
        ("ucm/test", "webdataset", 210, 1050),
        ("fsa", "imagefolder", 1615, 1615),
        ("coco-mini", "coco", 57, 285),
        ("emoji", "folder_text", 1503, 2989),
    ],
)
def test_the_real_sets_are_read_whole(
    real_data: Path, path: str, format: str, pairs: int, texts: int
) -> None:
    made = open_set(real_data / path)
    found = list(made.pairs())
    assert made.format == format
    assert not [pair.problem for pair in found if pair.problem]
    assert (len(found), sum(len(pair.texts) for pair in found)) == (pairs, texts)


class TestFolder:
    def test_txt_wins_over_caption_and_says_so(self, tmp_path: Path) -> None:
        lay(
            tmp_path,
            x_dot_png=png(),
            x_dot_txt="one",
            x_dot_caption="two",
            y_dot_png=png(1),
            y_dot_caption="three",
        )
        pairs = by_name(tmp_path)
        assert words(pairs["x"]) == ["one"] and "x.caption was not read" in pairs["x"].notes[0]
        assert words(pairs["y"]) == ["three"] and not pairs["y"].notes

    def test_caption_files_stay_caption_files(self, tmp_path: Path) -> None:
        """A trainer that looks for .caption would find no text in .txt, and say nothing."""
        lay(tmp_path / "in", y_dot_png=png(), y_dot_caption="three")
        save_set(open_set(tmp_path / "in").pairs(), tmp_path / "out", "folder_text")
        assert sorted(os.listdir(tmp_path / "out")) == ["y.caption", "y.png"]

    def test_what_is_missing_is_a_problem(self, tmp_path: Path) -> None:
        lay(
            tmp_path,
            x_dot_png=png(),
            sub__y_dot_txt="alone",
            z_dot_png=b"",
            z_dot_txt="z",
            w_dot_png=png(),
            w_dot_txt=" \n",
        )
        pairs = by_name(tmp_path)
        assert {name: pair.problem for name, pair in pairs.items()} == {
            "x": "no text", "sub/y": "no image", "z": "image has 0 bytes", "w": "no text",
        }  # fmt: skip
        assert pairs["x"].image_key and words(pairs["sub/y"]) == ["alone"]

    def test_lines_are_captions_and_only_line_ends_split(self, tmp_path: Path) -> None:
        lay(tmp_path, x_dot_png=png(), x_dot_txt="a\r\nb\u2028c\x0bd\r\n\n e \re2".encode())
        assert words(by_name(tmp_path)["x"]) == ["a", "b\u2028c\x0bd", "e", "e2"]

    @pytest.mark.parametrize(
        ("raw", "text", "note"),
        [
            ("\ufeffKäse".encode(), "Käse", ""),
            ("Käse".encode("cp1252"), "Käse", "read as cp1252"),
            (b"K\x81se", "K\x81se", "read as latin-1"),
            ("Käse".encode("utf-16"), "Käse", "UTF-16"),
            (b"a\0b", "ab", "NUL"),
            (b"x" * 100_000, "x" * 100_000, ""),
        ],
    )
    def test_texts_of_any_bytes(self, tmp_path: Path, raw: bytes, text: str, note: str) -> None:
        lay(tmp_path, x_dot_png=png(), x_dot_txt=raw)
        pair = by_name(tmp_path)["x"]
        assert words(pair) == [text] and not pair.problem
        assert note in " ".join(pair.notes) and bool(note) == bool(pair.notes)

    def test_ten_thousand_texts_on_one_image(self, tmp_path: Path) -> None:
        lay(tmp_path, x_dot_png=png(), x_dot_txt="\n".join(f"thing {n}" for n in range(10_000)))
        assert words(by_name(tmp_path)["x"])[9999] == "thing 9999"

    def test_hidden_files_loops_pipes_and_dead_links_are_passed_over(self, tmp_path: Path) -> None:
        lay(tmp_path, x_dot_png=png(), x_dot_txt="x", _dot_h_dot_png=png(), _dot_pairloom__y_dot_png=png())
        os.symlink(tmp_path, tmp_path / "loop")
        os.symlink(tmp_path / "gone.png", tmp_path / "dead.png")
        os.mkfifo(tmp_path / "pipe.png")
        assert list(by_name(tmp_path)) == ["x"]

    def test_a_clean_sets_own_papers_are_not_the_set(self, tmp_path: Path) -> None:
        lay(tmp_path, x_dot_png=png(), x_dot_txt="x", run_dot_json="{}", report_dot_html="")
        pq.write_table(pa.table({"image": ["x.png"], "text": ["x"]}), tmp_path / "pairs.parquet")
        assert open_set(tmp_path).format == "folder_text" and list(by_name(tmp_path)) == ["x"]

    def test_two_images_of_one_stem_share_its_text(self, tmp_path: Path) -> None:
        lay(tmp_path / "in", x_dot_png=png(), x_dot_jpg=png(1), x_dot_txt="both")
        pairs = list(open_set(tmp_path / "in").pairs())
        assert [words(pair) for pair in pairs] == [["both"], ["both"]] and "share" in pairs[0].notes[0]
        again = save_set(
            [p.with_texts((Text(p.image.name),)) for p in pairs], tmp_path / "out", "folder_text"
        )
        assert sorted(words(pair)[0] for pair in again.pairs()) == ["x.jpg", "x.png"]


def tar_of(path: Path, members: list[tuple[tarfile.TarInfo, bytes]], form: int = tarfile.GNU_FORMAT) -> Path:
    with tarfile.open(path, "w", format=form) as tar:
        for info, data in members:
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


def entry(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, link
    return info


def sample(key: str, seed: int = 0) -> list[tuple[tarfile.TarInfo, bytes]]:
    return [(entry(f"{key}.png"), png(seed)), (entry(f"{key}.txt"), f"text of {key}".encode())]


class TestTar:
    NAMES = st.text(st.characters(codec="utf-8", exclude_characters="\0/\\"), min_size=1, max_size=150)

    @settings(max_examples=40, deadline=None, derandomize=True)
    @given(st.lists(st.tuples(NAMES, st.binary(max_size=1200)), max_size=5), st.sampled_from([0, 1, 2]))
    def test_members_lie_where_tarfile_finds_them(self, tmp_path_factory, files, form: int) -> None:
        path = tmp_path_factory.mktemp("tar") / "x.tar"
        form = (tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT)[form]
        try:
            tar_of(path, [(entry("d/" + name), data) for name, data in files], form)
        except ValueError:
            return  # ustar cannot hold the name
        with tarfile.open(path) as tar:
            wanted = [(info.name, info.offset_data, info.size) for info in tar.getmembers()]
        found = [(m.name, m.offset, m.size) for m in _tar.members(path) if not m.name.endswith("/")]
        assert found == [row for row in wanted if not row[0].endswith("/")]

    def test_sizes_in_base_256(self) -> None:
        assert _tar._number(b"\x80" + bytes(9) + b"\x01\x00") == 256
        assert _tar._number(b"0000644\0") == 0o644
        assert _tar._number(b"zz") is None and _tar._number(b"\xff" * 12) is None

    def test_links_devices_and_ways_out_are_problems_and_the_rest_is_read(self, tmp_path: Path) -> None:
        bad = [
            (entry("l.png", tarfile.SYMTYPE, "/etc/passwd"), b""),
            (entry("h.png", tarfile.LNKTYPE, "a.png"), b""),
            (entry("n.png", tarfile.CHRTYPE), b""),
            (entry("p.png", tarfile.FIFOTYPE), b""),
            (entry("../out.png"), png()),
            (entry("/root.png"), png()),
        ]
        tar_of(tmp_path / "x.tar", sample("a") + bad + sample("b", 1))
        pairs = list(open_set(tmp_path).pairs())
        assert [pair.name for pair in pairs if not pair.problem] == ["a", "b"]
        said = [pair.problem for pair in pairs if pair.problem]
        assert [
            words_ in one
            for words_, one in zip(["link", "link", "device", "pipe", "leads out", "leads out"], said)
        ]
        assert len(said) == 6 and all("png" in one for one in said)

    def test_duplicates_are_told(self, tmp_path: Path) -> None:
        tar_of(tmp_path / "x.tar", sample("a") + sample("b") + sample("a", 1))
        assert [pair.problem for pair in open_set(tmp_path).pairs()] == [
            "",
            "",
            "duplicate: the tar holds 'a' twice",
        ]

    def test_every_cut_of_a_tar_is_told_and_what_is_whole_is_read(self, tmp_path: Path) -> None:
        path = tar_of(tmp_path / "x.tar", sample("a") + sample("b"))
        whole = path.read_bytes()
        first, second = 3 * 512 + 9, 7 * 512 + 9  # header, image, header, "text of a"; twice
        for cut in range(0, 8 * 512 + 1, 128):
            path.write_bytes(whole[:cut])
            pairs = list(open_set(path).pairs())
            assert any(word in pairs[-1].problem for word in ("cut off", "empty")), cut
            assert sum(pair.image_key != "" and words(pair) != [] for pair in pairs) == (cut >= first) + (
                cut >= second
            )

    def test_json_and_the_table_beside_give_texts_and_metadata(self, tmp_path: Path) -> None:
        record = {
            "key": "a",
            "caption": "one",
            "captions": ["one", "two"],
            "url": "https://x",
            "status": "success",
        }
        extra = [(entry("a.json"), json.dumps(record).encode()), (entry("a.cls"), b"3")]
        tar_of(
            tmp_path / "x.tar", [(entry("a.JPEG"), png()), (entry("a.txt"), b"one"), *extra, *sample("b", 1)]
        )
        pq.write_table(pa.table({"key": ["b"], "similarity": [0.25]}), tmp_path / "x.parquet")
        lay(tmp_path, x_stats_dot_json='{"count": 2}')
        first, second = open_set(tmp_path).pairs()
        assert words(first) == ["one", "two"] and first.meta == {"url": "https://x", "status": "success"}
        assert first.notes == ("files not carried: .cls",)
        assert words(second) == ["text of b"] and second.meta == {"similarity": 0.25}

    def test_statistics_count_and_are_written_last(self, tmp_path: Path, monkeypatch) -> None:
        order: list[str] = []
        real = webdataset.atomic_write
        monkeypatch.setattr(webdataset, "atomic_write", lambda path: (order.append(path.name), real(path))[1])
        webdataset.write(tmp_path, "00007", [make_pair("k.1", Blob(data=png(), name="k.1.png"), ["a"])])
        assert order == ["00007.tar", "00007.parquet", "00007_stats.json"]
        assert json.loads((tmp_path / "00007_stats.json").read_text())["successes"] == 1
        with tarfile.open(tmp_path / "00007.tar") as tar:
            assert tar.getnames() == ["k_1.png", "k_1.txt", "k_1.json"]
            assert {(m.mtime, m.uid, m.uname) for m in tar.getmembers()} == {(0, 0, "")}


COCO = {
    "info": {},
    "annotations": [
        {"id": 3, "image_id": 2, "caption": "second"},
        {"id": 1, "image_id": 1, "caption": "Käse first"},
        {"id": 2, "image_id": 99, "caption": "lost"},
        {"id": 4, "image_id": 2, "caption": "second again"},
    ],
    "images": [
        {"id": 1, "file_name": "a.png", "license": 4},
        {"id": 2, "file_name": "b.png"},
        {"id": 5, "file_name": "c.png"},
    ],
}


class TestJson:
    def test_coco_captions_find_their_images_from_anywhere(self, tmp_path: Path) -> None:
        lay(tmp_path, annotations__captions_val2017_dot_json=json.dumps(COCO, ensure_ascii=False))
        lay(
            tmp_path,
            annotations__instances_val2017_dot_json='{"images": [{"id": 1}], "annotations": [{"image_id": 1}]}',
        )
        lay(tmp_path, val2017__a_dot_png=png(), val2017__b_dot_png=png(1), train2017__a_dot_png=png(9))
        pairs = by_name(tmp_path)
        assert words(pairs["a"]) == ["Käse first"] and words(pairs["b"]) == ["second", "second again"]
        assert pairs["a"].image.read() == png() and pairs["a"].meta["license"] == 4
        assert pairs["b"].texts[1].meta == {"id": 4}
        assert "c.png" in pairs["c"].problem and "does not list" in pairs["99"].problem

    def test_boxes_are_no_captions(self, tmp_path: Path) -> None:
        lay(tmp_path, x_dot_json='{"images": [{"id": 1}], "annotations": [{"image_id": 1, "bbox": []}]}')
        with pytest.raises(Mistake, match="no captions"):
            open_set(tmp_path)

    def test_karpathy(self, tmp_path: Path) -> None:
        row = {"filepath": "val2014", "filename": "a.png", "split": "restval", "cocoid": 7}
        row["sentences"] = [{"raw": "one", "tokens": ["one"], "sentid": 3}, {"raw": "two"}]
        lay(
            tmp_path,
            dataset_coco_dot_json=json.dumps({"images": [row], "dataset": "coco"}),
            val2014__a_dot_png=png(),
        )
        pair = by_name(tmp_path)["val2014/a"]
        assert pair.meta["split"] == "train" and pair.meta["original_split"] == "restval"
        save_set([pair], tmp_path / "out", "karpathy")
        back = json.loads((tmp_path / "out" / "dataset.json").read_text())["images"][0]
        assert back["split"] == "restval" and back["filepath"] == "val2014" and "original_split" not in back
        assert back["sentences"] == [row["sentences"][0], {"raw": "two", "tokens": ["two"]}]

    def test_llava_conversations_come_back_as_they_were(self, tmp_path: Path) -> None:
        turns = [
            {"from": "human", "value": "<image>\nWhat?"}, {"from": "gpt", "value": "A cat."},
            {"from": "human", "value": "And?"}, {"from": "gpt", "value": "A dog."},
        ]  # fmt: skip
        rows = [
            {"id": "7", "image": "a.png", "conversations": turns, "model": "m"},
            {"id": "8", "conversations": turns},
        ]
        lay(tmp_path, x_dot_json=json.dumps(rows), images__a_dot_png=png())
        pairs = by_name(tmp_path)
        assert words(pairs["7"]) == ["A cat.", "A dog."] and pairs["8"].problem == "no image"
        save_set([pairs["7"]], tmp_path / "out", "llava")
        assert json.loads((tmp_path / "out" / "conversations.json").read_text()) == [
            {**rows[0], "image": "images/a.png"}
        ]

    def test_results_go_by_cocos_names(self, tmp_path: Path) -> None:
        rows = [
            {"image_id": 42, "caption": "x"},
            {"image_id": "b", "caption": "y"},
            {"image_id": 43, "caption": "z"},
        ]
        lay(
            tmp_path,
            r_dot_json=json.dumps(rows),
            images__COCO_val2014_000000000042_dot_jpg=png(),
            b_dot_png=png(1),
        )
        pairs = by_name(tmp_path)
        assert (
            words(pairs["42"]) == ["x"] and words(pairs["b"]) == ["y"] and "no image" in pairs["43"].problem
        )
        save_set([pairs["42"], pairs["b"]], tmp_path / "out", "coco_results")
        assert json.loads((tmp_path / "out" / "results.json").read_text()) == rows[:2]

    def test_blip_rows_of_one_image_are_its_texts(self, tmp_path: Path) -> None:
        rows = [
            {"image": "a.png", "caption": "x", "image_id": 1},
            {"image": "a.png", "caption": "y", "image_id": 1},
        ]
        rows += [{"image": "b.png", "caption": ["v", "w"]}, {"image": "https://x/c.png", "caption": "c"}, 7]
        lay(tmp_path, list_dot_json=json.dumps(rows), a_dot_png=png(), b_dot_png=png(1))
        first, second, third, fourth = open_set(tmp_path).pairs()
        assert words(first) == ["x", "y"] and first.meta == {"image_id": 1} and words(second) == ["v", "w"]
        assert "fetches nothing" in third.problem and fourth.problem == "row is not a JSON object"

    def test_wrong_json_is_named_with_its_place(self, tmp_path: Path) -> None:
        whole = json.dumps(COCO)
        lay(tmp_path, x_dot_json=whole[: len(whole) - 20])
        with pytest.raises(Mistake, match=r"x\.json is not valid JSON.\nAt byte"):
            open_set(tmp_path)

    @settings(max_examples=60, deadline=None, derandomize=True)
    @given(
        st.lists(
            st.recursive(
                st.none() | st.integers() | st.text(),
                lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
                max_leaves=4,
            ),
            max_size=6,
        ),
        st.sampled_from([None, 1]),
        st.integers(1, 9),
    )
    def test_elements_are_those_of_the_json_library(self, tmp_path_factory, rows, indent, chunk: int) -> None:
        path = tmp_path_factory.mktemp("json") / "x.json"
        path.write_text(json.dumps(rows, indent=indent, ensure_ascii=False), encoding="utf-8")
        before, _json.CHUNK = _json.CHUNK, chunk
        try:
            found = list(_json.elements(path))
        finally:
            _json.CHUNK = before
        raw = path.read_bytes()
        assert [json.loads(raw[element.start : element.stop]) for element in found] == rows

    def test_memory_does_not_grow_with_the_file(self, tmp_path: Path, monkeypatch) -> None:
        peaks = []
        monkeypatch.setattr(_json, "CHUNK", 1 << 14)
        for count in (1_000, 3_000):
            rows = [{"image": "a.png", "caption": f"{n} " + "x" * 100} for n in range(count)]
            lay(tmp_path, x_dot_json=json.dumps(rows), a_dot_png=png())
            del rows
            tracemalloc.start()
            assert len(_json.spans(tmp_path / "x.json", "")) == count // 1000
            peaks.append(tracemalloc.get_traced_memory()[1])
            tracemalloc.stop()
        assert peaks[1] < 1.1 * peaks[0]


class TestTables:
    def test_struct_bytes_paths_and_row_groups(self, tmp_path: Path) -> None:
        cells = [{"bytes": png(n), "path": f"{n}.png"} for n in range(3)]
        table = pa.table({"image": cells, "caption": ["a", "b", None], "uid": [1, 2, 3]})
        pq.write_table(table, tmp_path / "train.parquet", row_group_size=2)
        made = open_set(tmp_path)
        assert [(shard.start, shard.stop, shard.part) for shard in made.shards] == [(0, 2, "0"), (0, 1, "1")]
        pairs = list(made.pairs())
        assert [pair.name for pair in pairs] == ["0", "1", "2"] and pairs[1].meta == {"uid": 2}
        assert pairs[1].image.read() == png(1) and [pair.problem for pair in pairs] == ["", "", "no text"]

    def test_csv_with_quotes_line_ends_and_broken_rows(self, tmp_path: Path) -> None:
        text = '\ufeffimage_path,text\r\na.png,"one, ""two""\nthree"\nb.png,5" nail\nc.png\n\n../d.png,out\n'
        lay(tmp_path, x_dot_csv=text, a_dot_png=png(), b_dot_png=png(1))
        first, second, third, fourth = open_set(tmp_path).pairs()
        assert words(first) == ['one, "two"\nthree'] and words(second) == ['5" nail']
        assert third.problem == "row has 1 cells, not 2" and "no image" in fourth.problem

    def test_spans_of_csv_cover_every_row(self, tmp_path: Path, monkeypatch) -> None:
        monkeypatch.setattr("pairloom.data.formats._rows.SIZE", 2)
        with open(tmp_path / "x.csv", "w", newline="") as file:
            csv.writer(file).writerows([["image", "text"], *([f"{n}.png", f"line\n{n}"] for n in range(7))])
        for n in range(7):
            (tmp_path / f"{n}.png").write_bytes(png(n))
        made = open_set(tmp_path)
        assert [len(list(read(shard))) for shard in made.shards] == [2, 2, 2, 1]
        assert [words(pair)[0] for pair in made.pairs()] == [f"line\n{n}" for n in range(7)]

    def test_base64_in_tsv(self, tmp_path: Path) -> None:
        lay(tmp_path, x_dot_tsv=f"index\timage\tcaption\n1\t{base64.b64encode(png() * 3).decode()}\tx\n")
        (pair,) = open_set(tmp_path).pairs()
        assert pair.image.read() == png() * 3 and pair.meta == {"index": "1"}

    def test_addresses_are_told_not_fetched(self, tmp_path: Path) -> None:
        pq.write_table(pa.table({"url": ["https://x"], "caption": ["c"]}), tmp_path / "laion.parquet")
        with pytest.raises(Mistake, match="img2dataset"):
            open_set(tmp_path)

    def test_imagefolder_of_splits(self, tmp_path: Path) -> None:
        lay(tmp_path, train__metadata_dot_csv="file_name,text\n0.png,train\n", train__0_dot_png=png())
        lay(tmp_path, test__metadata_dot_csv="file_name,text\n0.png,test\n", test__0_dot_png=png(1))
        pairs = {words(pair)[0]: pair for pair in open_set(tmp_path).pairs()}
        assert pairs["train"].image.read() == png() and pairs["test"].image.read() == png(1)

    def test_parts_of_other_kinds_are_merged(self, tmp_path: Path) -> None:
        one = make_pair("a", Blob(data=png(), name="a.png"), ["x"], {"n": 1, "m": [1]})
        two = make_pair("b", Blob(data=png(1), name="b.png"), ["y"], {"n": 0.5, "m": "word", "k": None})
        made = save_set([one, two], tmp_path, "table", size=1)
        assert [pair.meta["n"] for pair in made.pairs()] == [1.0, 0.5]
        assert [pair.meta["m"] for pair in made.pairs()] == ["[1]", "word"]


class TestSets:
    def test_nothing_empty_and_strange_are_mistakes_that_say_what_to_do(self, tmp_path: Path) -> None:
        lay(tmp_path, only__x_dot_docx="x", texts__x_dot_txt="x", empty_tar__x_dot_tar=b"")
        (tmp_path / "empty").mkdir()
        for name, said in (
            ("gone", "nothing at"),
            ("empty", "is empty"),
            ("only", "x.docx"),
            ("texts", "not a set"),
        ):
            with pytest.raises(Mistake, match=said) as caught:
                open_set(tmp_path / name)
            assert name in caught.value.what and caught.value.do
        assert [pair.problem for pair in open_set(tmp_path / "empty_tar").pairs()] == ["tar is empty"]
        with pytest.raises(Mistake, match="folder_text"):
            open_set(tmp_path / "only", format="folder_txt")

    def test_a_file_that_goes_while_reading_is_named(self, tmp_path: Path) -> None:
        tar_of(tmp_path / "x.tar", sample("a"))
        made = open_set(tmp_path)
        os.unlink(tmp_path / "x.tar")
        with pytest.raises(Mistake, match=r"x\.tar cannot be read"):
            list(made.pairs())

    def test_one_name_for_two_pictures(self, tmp_path: Path) -> None:
        pairs = [make_pair(f"{n}", Blob(data=png(n), name="same.png"), [f"text {n}"]) for n in range(2)]
        made = save_set(pairs, tmp_path / "one", "folder_text")
        assert sorted(pair.key for pair in made.pairs()) == sorted(pair.key for pair in pairs)
        with pytest.raises(Mistake, match="same name"):
            save_set(pairs, tmp_path / "two", "folder_text", size=1)

    @pytest.mark.parametrize(
        "name", ["../../x.png", "/root/x.png", "C:\\x\\y.png", "a/./..//b.png", ".hid/.x.png", "\0.png"]
    )
    def test_no_name_leads_out_of_the_output(self, tmp_path: Path, name: str) -> None:
        out = tmp_path / "deep" / "out"
        made = save_set([make_pair("x", Blob(data=png(), name=name), ["t"])], out, "folder_text")
        assert [words(pair) for pair in made.pairs()] == [["t"]]
        assert [entry.name for entry in tmp_path.iterdir()] == ["deep"]
        assert [entry.name for entry in (tmp_path / "deep").iterdir()] == ["out"]

    def test_long_names_are_cut(self, tmp_path: Path) -> None:
        made = save_set(
            [make_pair("x", Blob(data=png(), name="ß" * 300 + ".png"), ["t"])], tmp_path, "imagefolder"
        )
        assert [words(pair) for pair in made.pairs()] == [["t"]]

    def test_half_characters_can_be_written(self, tmp_path: Path) -> None:
        lay(tmp_path, x_dot_json='[{"image": "a.png", "caption": "a\\ud800b"}]', a_dot_png=png())
        made = save_set(open_set(tmp_path).pairs(), tmp_path / "out", "folder_text")
        assert [words(pair) for pair in made.pairs()] == [["a\ufffdb"]]

    @given(st.text(), st.binary())
    @settings(max_examples=100, deadline=None, derandomize=True)
    def test_names_and_texts_of_any_characters(self, name: str, raw: bytes) -> None:
        made = _files.safe(name)
        assert not made.startswith("/") and ".." not in made.split("/") and _files.safe(made) == made
        assert isinstance(_texts.decode(raw)[0], str)
        _texts.tidy(name)[0].encode("utf-8")

    def test_folder_shards_hold_names_only(self, tmp_path: Path, monkeypatch) -> None:
        monkeypatch.setattr(folder_text, "SIZE", 2)
        lay(tmp_path, a_dot_png=png(), a_dot_txt="a", b_dot_png=png(1), s__c_dot_png=png(2), s__c_dot_txt="c")
        assert [shard.part.split("\0") for shard in open_set(tmp_path).shards] == [
            ["a.png", "a.txt", "b.png"], ["s/c.png", "s/c.txt"],
        ]  # fmt: skip


def test_a_folder_of_several_sets_is_not_read_as_one_of_them(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    Image.new("RGB", (8, 8)).save(tmp_path / "one" / "a.png")
    (tmp_path / "one" / "metadata.csv").write_text("file_name,text\na.png,a thing\n")
    assert len(list(open_set(tmp_path).pairs())) == 1
    (tmp_path / "two" / "pairs.csv").write_text("image,caption\nb.png,another\n")
    with pytest.raises(Mistake, match="holds several sets") as told:
        open_set(tmp_path)
    assert "one, two" in told.value.why
    assert len(list(open_set(tmp_path / "one").pairs())) == 1
