"""api.PairSet: iterated, tabled, checked; and what is refused."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from PIL import Image

import pairloom
from pairloom.api.pairs import PairSet, example_pairs
from pairloom.errors import Mistake


@pytest.fixture
def pairs(tmp_path: Path) -> PairSet:
    for name, colour in {"a": "red", "b": "blue", "c": "green"}.items():
        Image.new("RGB", (40, 30), colour).save(tmp_path / f"{name}.png")
        (tmp_path / f"{name}.txt").write_text(f"a {colour} wall")
    (tmp_path / "b.png").write_bytes(b"")
    return pairloom.open(tmp_path)


def test_it_iterates_pairs(pairs: PairSet) -> None:
    assert isinstance(pairs, PairSet) and "folder_text, 1 shard)" in repr(pairs)
    assert [pair.name for pair in pairs] == ["a", "b", "c"] == [pair.name for pair in pairs]


def test_a_row_a_text(pairs: PairSet) -> None:
    table = pytest.importorskip("pandas") and pairs.to_pandas()
    assert list(table["text"]) == ["a red wall", "a blue wall", "a green wall"]
    assert list(table["problem"] != "") == [False, True, False]
    assert [row["image"] is None for row in pairs.rows(images=True)] == [False, True, False]


@pytest.mark.parametrize(("package", "method"), [("pandas", "to_pandas"), ("datasets", "to_datasets")])
def test_a_package_that_is_not_there_is_named(
    pairs: PairSet, package: str, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(Mistake, match=f"{package} is not installed"):
        getattr(pairs, method)()


def test_examples_are_pairs_or_tuples(pairs: PairSet) -> None:
    images, answers = example_pairs(pairs)
    assert answers == ["a red wall", "a green wall"] and images[0].getpixel((0, 0)) == (255, 0, 0)
    assert example_pairs([(images[1], "green")])[1] == ["green"]
    with pytest.raises(Mistake, match="has no examples"):
        example_pairs([])


def test_check_finds_the_broken_picture(pairs: PairSet) -> None:
    found = pairs.check()
    assert found.pairs == 3 and found.bad() >= 1
    with pytest.raises(Mistake, match="nothing at"):
        pairs.check(against="nowhere")
    with pytest.raises(Mistake, match="nothing at"):
        pairloom.open("nowhere")


def test_clean_refuses_what_does_not_fit(pairs: PairSet, tmp_path: Path) -> None:
    with pytest.raises(Mistake, match="Did you mean 'false_drop'"):
        pairs.clean(tmp_path.parent / "out", false_drops=0.1)
    with pytest.raises(Mistake, match="These options do not fit"):
        pairs.clean(tmp_path.parent / "out", accept=2.0)
    with pytest.raises(Mistake, match="lies in the set|cannot be the output|lies inside"):
        pairs.clean(tmp_path / "out")
    with pytest.raises(Mistake, match="There is no judge"):
        pairloom.load_judge(tmp_path)


def test_clean_gives_the_ledger_and_the_report(
    pairs: PairSet, tmp_path_factory: pytest.TempPathFactory
) -> None:
    out = tmp_path_factory.mktemp("cleaned")
    result = pairs.clean(out, workers=1, device="cpu")  # too small for a judge: the rules alone decide
    decisions = {name: result.counts[name] for name in ("keep", "drop", "replace", "add", "reject")}
    assert (
        sum(decisions.values()) == 3 == len(result.ledger) and decisions["drop"] >= 1
    )  # one colour, or broken
    assert result.report.stat().st_size > 10_000 and not result.calibration["decides"]


def test_a_finished_run_is_loaded_asked_and_overruled(
    pairs: PairSet, tmp_path_factory: pytest.TempPathFactory
) -> None:
    root = tmp_path_factory.mktemp("results")
    pairs.clean(root / "out", workers=1, device="cpu")
    result = pairloom.load_result(root / "out")
    assert "3 pairs read" in repr(result) and len(repr(result)) < 2000
    row = next(row for row in result.ledger.table().to_pylist() if row["decision"] == "drop")
    assert result.why(row["name"]) == [row] == result.why(row["key"][:8])
    (root / "decisions.json").write_text(json.dumps({"decisions": [{**row, "wanted": "keep"}]}))
    again = result.apply(root / "decisions.json", root / "new")
    assert again.counts["drop"] == result.counts["drop"] - 1 and again.report.exists()
    with pytest.raises(Mistake, match="holds no finished run"):
        pairloom.load_result(root)
    with pytest.raises(Mistake, match="No pair 'nobody'"):
        result.why("nobody")
