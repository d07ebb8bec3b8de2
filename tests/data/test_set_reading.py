"""Sets as people have them: what belongs together is read together, and what was not understood is told."""

import decimal
import io
import json
import tarfile
import unicodedata
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from pairloom.data.formats import _columnar
from pairloom.data.pair import Pair
from pairloom.data.shards import ColumnNames, find, open_set, read, save_set
from pairloom.errors import Mistake


def png(seed: int = 0) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 255, (4, 4, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def lay(root: Path, contents: dict[str, bytes | str]) -> Path:
    for name, content in contents.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    return root


def words(pair: Pair) -> list[str]:
    return [text.text for text in pair.texts]


def by_text(path: Path) -> dict[str, Pair]:
    return {words(pair)[0]: pair for pair in open_set(path).pairs() if pair.texts}


SPLITS = {
    "metadata in each split": ("train/metadata.csv", "test/metadata.csv"),
    "tables beside the splits": ("train.csv", "test.csv"),
    "tables in a folder": ("annotations/captions_train.json", "annotations/captions_test.json"),
}


class TestWhosePicture:
    @pytest.mark.parametrize("kind", SPLITS)
    def test_a_lost_picture_is_not_taken_from_another_split(self, tmp_path: Path, kind: str) -> None:
        for split, table in zip(("train", "test"), SPLITS[kind]):
            names = [f"{n}.png" for n in range(3)]
            lay(
                tmp_path,
                {f"{split}/{name}": png(n) for n, name in enumerate(names) if (split, n) != ("test", 2)},
            )
            if table.endswith(".json"):
                images = [{"id": n, "file_name": name} for n, name in enumerate(names)]
                captions = [{"id": n, "image_id": n, "caption": f"{split} {n}"} for n in range(3)]
                content = json.dumps({"images": images, "annotations": captions})
            else:
                column = "file_name" if "metadata" in table else "image"
                content = f"{column},text\n" + "".join(
                    f"{name},{split} {n}\n" for n, name in enumerate(names)
                )
            lay(tmp_path, {table: content})
        pairs = by_text(tmp_path)
        assert "'2.png' is not there" in pairs.pop("test 2").problem
        assert len(pairs) == 5 and not any(pair.problem for pair in pairs.values())
        assert all(
            pair.image.path.parent.name == text.split()[0] for text, pair in pairs.items() if pair.image.path
        )

    def test_a_bare_name_in_two_folders_is_nobodys(self, tmp_path: Path) -> None:
        lay(tmp_path, {"cat/1.png": png(1), "dog/1.png": png(2), "dog/2.png": png(3)})
        lay(tmp_path, {"metadata.csv": "file_name,text\n1.png,one\n2.png,two\ncat/1.png,three\n"})
        pairs = by_text(tmp_path)
        assert "several pictures are called '1.png': cat/1.png, dog/1.png" in pairs["one"].problem
        assert not pairs["two"].problem and "by its name alone: dog/2.png" in pairs["two"].notes[0]
        assert not pairs["three"].problem and not pairs["three"].notes

    def test_a_folder_of_texts_that_is_called_like_the_table_hides_no_pictures(self, tmp_path: Path) -> None:
        lay(
            tmp_path,
            {"captions.csv": "image,text\n1.png,one\n", "captions/1.txt": "one", "photos/1.png": png()},
        )
        lay(tmp_path, {"photos_licences.json": "{}"})
        assert not by_text(tmp_path)["one"].problem

    def test_the_same_picture_in_two_folders_is_one(self, tmp_path: Path) -> None:
        lay(tmp_path, {"a/1.png": png(1), "b/1.png": png(1), "metadata.csv": "file_name,text\n1.png,one\n"})
        assert not by_text(tmp_path)["one"].problem

    def test_a_split_of_karpathy_stays_in_its_folder(self, tmp_path: Path) -> None:
        rows = [
            {
                "filepath": "val2014",
                "filename": f"{n}.png",
                "split": "val",
                "sentences": [{"raw": f"val {n}"}],
            }
            for n in range(2)
        ]
        lay(
            tmp_path,
            {"dataset.json": json.dumps({"images": rows}), "val2014/0.png": png(), "train2014/1.png": png(1)},
        )
        pairs = by_text(tmp_path)
        assert not pairs["val 0"].problem and "no image" in pairs["val 1"].problem

    def test_an_id_may_be_a_number_of_any_kind(self, tmp_path: Path) -> None:
        rows = [{"image_id": 42.0, "caption": "x"}, {"image_id": "43", "caption": "y"}]
        lay(tmp_path, {"r.json": json.dumps(rows), "000000000042.jpg": png(), "000000000043.jpg": png(1)})
        assert not any(pair.problem for pair in open_set(tmp_path).pairs())

    def test_an_id_that_two_files_go_by_is_told(self, tmp_path: Path) -> None:
        lay(
            tmp_path,
            {"r.json": json.dumps([{"image_id": 7, "caption": "x"}]), "7.jpg": png(), "7.png": png(1)},
        )
        assert "several pictures go by 7: 7.jpg, 7.png" in by_text(tmp_path)["x"].problem


NAMES = ["Café", "Köln Dom", "señor", "한글"]


class TestNames:
    @pytest.mark.parametrize("disk", ["NFD", "NFC"])
    def test_unicode_forms_are_the_same_name(self, tmp_path: Path, disk: str) -> None:
        other = "NFC" if disk == "NFD" else "NFD"
        rows = ["file_name,text"]
        for n, name in enumerate(NAMES):
            stem, text = unicodedata.normalize(disk, name), unicodedata.normalize(other, name)
            lay(
                tmp_path,
                {f"csv/{stem}.png": png(n), f"txt/{stem}.png": png(n), f"txt/{text}.txt": f"it is {n}"},
            )
            rows.append(f"{text}.png,it is {n}")
        lay(tmp_path, {"csv/metadata.csv": "\n".join(rows)})
        for folder in ("csv", "txt"):
            pairs = list(open_set(tmp_path / folder).pairs())
            assert [pair.problem for pair in pairs] == [""] * 4 and all(pair.notes for pair in pairs)
            assert {pair.image.read(): words(pair) for pair in pairs} == {
                png(n): [f"it is {n}"] for n in range(4)
            }

    def test_a_suffix_in_capitals_is_the_same_name_and_other_capitals_are_told(self, tmp_path: Path) -> None:
        lay(tmp_path, {"a.PNG": png(), "IMG_2.png": png(1)})
        lay(tmp_path, {"metadata.csv": "file_name,text\na.png,one\nimg_2.png,two\n"})
        pairs = by_text(tmp_path)
        assert not pairs["one"].problem and "another form" in pairs["one"].notes[0]
        assert "'img_2.png' is not there; there is IMG_2.png" in pairs["two"].problem

    def test_texts_go_with_the_one_picture_that_is_meant(self, tmp_path: Path) -> None:
        lay(tmp_path, {"Cat.png": png(), "cat.txt": "a cat", "1.png": png(1), "1.png.txt": "one"})
        lay(tmp_path, {"x.png": png(2), "x.txt": "small x", "X.png": png(3), "README.txt": "not a caption"})
        lay(tmp_path, {"two.png": png(4), "Two.png": png(5), "TWO.txt": "either"})
        pairs = {pair.name: pair for pair in open_set(tmp_path).pairs()}
        assert (
            words(pairs["Cat"]) == ["a cat"]
            and "cat.txt is read as the text of Cat.png" in pairs["Cat"].notes
        )
        assert words(pairs["1"]) == ["one"] and words(pairs["x"]) == ["small x"]
        assert pairs["X"].problem == pairs["two"].problem == pairs["Two"].problem == "no text"
        assert pairs["TWO"].problem == "no image" and "README" not in pairs
        assert len(save_set(open_set(tmp_path).pairs(), tmp_path / "out", "folder_text").shards) == 1


class TestSuffixes:
    def test_names_of_known_kinds_are_read(self, tmp_path: Path) -> None:
        names = ["a.jfif", "b.jpe", "c.apng", "d.mpo", "e.pjpeg", "f.JPG_large", "g"]
        for n, name in enumerate(names):
            lay(tmp_path, {name: png(n), f"{name[0]}.txt": f"text {n}"})
        pairs = list(open_set(tmp_path).pairs())
        assert [pair.problem for pair in pairs] == [""] * 7
        assert ["by its first bytes" in " ".join(pair.notes) for pair in pairs] == [False] * 5 + [True] * 2

    def test_kinds_that_are_not_read_are_named(self, tmp_path: Path) -> None:
        lay(
            tmp_path,
            {"a.heic": b"....ftypheic", "a.txt": "a", "b.jxl": b"\xff\x0a", "c.xyz": b"?", "c.txt": "c"},
        )
        lay(tmp_path, {"d.png": png(), "d.txt": "d"})
        problems = {pair.name: pair.problem for pair in open_set(tmp_path).pairs()}
        assert problems["a"] == "a.heic is of a kind that is not read: save it as JPEG or PNG"
        assert problems["b"].startswith("b.jxl is of a kind that is not read")
        assert (
            problems["c"] == "no image: c.xyz has this name, and is no image that is read"
            and not problems["d"]
        )


class TestRecords:
    def test_a_json_beside_a_picture_has_its_texts(self, tmp_path: Path) -> None:
        for n in range(2):
            lay(tmp_path, {f"{n}.png": png(n), f"{n}.json": json.dumps({"prompt": f"it is {n}", "seed": n})})
        lay(tmp_path, {"2.png": png(2), "2.json": json.dumps({"seed": 1, "sampler": "x"})})
        lay(tmp_path, {"3.png": png(3), "3.txt": "three", "3.json": json.dumps({"prompt": "other"})})
        pairs = {pair.name: pair for pair in open_set(tmp_path).pairs()}
        assert words(pairs["0"]) == ["it is 0"] and "from 'prompt' of 0.json" in pairs["0"].notes[0]
        assert pairs["2"].problem == "no text" and "seen there: seed, sampler" in pairs["2"].notes[0]
        assert words(pairs["3"]) == ["three"] and not pairs["3"].notes


FOREIGN = {
    "gbk": "一只狗在海滩上奔跑",
    "cp932": "犬が海岸を走っている",
    "cp949": "해변을 달리는 개",
    "big5": "一隻狗在海灘上奔跑",
    "cp1251": "собака на пляже",
    "koi8-r": "собака на пляже",
    "cp1253": "ένας σκύλος στην παραλία",
    "cp1250": "żółta łódź na plaży",
    "cp1255": "כלב על החוף",
}
WESTERN = [
    "Käse",
    "“À la carte” – 20 °C, 5 €",
    "¿qué? ¡sí!",
    "São João é ótimo",
    "½ cup",
    "l·lusió",
    "créée",
    "“Ça va?”",
]


class TestCharsets:
    @pytest.mark.parametrize("charset", FOREIGN)
    def test_other_code_pages_are_told_and_never_read_as_western(self, tmp_path: Path, charset: str) -> None:
        raw = FOREIGN[charset].encode(charset)
        lay(tmp_path / "txt", {"0.png": png(), "0.txt": raw, "1.png": png(1), "1.txt": "a dog"})
        lay(tmp_path / "csv", {"0.png": png(), "1.png": png(1)})
        lay(tmp_path / "csv", {"metadata.csv": b"file_name,text\n0.png," + raw + b"\n1.png,a dog\n"})
        for folder in ("txt", "csv"):
            foreign, plain = open_set(tmp_path / folder).pairs()
            assert "unknown character set, not UTF-8" in foreign.problem and not foreign.texts
            assert words(plain) == ["a dog"] and not plain.problem

    def test_western_texts_are_read_with_a_note(self, tmp_path: Path) -> None:
        for n, text in enumerate(WESTERN):
            lay(tmp_path, {f"{n}.png": png(n), f"{n}.txt": text.encode("cp1252")})
        pairs = list(open_set(tmp_path).pairs())
        assert [words(pair) for pair in pairs] == [[text] for text in WESTERN] and all(
            pair.notes for pair in pairs
        )

    def test_notes_of_tables_are_kept(self, tmp_path: Path) -> None:
        lay(tmp_path, {"0.png": png(), "metadata.csv": "file_name,text\n0.png,Käse\n".encode("cp1252")})
        (pair,) = open_set(tmp_path).pairs()
        assert words(pair) == ["Käse"] and pair.notes == ("text is not UTF-8: read as cp1252",)


def tar_of(path: Path, *files: tuple[str, bytes | str]) -> Path:
    with tarfile.open(path, "w") as tar:
        for name, content in files:
            data = content.encode() if isinstance(content, str) else content
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))
    return path


