"""The threshold keeps its budget, and the judge that cannot tell says so. Truth is known: normals with a known share."""

import json

import numpy as np
import pytest

from pairloom.clean.calibrate import Calibration, calibrate
from pairloom.clean.shared_budget import KnownErrors


def made(apart: float, bad: float, n: int = 4000, seed: int = 0):
    draw = np.random.default_rng(seed)
    truth = draw.random(n) < bad
    own = draw.normal(size=n) + apart * ~truth
    return own, truth, draw.normal(size=n)


@pytest.mark.parametrize("bad, least", [(0.15, 0.8), (0.3, 0.85), (0.5, 0.85)])
def test_the_budget_is_kept_and_most_bad_are_found(bad, least):
    lost, found = [], []
    for seed in range(3):
        own, truth, planted = made(3.0, bad, seed=seed)
        made_of = calibrate(own, planted, 0.05)
        assert made_of.threshold is not None
        lost.append((own[~truth] < made_of.threshold).mean())
        found.append((own[truth] < made_of.threshold).mean())
    assert np.mean(lost) <= 0.06 and np.mean(found) > least


def test_p_match_says_what_it_means():
    own, truth, planted = made(2.0, 0.3)
    p = calibrate(own, planted, 0.05).p_match(own)
    for low, high in [(0, 0.3), (0.3, 0.7), (0.7, 1.01)]:
        inside = (p >= low) & (p < high)
        assert abs(p[inside].mean() - (~truth[inside]).mean()) < 0.08


def test_a_blind_judge_changes_nothing():
    own, _, planted = made(0.0, 0.3)
    result = calibrate(own, planted, 0.05)
    assert result.threshold is None and not result.facts["decides"] and "AUROC" in result.why


def test_a_clean_set_is_left_alone():
    own, _, planted = made(2.0, 0.0)
    result = calibrate(own, planted, 0.05)
    assert result.threshold is None or (own < result.threshold).mean() < 0.01


def test_no_text_that_very_likely_matches_is_dropped():
    own, _, planted = made(6.0, 0.3)
    result = calibrate(own, planted, 0.2)
    assert result.p_threshold <= 0.8 + 1e-9  # although the budget would allow a fifth of the good texts


def test_too_few():
    result = calibrate(np.zeros(10), np.zeros(10), 0.05)
    assert result.threshold is None and "50" in result.why and np.isnan(result.p_match(np.zeros(3))).all()


def test_scores_that_are_all_alike():
    alike = np.full(80, 0.25)
    assert "the same score" in calibrate(alike, alike, 0.05).why
    assert "the same score" in KnownErrors(alike, alike, np.arange(80)).calibrate(0.05).why


def test_the_histograms_count_everything():
    own, _, planted = made(2.0, 0.3)
    pictures = calibrate(own, planted, 0.05).facts["histogram"]
    assert sum(pictures["own"]) == len(own) and sum(pictures["planted"]) == len(planted)


def test_every_number_has_an_interval_and_the_worst_case():
    own, truth, planted = made(3.0, 0.3)
    facts = calibrate(own, planted, 0.05).facts
    for name in ("auroc", "auroc_good", "bad_share", "false_drop", "found", "precision"):
        assert facts[f"{name}_low"] <= facts[name] <= facts[f"{name}_high"], name
    assert facts["bad_share_low"] <= truth.mean() <= facts["bad_share_high"]
    assert facts["worst_case"] == (own < facts["threshold"]).mean() > facts["false_drop"]
    assert facts["confidence"] >= 0.7 and all(check["passed"] for check in facts["checks"])


def test_a_weak_judge_does_not_decide_alone():
    own, _, planted = made(1.2, 0.2)
    result = calibrate(own, planted, 0.05)
    assert result.threshold is None and "score like mismatches" in result.why
    assert result.facts["bad_share_low"] < 0.05 and result.facts["bad_share_high"] > 0.2


def test_a_judge_that_may_misunderstand_a_fifth_of_the_good_texts_does_not_decide_alone():
    own, _, planted = made(
        1.75, 0.2, seed=2
    )  # A = normal cdf(1.75 / sqrt(2)) = .89, and .02 + 20 (1 - A)^2 = .25
    result = calibrate(own, planted, 0.05)
    assert result.threshold is None and "the limit is 20%" in result.why


def test_a_calibration_survives_json():
    own, _, planted = made(3.0, 0.3, 400)
    one = calibrate(own, planted, 0.05)
    two = Calibration.from_dict(json.loads(json.dumps(one.to_dict())))
    assert two.threshold == one.threshold and two.p_threshold == one.p_threshold and two.facts == one.facts
    assert two.p_match(own).tobytes() == one.p_match(own).tobytes()
