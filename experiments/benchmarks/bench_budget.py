"""Benchmark of the budget: what `calibrate` says of a judge's scores, against the truth.

    python experiments/benchmarks/bench_budget.py FOLDER [--seeds 0,1,2] [--draws 20] [--labels 50]

FOLDER holds one file SET_KIND_SHARE_SEED.npz for each cell: a set, the kind of the judge's features, the share of pictures
that were given another's captions, and the seed. Arrays: own [n] scores of the set's own texts, own_picture [n] picture of each,
own_bad [n] whether it is one of the wrong ones, own_near [n] whether the picture has a near duplicate, planted [m] scores of planted
mismatches. bench_selfjudge.py --dump writes them.

One line a cell: share of wrong texts, estimated and true; false drop rate, estimated and true; share of the wrong texts that were found,
and that the true 5 % threshold finds, both also over the pictures without near duplicates; the same over random draws of truthful labels. Last, how many cells meet each bar.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pairloom.clean.calibrate import Calibration, calibrate_drawn
from pairloom.clean.labels import Labels, choose_labels
from pairloom.metrics.budget import draw
from pairloom.metrics.compare import bootstrap

BUDGET = 0.05
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Cell:
    """Scores of one cell with their truth."""

    name: str
    own: Floats
    bad: NDArray[np.bool_]
    owner: NDArray[np.int64]
    planted: Floats
    near: NDArray[np.bool_]

    @classmethod
    def read(cls, path: Path) -> Cell:
        with np.load(path, allow_pickle=False) as file:
            own, planted = (file[name].astype(np.float64) for name in ("own", "planted"))
            bad, near = (file[name].astype(bool) for name in ("own_bad", "own_near"))
            return cls(path.stem, own, bad, file["own_picture"], planted, near)

    def alone(self) -> Cell:
        """The texts of pictures without near duplicates, for a measurement."""
        some = ~self.near
        return replace(
            self, own=self.own[some], bad=self.bad[some], owner=self.owner[some], near=self.near[some]
        )

    def dropped(self, calibration: Calibration) -> tuple[float, float]:
        """True false drop rate, and share of the wrong texts that are found; NaN where there is none."""
        threshold = -np.inf if calibration.threshold is None else calibration.threshold
        below = self.own < threshold
        return float(below[~self.bad].mean()), float(below[self.bad].mean()) if self.bad.any() else np.nan

    def best(self) -> float:
        """Share of the wrong texts below the true threshold of the budget."""
        good = np.sort(self.own[~self.bad])
        return (
            float((self.own[self.bad] < good[int(BUDGET * len(good))]).mean()) if self.bad.any() else np.nan
        )


def measure(cell: Cell, draws: int, count: int) -> dict[str, float]:
    """All numbers of a cell."""
    drawn = draw(cell.own, cell.planted, cell.owner)
    alone = calibrate_drawn(drawn, cell.own, cell.planted, BUDGET)
    facts, share = alone.facts, float(cell.bad.mean())
    threshold = -np.inf if alone.threshold is None else alone.threshold
    real = bootstrap((cell.own < threshold)[~cell.bad].astype(float), cell.owner[~cell.bad], 500)
    false_drop, recall = cell.dropped(alone)
    few = cell.alone()
    few_drop, few_recall = few.dropped(alone)
    rows = []
    for seed in range(draws):
        index = choose_labels(cell.own, facts["label_limit"], count, seed)
        labels = Labels(index, ~cell.bad[index], facts["label_limit"])
        known = calibrate_drawn(drawn, cell.own, cell.planted, BUDGET, labels)
        held = known.facts["bad_share_low"] <= share <= known.facts["bad_share_high"]
        rows.append((*cell.dropped(known), held, known.facts["confidence"]))
    table = np.array(rows) if rows else np.full((1, 4), np.nan)
    return {
        "abstains": bool(alone.why), "share": share, "low": facts["bad_share_low"], "said": facts["bad_share"],
        "high": facts["bad_share_high"], "drop_low": facts["false_drop_low"], "drop_said": facts["false_drop"],
        "drop_high": facts["false_drop_high"], "worst": facts["worst_case"], "drop": false_drop, "real_low": real.low,
        "real_high": real.high, "found": recall, "best": cell.best(), "over": float((table[:, 0] > BUDGET).mean()),
        "highest": float(table[:, 0].max()), "labelled": float(table[:, 1].mean()), "held": float(table[:, 2].mean()),
        "confidence": float(table[:, 3].mean()), "few_drop": few_drop, "few_found": few_recall, "few_best": few.best(),
    }  # fmt: skip


def line(name: str, row: dict[str, float]) -> str:
    """One line of the table; drops in per cent."""
    decision = "abstains" if row["abstains"] else f"{row['found']:.3f} of {row['best']:.3f}"
    return (
        f"{name:20} share {row['share']:.3f}: {row['said']:.3f} [{row['low']:.3f}, {row['high']:.3f}] | drops "
        f"{row['drop']:5.1%} [{row['real_low']:.1%}, {row['real_high']:.1%}]: {row['drop_said']:.1%} "
        f"[{row['drop_low']:.1%}, {row['drop_high']:.1%}] worst {row['worst']:.1%} | found {decision:14} | "
        f"without near duplicates: drops {row['few_drop']:.1%} found {row['few_found']:.3f} of {row['few_best']:.3f} | labels: over "
        f"{row['over']:.2f} highest {row['highest']:.1%} found {row['labelled']:.3f} share held {row['held']:.2f} "
        f"confidence {row['confidence']:.2f}"
    )


def bars(rows: dict[str, dict[str, float]]) -> None:
    """How many cells meet each bar, and the cells that do not."""

    def count(what: str, cells: dict[str, bool]) -> None:
        missed = ", ".join(name for name, met in cells.items() if not met)
        print(f"{what}: {sum(cells.values())} of {len(cells)}{': not ' + missed if missed else ''}")

    towers = {name: row for name, row in rows.items() if "_tower_" in name and row["share"] > 0.08}
    wrong = {name: row for name, row in rows.items() if row["share"] > 0}
    count(
        "budget holds within the sampling interval",
        {name: row["real_low"] <= BUDGET for name, row in rows.items()},
    )
    count("true drop at most the budget", {name: row["drop"] <= BUDGET for name, row in rows.items()})
    count(
        "share in its interval",
        {name: row["low"] <= row["share"] <= row["high"] for name, row in rows.items()},
    )
    decided = {name: row for name, row in rows.items() if not row["abstains"]}
    count(
        "drop in its interval",
        {name: row["drop_low"] <= row["drop"] <= row["drop_high"] for name, row in decided.items()},
    )
    count("decides", {name: not row["abstains"] for name, row in rows.items()})
    count(
        "at least .85 found, towers, 10 and 30 %",
        {name: row["found"] >= 0.85 * row["best"] for name, row in towers.items()},
    )
    count(
        "labels: over budget in at most 20 % of the draws",
        {name: row["over"] <= 0.2 for name, row in rows.items()},
    )
    count(
        "labels: at least .99 of the found without",
        {n: row["labelled"] >= 0.99 * row["found"] for n, row in wrong.items()},
    )
    print(f"labels: over budget in {np.mean([row['over'] for row in rows.values()]):.1%} of all draws")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--draws", type=int, default=20)
    parser.add_argument("--labels", type=int, default=50)
    options = parser.parse_args()
    seeds = options.seeds.split(",")
    rows = {}
    for path in sorted(options.folder.glob("*.npz")):
        if path.stem.rsplit("_", 1)[1] in seeds:
            rows[path.stem] = measure(Cell.read(path), options.draws, options.labels)
            print(line(path.stem, rows[path.stem]), flush=True)
    bars(rows)


if __name__ == "__main__":
    main()