class TestColumns:
    def test_no_row_decides_for_another(self, tmp_path: Path) -> None:
        rows = [
            {"file_name": "0.png"},
            {"file_name": "1.png", "text": "one"},
            {"file_name": "2.png", "caption": "two"},
        ]
        lay(tmp_path / "lines", {"metadata.jsonl": "\n".join(map(json.dumps, rows))})
        lay(tmp_path / "list", {"x.json": json.dumps([{**row, "image": row["file_name"]} for row in rows])})
        for folder in ("lines", "list"):
            lay(tmp_path / folder, {f"{n}.png": png(n) for n in range(3)})
            pairs = list(open_set(tmp_path / folder).pairs())
            assert [words(pair) for pair in pairs] == [[], ["one"], ["two"]]
            assert [pair.problem for pair in pairs] == ["no text", "", ""]

    @pytest.mark.parametrize("name", ["prompt", "description", "caption_en", "alt_text", "Text ", "title"])
    def test_other_names_of_a_text_are_read_and_told(self, tmp_path: Path, name: str) -> None:
        lay(tmp_path, {"0.png": png(), "metadata.jsonl": json.dumps({"file_name": "0.png", name: "a dog"})})
        made = open_set(tmp_path)
        assert [words(pair) for pair in made.pairs()] == [["a dog"]]
        assert any(repr(name) in note for note in made.notes) == (name != "Text ")

    def test_of_two_that_could_be_none_is_read_unless_named(self, tmp_path: Path) -> None:
        lay(tmp_path, {"0.png": png(), "metadata.csv": "file_name,prompt,title\n0.png,a dog,Untitled\n"})
        assert [words(pair) for pair in open_set(tmp_path).pairs()] == [[]]
        (pair,) = open_set(tmp_path, columns=ColumnNames(text="prompt")).pairs()
        assert words(pair) == ["a dog"] and pair.meta == {"title": "Untitled"}
        with pytest.raises(Mistake, match="no column 'promt'.\nIts columns: file_name, prompt, title"):
            open_set(tmp_path, columns=ColumnNames(text="promt"))

    def test_both_columns_may_be_named(self, tmp_path: Path) -> None:
        lay(tmp_path, {"0.png": png(), "x.csv": "a,b,c\n1,0.png,a dog\n"})
        (pair,) = open_set(tmp_path, columns=ColumnNames("b", "c")).pairs()
        assert words(pair) == ["a dog"] and pair.image.read() == png()
        rows = [{"pic": "0.png", "says": "a dog"}]
        lay(tmp_path / "json", {"0.png": png(), "x.json": json.dumps(rows)})
        (pair,) = open_set(tmp_path / "json", columns=ColumnNames("pic", "says")).pairs()
        assert words(pair) == ["a dog"]

    @pytest.mark.parametrize("delimiter", ["\t", ";", "| ", ","])
    def test_the_header_tells_the_delimiter(self, tmp_path: Path, delimiter: str) -> None:
        rows = [("filepath", "title"), ("0.png", "a dog"), ("1.png", "a cat")]
        lay(
            tmp_path,
            {"x.csv": "".join(delimiter.join(row) + "\n" for row in rows), "0.png": png(), "1.png": png(1)},
        )
        assert [words(pair) for pair in open_set(tmp_path).pairs()] == [["a dog"], ["a cat"]]

    def test_pictures_are_known_by_their_cells(self, tmp_path: Path) -> None:
        lay(tmp_path, {"0.png": png(), "x.csv": "n,shot,text\n1,0.png,a dog\n"})
        made = open_set(tmp_path)
        assert [words(pair) for pair in made.pairs()] == [
            ["a dog"]
        ] and "pictures from the column 'shot'" in made.notes[0]

    TURNS = ({"from": "human", "value": "What?"}, {"from": "gpt", "value": "A dog."})

    def test_conversations_are_read_wherever_they_stand(self, tmp_path: Path) -> None:
        row = {"image": "0.png", "conversations": self.TURNS}
        said = [{"role": "user", "content": "<image>What?"}, {"role": "assistant", "content": "A dog."}]
        contents = {
            "imagefolder/metadata.jsonl": json.dumps({"file_name": "0.png", "conversations": self.TURNS}),
            "lines/train.jsonl": json.dumps(row),
            "named/train.json": json.dumps(row) + "\n" + json.dumps({**row, "image": "1.png"}),
            "list/train.json": json.dumps([{**row, "image": ["0.png"]}]),
            "object/train.json": json.dumps([{**row, "image": {"path": "0.png"}}]),
            "sharegpt/train.json": json.dumps([{"messages": said, "images": ["0.png"]}]),
        }
        for name, content in contents.items():
            folder = tmp_path / name.partition("/")[0]
            lay(tmp_path, {name: content})
            lay(folder, {"0.png": png(), "1.png": png(1)})
            assert {word for pair in open_set(folder).pairs() for word in words(pair)} == {"A dog."}, name

    def test_several_pictures_of_a_row_are_told(self, tmp_path: Path) -> None:
        rows = [{"id": "a", "image": ["0.png", "1.png"], "conversations": list(self.TURNS)}]
        lay(tmp_path, {"x.json": json.dumps(rows), "0.png": png(), "1.png": png(1)})
        assert by_text(tmp_path)["A dog."].problem == "no image: the row names 2 pictures, and a pair has one"

    @pytest.mark.parametrize(
        ("cell", "texts"),
        [
            ([{"caption": "a dog", "id": "x"}, {"caption": "a cat", "id": "y"}], ["a dog", "a cat"]),
            ({"raw": "a dog", "model": "m"}, ["a dog"]),
            ([{"user": "What?", "assistant": "a dog"}], ["a dog"]),
            ({"model": "a", "score": 2}, ["a"]),
            ({"en": "a dog", "de": "ein Hund"}, []),
            (["a dog", None, "a cat"], ["a dog", "a cat"]),
        ],
    )
    def test_objects_in_cells_are_never_written_out_as_text(
        self, tmp_path: Path, cell: object, texts: list[str]
    ) -> None:
        table = pa.table({"image": [{"bytes": png(), "path": "0.png"}], "caption": [cell]})
        pq.write_table(table, tmp_path / "x.parquet")
        (pair,) = open_set(tmp_path).pairs()
        assert words(pair) == texts and (texts or "not understood: an object of" in pair.notes[0])


