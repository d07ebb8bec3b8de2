"""Labels: a simple random sample, a threshold that keeps its confidence whatever the judge is worth, and one from trusted pairs."""

import numpy as np
import pytest

from pairloom.clean.calibrate import calibrate, calibrate_drawn
from pairloom.clean.labels import Labels, choose_labels
from pairloom.metrics.budget import draw


def scores_of(apart, share, seed, count=1500):
    random = np.random.default_rng(seed)
    bad = random.random(count) < share
    return random.normal(np.where(bad, 0, apart)), bad, random.normal(size=2 * count)


def test_the_texts_to_label_are_below_the_limit_and_a_longer_draw_begins_with_the_shorter():
    own = np.arange(100.0)
    some, more = choose_labels(own, 60.0, 10, 0), choose_labels(own, 60.0, 30, 0)
    assert more[:10].tolist() == some.tolist() and len(set(more)) == 30 and own[more].max() < 60
    assert len(choose_labels(own, 5.0, 30, 0)) == 5
    drawn = np.concatenate([choose_labels(own, 20.0, 5, seed) for seed in range(400)])
    assert np.bincount(drawn).min() > 70  # each of the 20 in a quarter of 400 draws


@pytest.mark.parametrize("apart, share", [(1.2, 0.3), (3.0, 0.3), (3.0, 0.1), (2.0, 0.0)])
def test_labels_keep_the_budget_as_often_as_they_say(apart, share):
    over, found, without = [], [], []
    for seed in range(4):
        own, bad, planted = scores_of(apart, share, seed)
        draws = draw(own, planted)
        alone = calibrate_drawn(draws, own, planted, 0.05)
        limit = alone.facts["label_limit"]
        index = choose_labels(own, limit, 50, seed)
        known = calibrate_drawn(draws, own, planted, 0.05, Labels(index, ~bad[index], limit))
        assert known.facts["labels"] == len(index) and known.facts["confidence"] >= 0.7
        limits = [-np.inf if each.threshold is None else each.threshold for each in (known, alone)]
        over.append((own[~bad] < limits[0]).mean() > 0.05)
        found.append((own[bad] < limits[0]).sum())
        without.append((own[bad] < limits[1]).sum())
    assert np.sum(over) <= 1
    assert np.sum(found) >= 0.95 * np.sum(without)


@pytest.mark.parametrize("tail", ["student", "gamma"])
def test_labels_keep_the_budget_where_good_scores_have_fat_tails(tail):
    """One good score in thirty is as low as a mismatch: the scores alone count these as bad, and drop up to twice as many."""
    over = []
    for seed in range(3):
        random = np.random.default_rng(seed)
        bad = random.random(2000) < 0.2
        good = 3 + random.standard_t(4, 2000) if tail == "student" else 4 - random.gamma(2, 0.7, 2000)
        own, planted = np.where(bad, random.normal(size=2000), good), random.normal(size=4000)
        draws = draw(own, planted)
        alone = calibrate_drawn(draws, own, planted, 0.05)
        limit = alone.facts["label_limit"]
        index = choose_labels(own, limit, 50, seed)
        known = calibrate_drawn(draws, own, planted, 0.05, Labels(index, ~bad[index], limit))
        over.append(known.threshold is not None and (own[~bad] < known.threshold).mean() > 0.06)
        dropped = (own < alone.threshold).mean()
        assert (own[~bad] < alone.threshold).mean() < 0.12 and alone.facts["worst_case"] == dropped
    assert np.sum(over) <= 1


def test_labels_that_contradict_the_scores_win():
    """Good texts that score exactly like mismatches: the scores alone take them for bad."""
    own, bad, planted = scores_of(4.0, 0.2, 0)
    alone = calibrate(own, planted, 0.05)
    assert alone.threshold is not None
    index = choose_labels(own, alone.facts["label_limit"], 50, 0)
    known = calibrate(own, planted, 0.05, labels=Labels(index, np.ones(50, bool), alone.facts["label_limit"]))
    assert known.threshold is None and known.facts["basis"] == "labels" and not known.facts["decides"]


def test_a_trusted_set_decides_where_the_judge_alone_does_not():
    own, bad, planted = scores_of(1.8, 0.4, 0)
    trusted = np.random.default_rng(9).normal(1.8, 1, 400)
    assert calibrate(own, planted, 0.05).threshold is None
    known = calibrate(own, planted, 0.05, trusted=trusted)
    assert known.facts["basis"] == "trusted" and known.facts["confidence"] == 0.9
    assert 0 < (own[~bad] < known.threshold).mean() < 0.06 and (own[bad] < known.threshold).mean() > 0.3
    few = calibrate(own, planted, 0.05, trusted=trusted[:20])
    assert few.threshold is None  # 20 pairs prove no 5 %
