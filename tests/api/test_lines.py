"""JSON lines, one a picture: what is there already, what is another's, and what cannot be written."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer
from PIL import Image

from pairloom.api.lines import STREAM, Lines, LineTask
from pairloom.cli import _show
from pairloom.errors import Mistake


@pytest.fixture()
def pictures(tmp_path: Path) -> Path:
    """Six pictures in three folders of one set; two in each have the same name, and one cannot be read."""
    where = tmp_path / "set"
    where.mkdir()
    for name, colour in {"x.png": "red", "x.bmp": "blue", "y.png": "green", "z.png": "white"}.items():
        Image.new("RGB", (20, 20), colour).save(where / name)
    (where / "y.bmp").write_bytes(b"")
    for name in "xyz":
        (where / f"{name}.txt").write_text(f"a picture {name}")
    return where


def colours(pictures: Path, out: Path, restart: bool = False, by: str = "eye") -> list[str]:
    """Ask each picture for its colour. What was asked in this run."""
    asked: list[str] = []

    def answer(images: list[Image.Image], keys: list[str]) -> list[dict]:
        found = [{"colour": image.convert("RGB").getpixel((0, 0))} for image in images]
        asked.extend(str(one["colour"]) for one in found)
        return found

    _show.write_lines(
        Lines(LineTask("asking", {"colour": ""}, {"model": by}, answer), pictures, out, restart)
    )
    return asked


def told(out: Path) -> list[dict]:
    return [json.loads(line) for line in out.read_text("utf-8").splitlines()]


def test_pictures_of_one_name_are_all_answered_after_any_stop(pictures: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    colours(pictures, out)
    whole = out.read_bytes()
    assert len(told(out)) == 5 and len({line["name"] for line in told(out)}) == 3
    lines = whole.splitlines(keepends=True)
    for kept in range(len(lines)):
        out.write_bytes(b"".join(lines[:kept]) + lines[kept][: len(lines[kept]) // 2])
        colours(pictures, out)
        assert out.read_bytes() == whole


@pytest.mark.parametrize("restart", [False, True])
@pytest.mark.parametrize("theirs", [b"one line without an end", b'{"other": 1}\n', b"\xff\n", b'["name"]\n'])
def test_a_file_of_the_users_is_never_written_over(
    pictures: Path, tmp_path: Path, theirs: bytes, restart: bool
) -> None:
    (tmp_path / "mine.txt").write_bytes(theirs)
    with pytest.raises(Mistake, match="Nothing of yours is overwritten"):
        colours(pictures, tmp_path / "mine.txt", restart=restart)
    assert (tmp_path / "mine.txt").read_bytes() == theirs


def test_answers_of_two_models_never_stand_in_one_file(pictures: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    colours(pictures, out)
    half = b"".join(out.read_bytes().splitlines(keepends=True)[:3])
    out.write_bytes(half)
    with pytest.raises(Mistake, match="model was eye, is nose") as found:
        colours(pictures, out, by="nose")
    assert out.read_bytes() == half and "--restart" in found.value.do
    assert 0 < len(colours(pictures, out)) < 4 and len(told(out)) == 5
    assert len(colours(pictures, out, restart=True, by="nose")) == 4
    with pytest.raises(Mistake, match="model was nose, is eye"):
        colours(pictures, out)


def test_an_empty_text_of_the_set_is_not_filled(pictures: Path) -> None:
    (pictures / "z.txt").write_bytes(b"")
    with pytest.raises(Mistake, match="lies in the set"):
        colours(pictures, pictures / "z.txt", restart=True)
    assert (pictures / "z.txt").read_bytes() == b""


def test_where_nothing_can_be_written_is_said_before_anything_is_asked(
    pictures: Path, tmp_path: Path
) -> None:
    (tmp_path / "folder").mkdir()
    for out in (tmp_path / "folder", tmp_path / "set" / "x.txt" / "out.jsonl"):
        with pytest.raises(Mistake) as found:
            list(
                Lines(LineTask("asking", {"colour": ""}, {}, lambda *_: pytest.fail("asked")), pictures, out)
            )
        assert str(out) in found.value.what and found.value.do
    assert len(colours(pictures, tmp_path / "new" / "deeper" / "out.jsonl")) == 4


def test_a_full_disk_keeps_what_is_there(pictures: Path, tmp_path: Path, monkeypatch) -> None:
    out = tmp_path / "out.jsonl"
    colours(pictures, out)
    whole = out.read_bytes()
    out.write_bytes(whole[: whole.find(b"\n") + 1])

    def full(*_: object, **__: object) -> Iterator[None]:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pairloom.api.lines._append", full)
    with pytest.raises(Mistake, match="disk is full"):
        colours(pictures, out)
    monkeypatch.undo()
    colours(pictures, out)
    assert out.read_bytes() == whole


def test_a_picture_that_is_not_there_is_a_mistake(tmp_path: Path) -> None:
    with pytest.raises(Mistake, match="nowhere"):
        colours(tmp_path / "nowhere.jpg", tmp_path / "out.jsonl")


def test_a_folder_may_be_called_as_a_picture(pictures: Path, tmp_path: Path) -> None:
    named = pictures.rename(tmp_path / "set.png")
    assert len(colours(named, tmp_path / "out.jsonl")) == 4


def test_names_come_from_a_stream_and_one_that_is_nothing_is_told(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [
        str(pictures / "z.png"),
        str(tmp_path / "not there.png"),
        str(pictures / "y.bmp"),
        str(pictures / "x.png"),
    ]
    out = tmp_path / "out.jsonl"
    for _ in range(2):  # the second time all is done
        monkeypatch.setattr("sys.stdin", io.StringIO("\r\n".join(names) + "\n\n"))
        colours(STREAM, out)
    assert [line["name"] for line in told(out)] == names
    assert [line["colour"] for line in told(out)] == [[255, 255, 255], "", "", [255, 0, 0]]
    assert [line.get("problem", "") != "" for line in told(out)] == [False, True, True, False]
    assert "No such file" in told(out)[1]["problem"]


def test_a_set_without_one_picture_that_can_be_read_fails(tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "a.png").write_bytes(b"no picture")
    with pytest.raises(typer.Exit) as stop:
        colours(tmp_path / "set", tmp_path / "out.jsonl")
    assert stop.value.exit_code == 1 and told(tmp_path / "out.jsonl")[0]["problem"]
