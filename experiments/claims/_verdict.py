"""Claims of papers, the conditions that test them, and the rule of the verdict, which is fixed before the run.

A difference is computed on the same held-out items in every seed; its interval resamples seeds and items. The verdict is
"holds" where the interval is on the claimed side of 0, "fails" where it is on the other side, and "undecided at this size"
where it contains 0, or for fewer than three seeds. Does not know: papers, models.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pairloom.metrics.compare import Interval, difference

Results = Mapping[
    tuple[str, int], Mapping[str, list[float]]
]  # (condition, seed) -> measure -> value of each item


LEAST = 3  # seeds


@dataclass(frozen=True)
class Contrast:
    """A contrast: condition `new` is higher in `measures` than `old`. paper: its numbers for new and old."""

    new: str
    old: str
    measures: tuple[str, ...]
    paper: str


@dataclass(frozen=True)
class Claim:
    """A claim: a sentence of a paper in our words, its place in the paper, and the contrasts that test it."""

    name: str
    says: str
    where: str
    contrasts: tuple[Contrast, ...]

    @property
    def conditions(self) -> list[str]:
        """The conditions to run, each once."""
        return list(dict.fromkeys(name for pair in self.contrasts for name in (pair.new, pair.old)))


def findings(claims: Sequence[Claim], results: Results, seeds: Sequence[int]) -> list[dict[str, Any]]:
    """Rows for each claim, contrast and measure: both means, the difference with its interval, the paper's numbers, the verdict."""
    rows = []
    for claim in claims:
        for pair in claim.contrasts:
            for measure in pair.measures:
                new, old = (
                    np.array([results[name, seed][measure] for seed in seeds])
                    for name in (pair.new, pair.old)
                )
                gain = difference(new, old)
                rows.append({
                    "claim": claim.name, "where": claim.where, "says": claim.says, "measure": measure, "paper": pair.paper,
                    "new": pair.new, "old": pair.old, "new_mean": float(new.mean()), "old_mean": float(old.mean()),
                    "difference": gain.value, "low": gain.low, "high": gain.high, "seeds": len(seeds),
                    "items": new.shape[1], "verdict": verdict(gain, len(seeds)),
                })  # fmt: skip
    return rows


def verdict(gain: Interval, seeds: int) -> str:
    """The verdict on a difference."""
    if seeds < LEAST:
        return f"undecided: {LEAST} seeds are needed"
    if gain.low > 0:
        return "holds"
    return "fails" if gain.high < 0 else "undecided at this size"
