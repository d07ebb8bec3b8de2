"""Sets as people have them, through `check` and `clean`: nothing lost without a word, nothing counted twice."""

import json
import os
from pathlib import Path
from urllib.parse import unquote_to_bytes

import numpy as np
import oracle
import pyarrow.parquet as pq
import pytest
from PIL import Image

from pairloom.clean.audit_set import check
from pairloom.data.shards import open_set, save_set
from pairloom.errors import Mistake


def picture(path: Path, seed: int) -> Path:
    """A picture with a few large patches, so that no two are near duplicates."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rough = np.random.default_rng(seed).integers(0, 255, (6, 8, 3), dtype=np.uint8)
    Image.fromarray(rough).resize((48, 36), Image.Resampling.BICUBIC).save(path, "PNG")
    return path


def folder(root: Path, texts: list[str]) -> Path:
    for number, text in enumerate(texts):
        picture(root / f"{number}.png", number).with_suffix(".txt").write_text(text)
    return root


def test_names_that_are_not_utf8_reach_the_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a file, of a folder and of a folder above the set: the run ends, again too, and its links lead to the files."""
    top = Path(os.fsdecode(os.fsencode(tmp_path) + b"/f\xfcr mich"))
    for number, name in enumerate((b"caf\xe9.png", b"gar\xe7ons/1.png", b"plain.png")):
        path = picture(Path(os.fsdecode(os.fsencode(top / "raw") + b"/" + name)), number)
        path.with_suffix(".txt").write_text("a red wall")
    with pytest.raises(Mistake, match="cannot be the output"):
        oracle.run(top / "raw", top / "out", oracle.SETTINGS)
    for out in (tmp_path / "out", tmp_path / "out"):
        oracle.run(top / "raw", out, oracle.SETTINGS)
        rows = pq.read_table(out / "pairs.parquet").to_pylist()
        assert {row["decision"] for row in rows} == {"keep"} and len(rows) == 3
        assert json.loads((out / "run.json").read_text())["set"]["path"] == str(top / "raw")
        assert (out / "report.html").exists()
    monkeypatch.chdir(top)
    oracle.run(Path("raw"), Path("out"), oracle.SETTINGS)
    assert len(list(Path("out/pairs").rglob("*.png"))) == 3


def test_links_of_the_report_are_bytes_of_the_name(tmp_path: Path) -> None:
    from pairloom.clean.pictures import ReportPictures

    path = picture(Path(os.fsdecode(os.fsencode(tmp_path) + b"/raw/caf\xe9.png")), 1)
    path.with_suffix(".txt").write_text("a red wall")
    (pair,) = open_set(tmp_path / "raw").pairs()
    link = ReportPictures(open_set(tmp_path / "raw"), tmp_path / "out", tmp_path).link(pair.key)
    assert link is not None and unquote_to_bytes(link) == b"../raw/caf\xe9.png"


def test_a_bad_text_is_counted_once_and_the_share_is_of_the_texts(tmp_path: Path) -> None:
    """An address is also a file name: two findings, one bad text of two."""
    findings = check(open_set(folder(tmp_path, ["https://example.org/big.jpg", "a plain red wall"])))
    assert sum(entry["count"] for entry in findings.audit().values() if entry["severity"] == "bad") >= 1
    assert (findings.bad(), findings.bad_share) == (1, 0.5)


def test_bad_pictures_and_rows_count_with_their_texts_and_once(tmp_path: Path) -> None:
    folder(tmp_path, ["one red wall\na green wall", "a blue wall"])
    (tmp_path / "0.png").write_bytes(b"no picture")
    (tmp_path / "2.png").write_bytes(b"no picture and no text")
    findings = check(open_set(tmp_path))
    assert findings.audit()["unreadable"]["count"] == 2 and "no_text" not in findings.audit()
    assert (findings.bad(), findings.bad_share) == (3, 0.75)  # two texts and one pair without a text, of four


@pytest.mark.parametrize(
    ("content", "code", "about"),
    [
        ("image,text\n0.png,a dog, a cat\n1.png,fine\n", "broken_row", "row has 3 cells, not 2"),
        ("image,text\n9.png,a dog\n1.png,fine\n", "no_image", "'9.png' is not there"),
        ("image,text\n0.png,собака на пляже\n1.png,fine\n", "broken_row", "unknown character set"),
    ],
)
def test_a_broken_row_has_one_fault_with_its_reason(
    tmp_path: Path, content: str, code: str, about: str
) -> None:
    picture(tmp_path / "0.png", 0), picture(tmp_path / "1.png", 1)
    (tmp_path / "x.csv").write_bytes(content.encode("utf-8" if code == "no_image" else "cp1251"))
    audit = check(open_set(tmp_path)).audit()
    assert list(audit) == [code] and audit[code]["count"] == 1
    assert about in audit[code]["examples"][0]["text"]


