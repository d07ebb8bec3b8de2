"""Whatever is handed to `clean` and `check`: a Mistake in words or a row with the reason, and the input as it was."""

import errno
import hashlib
import io
import json
import os
import struct
import tarfile
import zlib
from dataclasses import replace
from pathlib import Path

import colours
import numpy as np
import oracle
import pyarrow.parquet as pq
import pytest
from PIL import Image

import pairloom
from pairloom import registry
from pairloom.clean.plan import CleanSettings
from pairloom.clean.run import clean
from pairloom.data.shards import open_set, save_set
from pairloom.errors import Mistake

FORMATS = registry.names("data.formats")
ASKED = oracle.SETTINGS


def tree(root: Path) -> str:
    """One hash over every name and byte."""
    digest = hashlib.sha256()
    for path in sorted([root, *root.rglob("*")]):
        digest.update(os.fsencode(path.relative_to(root)))
        digest.update(path.read_bytes() if path.is_file() else b"/")
    return digest.hexdigest()


def put(raw: Path, name: str, data: bytes, text: str | bytes | None = "a plain red wall") -> None:
    raw.mkdir(exist_ok=True)
    (raw / name).write_bytes(data)
    if text is not None:
        words = text if isinstance(text, bytes) else text.encode()
        (raw / name).with_suffix(".txt").write_bytes(words)


def cleaned(raw: Path, out: Path, asked: CleanSettings = ASKED) -> dict[str, list[dict]]:
    """The ledger by name, after checking that the input is as it was and the output can be read."""
    before = tree(raw) if raw.is_dir() else raw.read_bytes()
    (oracle.run if asked is ASKED else clean)(raw, out, asked)
    assert before == (tree(raw) if raw.is_dir() else raw.read_bytes())
    assert not [path for path in out.rglob(".*")]
    rows: dict[str, list[dict]] = {}
    for row in pq.read_table(out / "pairs.parquet").to_pylist():
        rows.setdefault(row["name"], []).append(row)
    return rows


