"""demo: it cleans the set that it was asked to draw, or says that another one lies there."""

from __future__ import annotations

from pathlib import Path

import pytest

from pairloom.clean import demo as demos
from pairloom.clean.result import CleanResult


@pytest.fixture()
def drawn(call, tmp_path: Path, monkeypatch) -> Path:
    monkeypatch.setattr(demos, "clean", lambda *_, **__: CleanResult(tmp_path / "clean", {}))
    assert call("demo", "--out", tmp_path, "--pairs", "20", "--json")[0] == 0
    return tmp_path


def test_the_same_demo_goes_on(call, drawn: Path) -> None:
    before = (drawn / "raw.truth.jsonl").stat().st_mtime_ns
    assert call("demo", "--out", drawn, "--pairs", "20", "--json")[0] == 0
    assert (drawn / "raw.truth.jsonl").stat().st_mtime_ns == before


@pytest.mark.parametrize("words", [("--pairs", "21"), ("--pairs", "20", "--seed", "1")])
def test_a_set_of_other_numbers_is_not_taken_for_this_one(call, drawn: Path, words: tuple[str, ...]) -> None:
    """Its truth would be compared with the wrong world."""
    code, _, err = call("demo", "--out", drawn, *words)
    assert code == 2 and "was not drawn" in err and "another --out" in err


def test_a_folder_of_the_users_is_named(call, tmp_path: Path) -> None:
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / "holiday.txt").write_text("mine")
    code, _, err = call("demo", "--out", tmp_path)
    assert code == 2 and "was not drawn" in err
    assert [path.name for path in tmp_path.rglob("*")] == ["raw", "holiday.txt"]


@pytest.mark.parametrize("words", [("--pairs", "0"), ("--effort", "0"), ("--effort", "nan")])
def test_what_does_not_fit_is_said(call, tmp_path: Path, words: tuple[str, ...]) -> None:
    code, _, err = call("demo", "--out", tmp_path / "out", *words)
    assert code == 2 and words[0][2:] in err and not (tmp_path / "out").exists()