class TestSeveralSets:
    def texted(self, root: Path, count: int = 3) -> Path:
        for n in range(count):
            lay(root, {f"{n}.png": png(n), f"{n}.txt": f"it is {n}"})
        return root

    def test_a_stray_tar_or_table_hides_no_folder(self, tmp_path: Path) -> None:
        tar_of(self.texted(tmp_path / "tar") / "backup.tar", ("a.png", png(9)), ("a.txt", "x"))
        pq.write_table(
            pa.table({"image": [png(9)], "text": ["x"]}), self.texted(tmp_path / "table") / "export.parquet"
        )
        lay(self.texted(tmp_path / "metadata"), {"metadata.csv": "file_name,text\n0.png,x\n"})
        for folder, other in (("tar", "webdataset"), ("table", "table"), ("metadata", "imagefolder")):
            with pytest.raises(
                Mistake, match=f"holds several sets.\n(.|\n)*--format {other} or --format folder_text"
            ):
                open_set(tmp_path / folder)
            assert [words(pair) for pair in open_set(tmp_path / folder, "folder_text").pairs()] == [
                [f"it is {n}"] for n in range(3)
            ]
            assert [words(pair) for pair in open_set(tmp_path / folder, other).pairs()] == [["x"]]

    def test_a_table_of_the_same_pictures_is_read(self, tmp_path: Path) -> None:
        rows = "".join(f"{n}.png,table {n}\n" for n in range(3))
        lay(self.texted(tmp_path), {"metadata.csv": "file_name,text\n" + rows})
        assert [words(pair) for pair in open_set(tmp_path).pairs()] == [[f"table {n}"] for n in range(3)]

    def test_boxes_and_addresses_beside_texts_are_no_set(self, tmp_path: Path) -> None:
        boxes = {
            "images": [{"id": 0, "file_name": "0.png"}],
            "annotations": [{"image_id": 0, "bbox": [1, 2, 3, 4]}],
        }
        lay(self.texted(tmp_path / "boxes"), {"instances.json": json.dumps(boxes)})
        folder = self.texted(tmp_path / "img2dataset" / "00000").parent
        pq.write_table(
            pa.table({"url": ["https://x"], "caption": ["c"], "key": ["0"]}), folder / "00000.parquet"
        )
        lay(folder, {"00000_stats.json": "{}"})
        for path in (tmp_path / "boxes", folder):
            made = open_set(path)
            assert (made.format, len(list(made.pairs()))) == ("folder_text", 3)
        assert "instances.json was not read" in open_set(tmp_path / "boxes").notes[0]

    def test_two_tables_of_the_same_rows_are_one(self, tmp_path: Path) -> None:
        rows = [{"file_name": f"{n}.png", "text": f"it is {n}"} for n in range(3)]
        lines = "\n".join(map(json.dumps, rows))
        cells = "file_name,text\n" + "".join(f"{n}.png,it is {n}\n" for n in range(3))
        lay(
            tmp_path,
            {"metadata.csv": cells, "metadata.jsonl": lines, **{f"{n}.png": png(n) for n in range(3)}},
        )
        made = open_set(tmp_path)
        assert len(list(made.pairs())) == 3
        assert made.notes == ("metadata.jsonl was not read: it has the rows of metadata.csv.",)
        lay(
            tmp_path,
            {"metadata.jsonl": lines + json.dumps({"file_name": "3.png", "text": "more"}).join("\n\n")},
        )
        assert len(list(open_set(tmp_path).pairs())) == 7

    def test_lists_and_parquet_with_the_same_rows_are_one(self, tmp_path: Path) -> None:
        rows = [{"image": f"{n}.png", "caption": "a dog"} for n in range(30)]
        lay(tmp_path / "lists", {f"{name}.json": json.dumps(rows) for name in "ab"} | {"0.png": png()})
        (tmp_path / "tables").mkdir()
        for name, first in (("a", 0), ("b", 0), ("c", 30)):  # c: other pictures under the same texts
            table = pa.table({"image": [png(first + n) for n in range(30)], "text": ["a dog"] * 30})
            pq.write_table(table, tmp_path / "tables" / f"{name}.parquet")
        assert [len(list(open_set(tmp_path / name).pairs())) for name in ("lists", "tables")] == [30, 60]

    def test_what_is_not_read_is_named(self, tmp_path: Path) -> None:
        lay(
            self.texted(tmp_path),
            {"a.zip": b"PK\x03\x04", "b.csv": "x,y\n1,2\n", "c.json": '{"0.png": {"caption": "a"}}'},
        )
        lay(
            tmp_path,
            {
                "d.json": '[["0", "a"]]',
                "e.json": '{"0": "a"}'.encode("utf-16"),
                ".DS_Store": b"",
                "Thumbs.db": b"",
            },
        )
        assert open_set(tmp_path).notes == (
            "a.zip was not read: it is compressed: unpack it first.",
            "b.csv was not read: columns x, y.",
            'c.json was not read: an object of 1 entries such as \'0.png\': {"caption": "a"}.',
            'd.json was not read: a list of 1 entries such as ["0", "a"].',
            "e.json was not read: it is UTF-16: save it as UTF-8.",
        )

    def test_a_pattern_is_told(self, tmp_path: Path) -> None:
        with pytest.raises(Mistake, match="A pattern of names is no set.\nGive the folder"):
            open_set(tmp_path / "{00000..00009}.tar")