def bomb() -> bytes:
    """A PNG whose header says 30,000 x 30,000, and nothing behind it."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", 30_000, 30_000, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", head)
        + chunk(b"IDAT", zlib.compress(b"\0"))
        + chunk(b"IEND", b"")
    )


def encoded(image: Image.Image, kind: str, **more: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **more)
    return file.getvalue()


NOISE = Image.fromarray(np.random.default_rng(0).integers(0, 255, (40, 40, 3), dtype=np.uint8))
GOOD = colours.picture("red", "plain", 1)
BROKEN = {
    "zero.png": (b"", "0 bytes"),
    "text.png": (b"this is no picture", "not an image"),
    "cut.jpg": (encoded(NOISE, "JPEG")[:700], "cut off"),
    "bomb.png": (bomb(), "900,000,000 pixels"),
}
ODD = {
    "moving.gif": (encoded(NOISE, "GIF", save_all=True, append_images=[NOISE.rotate(90)]), "animated"),
    "deep.png": (
        encoded(Image.fromarray((np.arange(1600).reshape(40, 40) * 40).astype(np.uint16)), "PNG"),
        "deep",
    ),
    "press.jpg": (encoded(NOISE.convert("CMYK"), "JPEG"), "cmyk"),
    "glass.png": (encoded(NOISE.convert("RGBA").rotate(45), "PNG"), "alpha"),
    "thin.png": (encoded(NOISE.resize((200, 20)), "PNG"), "extreme_shape"),
}


def test_pictures_that_cannot_be_read_are_rows_with_the_reason(tmp_path) -> None:
    for name, (data, _) in {**BROKEN, **ODD}.items():
        put(tmp_path / "raw", name, data)
    put(tmp_path / "raw", "good.png", GOOD)
    rows = cleaned(tmp_path / "raw", tmp_path / "out")
    for name, (_, reason) in BROKEN.items():
        (row,) = rows[name.partition(".")[0]]
        assert row["decision"] == "drop" and reason in row["reason"], row
    for name, (_, finding) in ODD.items():
        (row,) = rows[name.partition(".")[0]]
        assert row["decision"] == "keep" and finding in row["findings"], row
    assert sorted(pair.name for pair in open_set(tmp_path / "out" / "pairs").pairs()) == sorted(
        ["good", *(name.partition(".")[0] for name in ODD)]
    )


TEXTS = {
    "long": "a wall " * 14_000,
    "nul": b"a red\0 wall",
    "arabic": "جدار أحمر",
    "han": "红墙",
    "emoji": "🧱🟥",
    "latin1": "ein rotes Gebäude mit Käse".encode("latin-1"),
    "utf16": "a red wall".encode("utf-16"),
    "half": b"a \xed\xa0\x80 wall",
    "marks": "‮a wall‬ \u200d\ufeff",
    "controls": "a\x1b[31m red\x07 wall",
    "script": "<script>alert(1)</script> a wall",
    "empty": "",
}


def test_texts_of_any_kind_are_judged_or_dropped_and_the_report_holds(tmp_path) -> None:
    for index, (name, text) in enumerate(TEXTS.items()):
        put(tmp_path / "raw", f"{name}.png", colours.picture("red", "plain", index), text)
    rows = cleaned(tmp_path / "raw", tmp_path / "out")
    assert set(rows) == set(TEXTS)
    assert rows["nul"][0]["text"] == "a red wall" and "repaired" in rows["nul"][0]["findings"]
    assert rows["arabic"][0]["text"] == TEXTS["arabic"] and rows["arabic"][0]["decision"] == "keep"
    assert rows["long"][0]["findings"] and len(rows["long"][0]["text"]) == 97_999
    assert rows["empty"][0]["decision"] == "drop" and rows["empty"][0]["text_id"] == -1
    counts = json.loads((tmp_path / "out" / "run.json").read_text())["counts"]
    assert counts["textless"] == 1 and counts["drop"] > 1
    assert rows["script"][0]["findings"] == ["markup"]
    assert "<script>alert(1)" not in (tmp_path / "out" / "report.html").read_text()


@pytest.mark.parametrize("pairs", [1, 3])
def test_a_set_too_small_to_judge_is_kept_as_it_is(tmp_path, pairs: int) -> None:
    for index in range(pairs):
        put(tmp_path / "raw", f"{index}.png", colours.picture("red", "plain", index))
    rows = cleaned(tmp_path / "raw", tmp_path / "out")
    assert [row["decision"] for found in rows.values() for row in found] == ["keep"] * pairs
    facts = json.loads((tmp_path / "out" / "run.json").read_text())
    assert not facts["calibration"]["decides"] and "at least" in facts["calibration"]["why"]


@pytest.mark.parametrize("texts", ["a plain red wall", None])
def test_the_judge_self_is_not_trained_on_next_to_nothing(tmp_path, texts: str | None) -> None:
    put(tmp_path / "raw", "one.png", GOOD, texts)
    asked = CleanSettings(size=32, prove=True, test=str(tmp_path / "raw"))
    (row,) = cleaned(tmp_path / "raw", tmp_path / "out", asked)["one"]
    assert row["decision"] == ("keep" if texts else "drop")
    facts = json.loads((tmp_path / "out" / "run.json").read_text())
    assert facts["models"] == {} and facts["prove"]["rows"] == [] and "Only" in facts["prove"]["why"]


def test_a_set_without_a_single_text_gives_an_empty_clean_set(tmp_path) -> None:
    for index in range(3):
        put(tmp_path / "raw", f"{index}.png", colours.picture("red", "plain", index), None)
    rows = cleaned(tmp_path / "raw", tmp_path / "out")
    assert {row["decision"] for found in rows.values() for row in found} == {"drop"}
    assert not list((tmp_path / "out" / "pairs").iterdir())


def test_ten_thousand_texts_on_one_picture(tmp_path) -> None:
    put(tmp_path / "raw", "one.png", GOOD, "\n".join(f"a plain red wall, number {i}" for i in range(10_000)))
    rows = cleaned(tmp_path / "raw", tmp_path / "out", CleanSettings())
    assert len(rows["one"]) == 10_000 and {row["decision"] for row in rows["one"]} == {"keep"}
    (pair,) = open_set(tmp_path / "out" / "pairs").pairs()
    assert len(pair.texts) == 10_000


def tar_of(entries: list[tuple[str, bytes, bytes]]) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as tar:
        for name, data, kind in entries:
            entry = tarfile.TarInfo(name)
            entry.type = kind
            entry.linkname = "/etc/passwd" if kind == tarfile.SYMTYPE else ""
            entry.size = len(data) if kind == tarfile.REGTYPE else 0
            tar.addfile(entry, io.BytesIO(data))
    return file.getvalue()


def test_hostile_and_broken_tars(tmp_path) -> None:
    plain = tarfile.REGTYPE
    pictures = [colours.picture("red", "plain", index) for index in range(4)]
    whole = tar_of(
        [("good.png", pictures[0], plain), ("good.txt", b"a plain red wall", plain),
         ("../../out.png", pictures[1], plain), ("../../out.txt", b"a wall that leads out", plain),
         ("link.png", b"", tarfile.SYMTYPE), ("link.txt", b"a linked wall", plain),
         ("good.png", pictures[2], plain), ("good.txt", b"another wall of that name", plain),
         ("last.png", pictures[3], plain), ("last.txt", b"a cut red wall", plain)]
    )  # fmt: skip
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / "a.tar").write_bytes(whole)
    (tmp_path / "raw" / "b.tar").write_bytes(whole[: 512 + len(pictures[0]) // 2])
    rows = cleaned(tmp_path / "raw", tmp_path / "out")
    reasons = " ".join(row["reason"] for found in rows.values() for row in found if row["decision"] == "drop")
    for word in ("leads out", "link", "cut off"):
        assert word in reasons, (word, reasons)
    first, second = (row for row in rows["good"] if row["decision"] == "keep")
    assert "duplicate_name" in second["findings"] and "duplicate_name" not in first["findings"]
    assert rows["last"][0]["decision"] == "keep"
    assert not (tmp_path / "out.png").exists() and not (tmp_path.parent / "out.png").exists()


def test_wrong_json_is_a_mistake_that_names_the_file(tmp_path) -> None:
    (tmp_path / "raw").mkdir()
    put(tmp_path / "raw", "a.png", GOOD, None)
    (tmp_path / "raw" / "captions.json").write_text(
        '{"images": [{"id": 1, "file_name": "a.png"}], "annotations": [{'
    )
    before = tree(tmp_path / "raw")
    with pytest.raises(Mistake, match="captions.json"):
        oracle.run(tmp_path / "raw" / "captions.json", tmp_path / "out", ASKED)
    assert tree(tmp_path / "raw") == before


@pytest.mark.parametrize("format", FORMATS)
def test_every_format_comes_out_as_itself_with_kept_texts_intact(tmp_path, format: str) -> None:
    raw = colours.write(tmp_path / "folder", 60)
    save_set(open_set(raw).pairs(), tmp_path / "raw", format, size=25)
    rows = cleaned(tmp_path / "raw", tmp_path / "out")
    clean_set = open_set(tmp_path / "out" / "pairs")
    assert clean_set.format == format
    found = {pair.image_key: [text.text for text in pair.texts] for pair in clean_set.pairs()}
    wanted: dict[str, list[str]] = {}
    for row in (row for entries in rows.values() for row in entries):
        if row["decision"] in ("keep", "add"):
            wanted.setdefault(row["image_key"], []).append(row["text"])
    assert found == wanted and len(found) == 60
    names = {row["decision"] for entries in rows.values() for row in entries}
    assert names == {"keep", "replace", "add", "reject"}


def refused(source: Path, out: Path, asked: CleanSettings = ASKED, restart: bool = False) -> str:
    """What the Mistake says; neither folder has changed."""
    before = tree(source), tree(out) if out.is_dir() else ""
    with pytest.raises(Mistake) as caught:
        oracle.run(source, out, asked, restart=restart)
    assert before == (tree(source), tree(out) if out.is_dir() else "")
    return str(caught.value)


@pytest.fixture()
def raw(tmp_path) -> Path:
    for index in range(4):
        put(tmp_path / "raw", f"{index}.png", colours.picture("red", "plain", index))
    return tmp_path / "raw"


def test_output_and_input_may_not_lie_in_each_other(tmp_path, raw) -> None:
    assert "lies in the set" in refused(raw, raw / "out")
    assert "cannot be the output" in refused(raw, raw)
    assert "lies inside it" in refused(raw, tmp_path)
    oracle.run(raw, tmp_path / "out", ASKED)
    for restart in (False, True):  # --restart would remove the very set that is read
        assert "lies inside it" in refused(tmp_path / "out" / "pairs", tmp_path / "out", restart=restart)
    held = CleanSettings(**{**vars(ASKED), "test": str(tmp_path / "out" / "pairs")})
    assert "--test lies inside it" in refused(raw, tmp_path / "out", held, restart=True)


def test_a_folder_of_somebody_else_is_left_alone(tmp_path, raw) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("all my work")
    for name, text in (("run.json", '{"pairloom": 1}'), ("run.json", "[1, 2"), ("pairs.parquet", "x")):
        for restart in (False, True):
            assert "is not empty" in refused(raw, tmp_path / "mine", restart=restart)
        (tmp_path / "mine" / name).write_text(text)


def test_another_run_is_not_gone_on_with_and_the_change_is_named(tmp_path, raw) -> None:
    oracle.run(raw, tmp_path / "out", ASKED)
    other = CleanSettings(**{**vars(ASKED), "proposals": 3, "accept": 0.7})
    said = refused(raw, tmp_path / "out", other)
    assert "accept was 0.5, is 0.7" in said and "proposals was 2, is 3" in said
    assert oracle.run(raw, tmp_path / "out", other, restart=True).facts["command"]["proposals"] == 3
    put(raw, "9.png", colours.picture("red", "plain", 9))
    assert "the texts" in refused(raw, tmp_path / "out", other)


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS, errno.EDQUOT, errno.EIO])
def test_a_disk_that_refuses_is_a_mistake_and_the_run_goes_on_later(
    tmp_path, raw, monkeypatch, code: int
) -> None:
    oracle.run(raw, tmp_path / "whole", ASKED)
    real, calls = os.fsync, []

    def fails(handle: int) -> None:
        calls.append(handle)
        if len(calls) > 6:
            raise OSError(code, os.strerror(code))
        real(handle)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fails)
        with pytest.raises(Mistake, match="cannot be written"):
            oracle.run(raw, tmp_path / "out", ASKED)
    oracle.run(raw, tmp_path / "out", ASKED)
    one, other = tmp_path / "whole", tmp_path / "out"
    assert tree(one / "pairs") == tree(other / "pairs")
    assert (one / "pairs.parquet").read_bytes() == (other / "pairs.parquet").read_bytes()


def test_output_below_a_file_is_a_mistake(tmp_path, raw) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(Mistake, match="cannot be written"):
        oracle.run(raw, tmp_path / "file" / "out", ASKED)
    assert (tmp_path / "file").read_text() == "mine"


def test_rounds_end_when_no_decision_changes_and_all_of_them_are_told(tmp_path) -> None:
    raw = colours.write(tmp_path / "raw", 60)
    once = oracle.run(raw, tmp_path / "once")
    thrice = oracle.run(raw, tmp_path / "thrice", replace(ASKED, rounds=3))
    assert [(entry["round"], entry["changed"]) for entry in thrice.facts["rounds"]] == [(1, 1.0), (2, 0.0)]
    assert thrice.ledger.table().equals(once.ledger.table())


def test_a_result_names_what_a_run_left(tmp_path, raw) -> None:
    result = oracle.run(raw, tmp_path / "out")
    assert result.report.is_file() and result.pairs.is_dir() and len(result.ledger) == 4
    assert result.counts["keep"] == 4 and not result.calibration["decides"]
    assert [row["decision"] for row in result.ledger.of("0")] == ["keep"]
    again = oracle.run(raw, tmp_path / "out")
    assert again.facts == result.facts


def test_a_pair_set_cleans_itself(tmp_path, raw) -> None:
    result = pairloom.open(raw).clean(
        tmp_path / "out", oracle.Judge(), oracle.Captioner(), size=32, workers=1
    )
    assert result.counts["keep"] == 4 and result.facts["command"]["model"] == "oracle"