def test_texts_in_another_code_page_are_not_written_as_something_else(tmp_path: Path) -> None:
    folder(tmp_path / "raw", ["a red wall", "a blue wall"])
    (tmp_path / "raw" / "1.txt").write_bytes("一只狗在海滩上奔跑".encode("gbk"))
    findings = check(open_set(tmp_path / "raw"))
    assert findings.audit()["charset"]["count"] == 1 and findings.bad() == 1
    oracle.run(tmp_path / "raw", tmp_path / "out", oracle.SETTINGS)
    assert sorted(path.name for path in (tmp_path / "out" / "pairs").iterdir()) == ["0.png", "0.txt"]
    rows = pq.read_table(tmp_path / "out" / "pairs.parquet").to_pylist()
    assert "perhaps GBK" in next(row["reason"] for row in rows if row["name"] == "1")


def test_what_the_reader_noted_reaches_the_findings(tmp_path: Path) -> None:
    picture(tmp_path / "a" / "0.png", 0), picture(tmp_path / "b" / "1.png", 1)
    (tmp_path / "metadata.csv").write_text("file_name,text\n0.png,a red wall\n7.png,gone\n")
    audit = check(open_set(tmp_path)).audit()
    assert (
        audit["found_elsewhere"]["severity"] == "doubt"
        and "a/0.png" in audit["found_elsewhere"]["examples"][0]["text"]
    )
    (tmp_path / "c").mkdir()
    for name, data in (("0.png", b""), ("x.png", picture(tmp_path / "1.png", 1).read_bytes())):
        (tmp_path / "c" / name).write_bytes(data)
    (tmp_path / "c" / "x.txt").write_bytes("Käse".encode("cp1252"))
    findings = check(open_set(tmp_path / "c"))
    assert any("read as cp1252" in example["text"] for example in findings.audit()["repaired"]["examples"])


def test_a_set_of_which_nothing_was_understood_is_a_mistake_that_says_what_was_seen(tmp_path: Path) -> None:
    import pairloom

    picture(tmp_path / "raw" / "0.png", 0)
    (tmp_path / "raw" / "metadata.csv").write_text("file_name,words,label\n0.png,a red wall,3\n")
    pairs = pairloom.open(tmp_path / "raw")
    for call in (lambda: pairs.check(), lambda: pairs.clean(tmp_path / "out", captions=False)):
        with pytest.raises(Mistake, match="columns file_name, words, label\n.*--text-column"):
            call()
    assert not (tmp_path / "out").exists()
    named = pairloom.open(tmp_path / "raw", text_column="words")
    assert named.check(workers=1).texts == 1


def test_the_columns_of_a_run_are_known_when_it_is_read_again(tmp_path: Path) -> None:
    import pairloom
    from pairloom.data.several import open_again

    picture(tmp_path / "raw" / "0.png", 0)
    (tmp_path / "raw" / "metadata.csv").write_text("file_name,words\n0.png,a red wall\n")
    pairs = pairloom.open(tmp_path / "raw", text_column="words")
    result = pairs.clean(tmp_path / "out", captions=False, workers=1)
    (pair,) = open_again(result.facts["set"]).pairs()
    assert [text.text for text in pair.texts] == ["a red wall"]
    assert (result.pairs / "metadata.csv").read_text() == "file_name,words\n0.png,a red wall\n"
    again = pairs.clean(tmp_path / "out", captions=False, workers=1)
    assert again.facts == result.facts


def test_texts_in_another_folder_are_named(tmp_path: Path) -> None:
    import pairloom

    for number in range(3):
        picture(tmp_path / "images" / f"{number}.png", number)
    (tmp_path / "captions").mkdir()
    for number in range(3):
        (tmp_path / "captions" / f"{number}.txt").write_text("a red wall")
    with pytest.raises(Mistake, match="3 have the same names in other folders"):
        pairloom.open(tmp_path).check(workers=1)


def test_a_tar_of_which_nothing_is_left_is_not_written(tmp_path: Path) -> None:
    pairs = list(open_set(folder(tmp_path / "raw", ["a red wall", "IMG_0001.jpg"])).pairs())
    save_set(pairs, tmp_path / "tars", "webdataset", size=1)
    oracle.run(tmp_path / "tars", tmp_path / "out", oracle.SETTINGS)
    assert sorted(path.name for path in (tmp_path / "out" / "pairs").iterdir()) == [
        "00000.parquet",
        "00000.tar",
        "00000_stats.json",
    ]
