"""Several decisions share one budget of false drops. Truth is known: normals with known shares of errors."""

from __future__ import annotations

import numpy as np
import pytest

from pairloom.clean.calibrate import Calibration
from pairloom.clean.shared_budget import SPENT, KnownErrors, expected_bad, share_budget, used


def errors(apart: float, bad: float, n: int = 4000, seed: int = 0) -> tuple[KnownErrors, np.ndarray]:
    draw = np.random.default_rng(seed)
    wrong = draw.random(n) < bad
    own = draw.normal(size=n) + apart * ~wrong
    return KnownErrors(own, draw.normal(size=n), np.arange(n)), wrong


@pytest.mark.parametrize("seed", range(3))
def test_together_they_keep_the_budget(seed: int) -> None:
    (whole, mismatched), (cut, short) = errors(3.0, 0.2, seed=seed), errors(3.5, 0.1, seed=10 + seed)
    plans = share_budget([whole, cut], 0.05)
    assert sum(used(known) for known in plans) <= 0.05
    assert plans[0].facts["false_drop_budget"] == 0.05 - used(plans[1])
    dropped = [
        decision.own < known.threshold for decision, known in zip((whole, cut), plans) if known.threshold
    ]
    good = ~mismatched & ~short
    assert len(dropped) == 2 and (dropped[0] | dropped[1])[good].mean() <= 0.06
    assert dropped[0][mismatched].mean() > 0.7 and dropped[1][short].mean() > 0.5


def test_a_decision_alone_has_all_of_it() -> None:
    whole, _ = errors(3.0, 0.2)
    (alone,) = share_budget([whole], 0.05)
    assert alone.threshold == whole.calibrate(0.05).threshold


def test_a_blind_decision_takes_nothing() -> None:
    (whole, _), (blind, _) = errors(3.0, 0.2), errors(0.0, 0.2, seed=1)
    known, none = share_budget([whole, blind], 0.05)
    assert none.threshold is None and known.threshold == whole.calibrate(0.05).threshold
    assert "AUROC" in none.why  # its own reason, and not that of the budget


def test_where_the_first_abstains_the_others_have_the_budget_and_their_own_reasons() -> None:
    (blind, _), (cut, _) = errors(0.0, 0.2), errors(3.5, 0.1, seed=1)
    none, known = share_budget([blind, cut], 0.05)
    assert none.threshold is None and known.threshold == cut.calibrate(0.05).threshold
    weak, _ = errors(0.0, 0.1, seed=2)
    assert SPENT not in [each.why for each in share_budget([blind, weak], 0.05)]


def test_a_decision_without_budget_says_so() -> None:
    (whole, _), (cut, _) = errors(2.0, 0.4), errors(2.5, 0.1, seed=1)
    known, none = share_budget([whole, cut], 0.02)
    assert known.threshold is not None and cut.calibrate(0.02).threshold is not None
    assert none.threshold is None and none.why == none.facts["why"] == SPENT


def test_expected_bad_texts() -> None:
    facts = {"own": 200, "worst_case": 0.1, "precision": 0.75, "decides": True, "false_drop_used": 0.02}
    assert expected_bad(Calibration(None, 0.0, "", facts)) == 15
    assert used(Calibration(None, 0.0, "", facts)) == 0.02
    abstains = Calibration(None, None, "no", {**facts, "decides": False})
    assert expected_bad(abstains) == 0 and used(abstains) == 0


def test_few_texts_are_not_calibrated() -> None:
    few = KnownErrors(np.zeros(10), np.zeros(10), np.arange(10), cautious=True)
    (known,) = share_budget([few], 0.05)
    assert known.threshold is None and "10 texts" in known.why


def test_doubted_texts_are_counted() -> None:
    cut, _ = errors(3.5, 0.1)
    known = KnownErrors(cut.own, cut.planted, cut.owner, cautious=True).calibrate(0.05)
    assert known.facts["doubted"] == int((known.p_match(cut.own) < 0.25).sum()) > 0