class TestRows:
    ROWS = [
        '"stop" reads the sign',
        "plain",
        '"unbalanced at the start',
        "another plain one",
        'a 12" record',
        '"quoted, well"',
    ]

    def test_a_quotation_mark_in_a_tsv_swallows_no_row(self, tmp_path: Path) -> None:
        lay(tmp_path, {f"{n}.png": png(n) for n in range(6)})
        lay(
            tmp_path,
            {"x.tsv": "image\ttext\n" + "".join(f"{n}.png\t{text}\n" for n, text in enumerate(self.ROWS))},
        )
        pairs = list(open_set(tmp_path).pairs())
        assert [words(pair) for pair in pairs] == [[text] for text in [*self.ROWS[:5], "quoted, well"]]
        assert ["never closed" in " ".join(pair.notes) for pair in pairs] == [
            False,
            False,
            True,
            False,
            False,
            False,
        ]

    def test_an_open_quotation_mark_in_a_csv_keeps_the_rows_behind_it(self, tmp_path: Path) -> None:
        lay(tmp_path, {f"{n}.png": png(n) for n in range(4)})
        rows = [
            '0.png,"two\nlines, and ""quotes"""',
            '1.png,"never closed',
            "2.png,after it",
            '3.png,"the last',
        ]
        lay(tmp_path, {"x.csv": "image,text\n" + "\n".join(rows)})
        texts = ['two\nlines, and "quotes"', '"never closed', "after it", '"the last']
        assert [words(pair) for pair in open_set(tmp_path).pairs()] == [[text] for text in texts]

    def test_a_row_that_cannot_be_read_keeps_its_text(self, tmp_path: Path) -> None:
        rows = ["0.png,a dog, a cat", r'1.png,"a sign says \"stop\", red"', "2.png", "3.png,good"]
        lay(tmp_path, {f"{n}.png": png(n) for n in range(4)} | {"x.csv": "image,text\n" + "\n".join(rows)})
        wide, escaped, short, good = open_set(tmp_path).pairs()
        assert wide.problem == "row has 3 cells, not 2" and words(wide) == ["0.png,a dog, a cat"]
        assert words(escaped) == ['a sign says "stop", red'] and "escape" in escaped.notes[0]
        assert short.problem == "row has 1 cells, not 2" and words(good) == ["good"]

    def test_rows_of_one_group_are_decoded_once(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(_columnar, "SIZE", 100)
        table = pa.table(
            {"image": [png(n % 7) for n in range(1000)], "text": [f"it is {n}" for n in range(1000)]}
        )
        pq.write_table(table, tmp_path / "x.parquet")
        opened: list[int] = []
        first = _columnar._GroupReader.__init__
        monkeypatch.setattr(
            _columnar._GroupReader, "__init__", lambda self, *args: (opened.append(1), first(self, *args))[1]
        )
        made = open_set(tmp_path)
        assert len(made.shards) == 10
        assert [words(pair)[0] for pair in made.pairs()] == [f"it is {n}" for n in range(1000)] and len(
            opened
        ) == 1
        last, before = list(read(made.shards[7])), list(read(made.shards[2]))  # backwards it begins anew
        assert words(last[0]) == ["it is 700"] and words(before[99]) == ["it is 299"] and len(opened) == 3


class TestTars:
    def test_files_of_a_sample_are_put_together(self, tmp_path: Path) -> None:
        names = ["a", "b", "c"]
        tar_of(
            tmp_path / "x.tar",
            *((f"{k}.png", png(n)) for n, k in enumerate(names)),
            *((f"{k}.txt", k) for k in names),
        )
        pairs = list(open_set(tmp_path).pairs())
        assert [(pair.name, words(pair), pair.problem) for pair in pairs] == [(k, [k], "") for k in names]
        assert all("do not stand together" in pair.notes[0] for pair in pairs)
        tar_of(tmp_path / "x.tar", ("a.png", png()), ("b.png", png(1)), ("a.jpg", png(2)), ("a.txt", "a"))
        assert [(pair.name, pair.problem) for pair in open_set(tmp_path).pairs()] == [
            ("a", "no text"), ("b", "no text"), ("a", "duplicate: the tar holds 'a' twice"),
        ]  # fmt: skip

    def test_dots_in_names(self, tmp_path: Path) -> None:
        files = [
            (f"trip.2020.0{n}.{suffix}", content)
            for n in (1, 2)
            for suffix, content in (("png", png(n)), ("txt", f"day {n}"))
        ]
        tar_of(
            tmp_path / "x.tar",
            *files,
            ("s0.input.png", png(3)),
            ("s0.output.txt", "out"),
            ("t.1.png", png(4)),
            ("t.2.png", png(5)),
        )
        pairs = {pair.name: pair for pair in open_set(tmp_path).pairs()}
        assert words(pairs["trip.2020.01"]) == ["day 1"] and words(pairs["trip.2020.02"]) == ["day 2"]
        assert (
            words(pairs["s0"]) == ["out"]
            and "s0" in pairs
            and "is .input.png, its text .output.txt" in pairs["s0"].notes[0]
        )
        assert pairs["t"].problem == "no image" and "ends at their first dot" in " ".join(pairs["t"].notes)
        assert all(pair.notes for pair in pairs.values())

    def test_joined_tars_are_read_to_their_end(self, tmp_path: Path) -> None:
        one = tar_of(tmp_path / "1", ("a.png", png()), ("a.txt", "a")).read_bytes()
        two = tar_of(tmp_path / "2", ("b.png", png(1)), ("b.txt", "b")).read_bytes()
        (tmp_path / "set").mkdir()
        (tmp_path / "set" / "x.tar").write_bytes(one + two + b"?" * 700)
        first, second, rest = open_set(tmp_path / "set").pairs()
        assert words(first) == ["a"] and not first.notes
        assert words(second) == ["b"] and "behind an end mark" in second.notes[0] and not second.problem
        assert "bytes that are no member stand behind the end mark" in rest.problem

    def test_other_text_files_and_fields(self, tmp_path: Path) -> None:
        tar_of(
            tmp_path / "x.TAR", ("a.png", png()), ("a.caption", "one"), ("b.png", png(1)), ("b.json", '{"prompt": "two", "n": 1}'),
            ("c.png", png(2)), ("c.txt", FOREIGN["gbk"].encode("gbk")), ("d.heic", b"?"), ("d.txt", "four"),
        )  # fmt: skip
        a, b, c, d = open_set(tmp_path).pairs()
        assert (
            words(a) == ["one"]
            and words(b) == ["two"]
            and b.meta == {"n": 1}
            and "from 'prompt'" in b.notes[0]
        )
        assert "unknown character set" in c.problem and d.problem.startswith(
            "d.heic is of a kind that is not read"
        )


class TestCoco:
    def coco(self, root: Path, images: list, annotations: list, **more: object) -> Path:
        lay(root, {f"{n}.png": png(n) for n in range(3)})
        return lay(
            root, {"captions.json": json.dumps({**more, "images": images, "annotations": annotations})}
        )

    @pytest.mark.parametrize(("ours", "theirs"), [(7, "7"), ("7", 7), (7, 7.0), (7.0, 7)])
    def test_ids_are_compared_by_value(self, tmp_path: Path, ours: object, theirs: object) -> None:
        self.coco(
            tmp_path,
            [{"id": ours, "file_name": "0.png"}],
            [{"id": 1, "image_id": theirs, "caption": "a dog"}],
        )
        assert not by_text(tmp_path)["a dog"].problem

    def test_a_list_of_captions_is_several(self, tmp_path: Path) -> None:
        rows = [
            {"id": 5, "image_id": 0, "caption": ["a dog", "a cat"]},
            {"id": 6, "image_id": 0, "caption": None},
        ]
        (pair,) = open_set(self.coco(tmp_path / "in", [{"id": 0, "file_name": "0.png"}], rows)).pairs()
        assert words(pair) == ["a dog", "a cat"]
        save_set([pair], tmp_path / "out", "coco")
        ids = [
            row["id"] for row in json.loads((tmp_path / "out" / "captions.json").read_text())["annotations"]
        ]
        assert len(ids) == len(set(ids)) == 2

    def test_an_id_of_several_images_is_told(self, tmp_path: Path) -> None:
        images = [
            {"id": 7, "file_name": "0.png"},
            {"id": 7, "file_name": "1.png"},
            {"id": 8, "file_name": "2.png"},
        ]
        rows = [{"id": n, "image_id": 7 + n, "caption": f"it is {n}"} for n in range(2)]
        problems = [pair.problem for pair in open_set(self.coco(tmp_path, images, rows)).pairs()]
        assert [problem.startswith("duplicate: the file lists the id 7") for problem in problems] == [
            True,
            True,
            False,
        ]

    def test_what_else_a_file_holds_is_written_again(self, tmp_path: Path) -> None:
        more = {
            "info": {"by": "Käse"},
            "licenses": [{"id": 4, "name": "x"}],
            "categories": [],
            "type": "captions",
        }
        rows = [{"id": 1, "image_id": 0, "caption": "a dog"}]
        (shard,) = open_set(
            self.coco(tmp_path / "in", [{"id": 0, "file_name": "0.png"}], rows, **more)
        ).shards
        for _ in range(2):  # a kill before the end writes it again
            find("coco").write(tmp_path / "out", shard.name, read(shard), shard)
        find("coco").finish(tmp_path / "out", [shard.name])
        whole = json.loads((tmp_path / "out" / "captions.json").read_text())
        assert {name: whole[name] for name in more} == more and not (tmp_path / "out" / ".parts").exists()
        assert whole["images"][0]["file_name"] == "0.png"

    def test_evaluation_tools_find_what_they_read(self, tmp_path: Path) -> None:
        self.coco(
            tmp_path / "in", [{"id": 0, "file_name": "0.png"}], [{"id": 1, "image_id": 0, "caption": "a dog"}]
        )
        save_set(open_set(tmp_path / "in").pairs(), tmp_path / "out", "coco")
        assert json.loads((tmp_path / "out" / "captions.json").read_text())["info"] == {}
        coco = pytest.importorskip("pycocotools.coco", reason="pycocotools is not installed")
        truth = coco.COCO(str(tmp_path / "out" / "captions.json"))
        truth.info()
        assert truth.loadRes([{"image_id": 0, "caption": "a cat"}]).getAnnIds() == [1]


class TestTablesOut:
    def test_kinds_names_and_order_of_columns_are_kept(self, tmp_path: Path) -> None:
        count = 3
        columns = {
            "sim": pa.array([0.1, None, 0.3], pa.float32()),
            "caption": pa.array([[f"it is {n}", "again"] for n in range(count)], pa.list_(pa.string())),
            "image": pa.array([{"bytes": png(n), "path": f"{n}.png"} for n in range(count)]),
            "label": pa.array([0, None, 1], pa.int8()),
            "hash": pa.array([2**63 + n for n in range(count)], pa.uint64()),
            "when": pa.array(
                [1_600_000_000_000_000_001 + n for n in range(count)], pa.timestamp("ns", "UTC")
            ),
            "price": pa.array([decimal.Decimal("1.50")] * count, pa.decimal128(9, 2)),
            "none": pa.array([None] * count, pa.string()),
            "map": pa.array([[("a", 1)]] * count, pa.map_(pa.string(), pa.int64())),
            "emb": pa.array([[0.5, 1.5]] * count, pa.list_(pa.float32(), 2)),
            "cat": pa.array(["a", "b", "a"]).dictionary_encode(),
        }
        features = {"info": {"features": {"image": {"_type": "Image"}, "caption": {"_type": "Sequence"}}}}
        table = pa.table(columns).replace_schema_metadata({"huggingface": json.dumps(features)})
        (tmp_path / "in").mkdir()
        pq.write_table(table, tmp_path / "in" / "x.parquet")
        made = open_set(tmp_path / "in")
        for shard in made.shards:
            find("table").write(tmp_path / "out", shard.name, read(shard), shard)
        find("table").finish(tmp_path / "out", [shard.name for shard in made.shards])
        back = pq.read_table(tmp_path / "out" / "x.parquet")
        assert back.schema.equals(table.schema, check_metadata=False) and back.equals(table)
        kept = json.loads(back.schema.metadata[b"huggingface"])["info"]["features"]
        assert kept == features["info"]["features"]

    @pytest.mark.parametrize("name", ["metadata.csv", "x.tsv", "x.jsonl"])
    def test_other_tables_keep_names_and_order(self, tmp_path: Path, name: str) -> None:
        row = {"year": "1939", "caption": "a dog", "file_name": "0.png", "place": "Lowell"}
        cells = "\t".join(row) + "\n" + "\t".join(row.values()) + "\n"
        content = (
            json.dumps(row) + "\n"
            if name.endswith(".jsonl")
            else cells
            if name.endswith(".tsv")
            else cells.replace("\t", ",")
        )
        lay(tmp_path / "in", {name: content, "0.png": png()})
        (shard,) = open_set(tmp_path / "in").shards
        find(shard.format).write(tmp_path / "out", shard.name, read(shard), shard)
        find(shard.format).finish(tmp_path / "out", [shard.name])
        assert (tmp_path / "out" / name).read_text() == content
