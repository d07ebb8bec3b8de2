"""Verdict: what a paper says, the two conditions that test it, and the rule, fixed before the run, that decides.

A difference is taken on the same held-out items in every seed; its interval comes from resampling seeds and items.
"holds" where the interval lies on the side that the paper says, "fails" where it lies on the other, "undecided at this
size" where it holds 0, or where fewer than three seeds were run. Does not know: papers, models.
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
    """Condition `new` has more of `measures` than `old`. paper: the numbers it gives for new and old."""

    new: str
    old: str
    measures: tuple[str, ...]
    paper: str


@dataclass(frozen=True)
class Claim:
    """One sentence of a paper, in our words, where it stands there, and the contrasts that test it."""

    name: str
    says: str
    where: str
    contrasts: tuple[Contrast, ...]

    @property
    def conditions(self) -> list[str]:
        """What has to be run, each once."""
        return list(dict.fromkeys(name for pair in self.contrasts for name in (pair.new, pair.old)))


def findings(claims: Sequence[Claim], results: Results, seeds: Sequence[int]) -> list[dict[str, Any]]:
    """One row per claim, contrast and measure: both means, difference with interval, the paper's numbers, verdict."""
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
    """The rule."""
    if seeds < LEAST:
        return f"undecided: {LEAST} seeds are needed"
    if gain.low > 0:
        return "holds"
    return "fails" if gain.high < 0 else "undecided at this size"
