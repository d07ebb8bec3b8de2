"""Cut texts in a whole run: found by their endings, dropped within the budget, named in ledger and run.json."""

from __future__ import annotations

import random
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import colours
import numpy as np
import oracle
import pyarrow.parquet as pq
import pytest

from pairloom.clean.audited_shard import AuditedShard
from pairloom.clean.run import clean
from pairloom.data.pair import seed_of
from pairloom.scale import Execution

THINGS, PLACES = ("ball", "house", "star", "tree"), ("table", "meadow", "beach", "shelf")


@dataclass(frozen=True)
class ColourOracle(oracle.Judge):
    """Judges a text by its colour, whether or not it is cut after it."""

    def score(self, pictures: AuditedShard, rows: Sequence[int], texts: Sequence[str]) -> np.ndarray:
        right = {row: oracle.truth(data).split()[-2:] for row, data in pictures.encoded(sorted(set(rows)))}
        fits = [any(word in right[row] for word in text.split()) for row, text in zip(rows, texts)]
        return np.array(
            [
                (3 if fit else -3) + seed_of(text, row) % 1000 / 500
                for fit, row, text in zip(fits, rows, texts)
            ]
        )


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, set[str]]:
    """500 pairs, a tenth of them with a text that is cut, and the names of these."""
    folder, dice, cut = tmp_path_factory.mktemp("endings") / "raw", random.Random(0), set()
    folder.mkdir()
    for index in range(500):
        colour = dice.choice([*colours.COLOURS])
        text = f"a {colour} {dice.choice(THINGS)} on a {dice.choice(THINGS)} near the {dice.choice(PLACES)}."
        if dice.random() < 0.1:
            cut.add(f"{index:05d}")
            text = text[: dice.randrange(len(colour) + 4, len(text) - 3)].rstrip()
        (folder / f"{index:05d}.png").write_bytes(colours.picture(colour, "plain", seed=index))
        (folder / f"{index:05d}.txt").write_text(f"{text}\n")
    return folder, cut


def test_cut_texts_are_dropped_within_the_budget(raw: tuple[Path, set[str]], tmp_path: Path) -> None:
    folder, cut = raw
    settings = replace(oracle.SETTINGS, captions=False)
    facts = clean(folder, tmp_path / "one", settings, judge=ColourOracle()).facts
    assert facts["words"] is None and facts["endings"]["decides"]
    budgets = facts["calibration"]["false_drop_budget"] + facts["endings"]["false_drop_used"]
    assert budgets == pytest.approx(settings.false_drop)
    table = pq.read_table(tmp_path / "one" / "pairs.parquet").to_pylist()
    dropped = {row["name"].removesuffix(".png") for row in table if row["decision"] == "drop"}
    assert dropped <= cut and len(dropped) > 0.8 * len(cut)
    for row in table:
        assert row["end_score"] is not None and 0 <= row["p_complete"] <= 1
        assert (row["decision"] == "drop") <= ("cut_off" in row["findings"] and "cut off" in row["reason"])
    clean(folder, tmp_path / "two", settings, judge=ColourOracle(), execution=Execution(workers=2))
    assert (tmp_path / "two" / "pairs.parquet").read_bytes() == (
        tmp_path / "one" / "pairs.parquet"
    ).read_bytes()


def test_doubted_texts_have_no_ending_and_are_dropped_where_the_judge_agrees(
    raw: tuple[Path, set[str]], tmp_path: Path
) -> None:
    folder = tmp_path / "raw"
    shutil.copytree(raw[0], folder)
    doubted = sorted(folder.glob("*.txt"))[::4]
    for number, file in enumerate(doubted):
        file.write_text(
            "Click to enlarge image" if number % 2 else file.read_text().strip() + " - Buy Now, Free Shipping"
        )
    clean(folder, tmp_path / "out", replace(oracle.SETTINGS, captions=False), judge=ColourOracle())
    rows = {row["name"]: row for row in pq.read_table(tmp_path / "out" / "pairs.parquet").to_pylist()}
    shown = [rows[file.stem] for file in doubted]
    assert all(row["end_score"] is None and row["score"] is not None for row in shown)
    stock = [row for row in shown if "boilerplate" in row["findings"]]
    dropped = [row for row in stock if row["decision"] == "drop"]
    assert len(stock) == 62 and len(dropped) > 0.9 * len(stock)
    assert all("stock phrase" in row["reason"] for row in dropped)
    assert any("given a doubt" in row["reason"] for row in dropped)
    adverts = [row for row in shown if "spam" in row["findings"]]
    assert (
        len(adverts) == 63 and sum(row["decision"] == "keep" for row in adverts) >= 8
    )  # which the judge contradicts
