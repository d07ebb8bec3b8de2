"""Budget of false drops that several decisions share: texts as a whole, cut texts, single words.

A decision has the scores of the set's own texts and of texts with a known error of its kind. Good texts that any of them drops
are false drops, so that the shares of all decisions add up to the budget. Does not know: texts, pictures, files.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from pairloom.clean.calibrate import Calibration, calibrate, calibrate_drawn, tells_nothing
from pairloom.metrics.budget import MixtureDraws, draw

Floats = NDArray[np.float64]
DOUBT = 0.25  # a text with a lower probability is shown as a doubt; it is a lower bound (see `KnownErrors.cautious`)
FIRST = (1.0, 0.75, 0.6, 0.5, 0.4, 0.3, 0.2)  # shares of the budget that the first decision may have
SPENT = "The budget of false drops is used where more bad texts are found."


@dataclass(frozen=True)
class KnownErrors:
    """Scores of the set's own texts [n] and of texts with a known error of one kind [m], as for `calibrate`.

    cautious: the probability assumes as many such errors as the scores allow: it says where to look, and no text is dropped by
    it. facts: then have the number of `doubted` own texts.
    """

    own: Floats
    planted: Floats
    owner: NDArray[np.int64]
    trusted: Floats | None = None
    cautious: bool = False

    @cached_property
    def _draws(self) -> MixtureDraws:
        return draw(self.own, self.planted, self.owner)

    def calibrate(self, false_drop: float) -> Calibration:
        """The calibration for a budget of false drops."""
        if tells_nothing(self.own, self.planted):
            return calibrate(self.own, self.planted, false_drop)  # says why
        known = calibrate_drawn(
            self._draws, self.own, self.planted, false_drop, None, self.trusted, self.cautious
        )
        if self.cautious:
            doubted = int((known.p_match(self.own) < DOUBT).sum())
            known = replace(known, facts={**known.facts, "doubted": doubted})
        return known


def share_budget(decisions: Sequence[KnownErrors], budget: float) -> list[Calibration]:
    """Calibrations of decisions that share a budget of false drops.

    Each decision has what those before it leave of the budget, and the first has all of it, or the part by which most bad texts
    are expected to be dropped in all. What is left at the end is the first one's.
    """
    plans = [_in_turn(decisions, budget, share) for share in FIRST]
    best = max(plans, key=lambda plan: sum(map(expected_bad, plan)))
    rest = sum(used(known) for known in best[1:])
    calibrations = [decisions[0].calibrate(budget - rest)]
    for decision, known in zip(decisions[1:], best[1:]):
        if not known.facts["decides"] and decision.calibrate(budget).facts["decides"]:
            known = replace(known, why=SPENT, facts={**known.facts, "why": SPENT})
        calibrations.append(known)
    return calibrations


def _in_turn(decisions: Sequence[KnownErrors], budget: float, share: float) -> list[Calibration]:
    """Calibrations in turn, each with what is left of the budget; the first with this share of it."""
    left, calibrations = budget, list[Calibration]()
    for number, decision in enumerate(decisions):
        known = decision.calibrate(left * share if number == 0 else left)
        left = max(0.0, left - used(known))
        calibrations.append(known)
    return calibrations


def used(calibration: Calibration) -> float:
    """Share of the good texts that a decision drops at most, by its calibration; 0 where it drops none."""
    facts = calibration.facts
    return float(facts["false_drop_used"]) if facts["decides"] else 0.0


def expected_bad(calibration: Calibration) -> float:
    """Number of bad texts that are expected below the threshold; 0 without one."""
    facts = calibration.facts
    return facts["own"] * facts["worst_case"] * facts["precision"] if facts["decides"] else 0.0
