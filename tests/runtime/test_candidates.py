"""Candidates: the fastest is chosen once, and every later process reads the choice."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from pairloom.runtime.candidates import choose

SHAPE = {"rows": 7}


@pytest.fixture
def cache(tmp_path: Path, monkeypatch) -> Path:
    monkeypatch.setenv("PAIRLOOM_CACHE", str(tmp_path))
    return tmp_path / "engines"


def candidates(built: list[str], **spins: int):
    """Candidates that count to a number; a build is listed."""

    def candidate(name: str, spin: int):
        def build():
            built.append(name)
            return lambda: sum(range(spin))

        return build

    return {name: candidate(name, spin) for name, spin in spins.items()}


def test_the_fastest_is_chosen_once(cache: Path) -> None:
    built: list[str] = []
    assert choose(SHAPE, candidates(built, slow=10**6, fast=10)) == "fast" and built == ["slow", "fast"]
    assert (
        choose(SHAPE, candidates(built, slow=10, fast=10**6)) == "fast" and len(built) == 2
    )  # kept, not measured
    (kept,) = cache.iterdir()
    row = json.loads(kept.read_text())
    assert row["choice"] == "fast" and row["seconds"]["fast"] < row["seconds"]["slow"] and row["rows"] == 7
    assert {"processor", "torch", "openvino"} < set(row)
    assert choose({"rows": 8}, candidates(built, slow=10**6, fast=10)) == "fast" and len(built) == 4


def test_one_candidate_is_not_built(cache: Path) -> None:
    built: list[str] = []
    assert choose(SHAPE, candidates(built, only=1)) == "only" and not built and not cache.exists()


def test_the_first_process_decides_for_all(cache: Path) -> None:
    """Another process may write its choice while this one still measures."""

    def other():
        kept = cache / next(iter(names))
        kept.write_text(json.dumps({"choice": "slow"}))
        return lambda: time.sleep(0)

    built: list[str] = []
    choose(SHAPE, candidates(built, slow=10**5, fast=10))
    names = [path.name for path in cache.iterdir()]
    (cache / names[0]).unlink()
    assert choose(SHAPE, {"slow": candidates(built, slow=10**5)["slow"], "fast": other}) == "slow"
    assert [path.name for path in cache.iterdir()] == names  # and nothing temporary


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"choice": "another"}', '{"choice": [1]}'])
def test_a_broken_file_is_measured_again(cache: Path, text: str) -> None:
    built: list[str] = []
    choose(SHAPE, candidates(built, slow=10**6, fast=10))
    (kept,) = cache.iterdir()
    kept.write_text(text)
    assert choose(SHAPE, candidates(built, slow=10**6, fast=10)) == "fast" and len(built) == 4
    assert json.loads(kept.read_text())["choice"] == "fast"


def test_nothing_is_measured_where_nothing_can_be_kept(tmp_path: Path, monkeypatch) -> None:
    """Else two workers of one job might choose differently."""
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("PAIRLOOM_CACHE", str(tmp_path / "file" / "below"))
    built: list[str] = []
    assert choose(SHAPE, candidates(built, slow=10**6, fast=10)) == "slow" and not built
