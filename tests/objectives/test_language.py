"""The caption loss against hand-derived values."""

import math

import pytest
import torch

from pairloom.objectives.language import caption_loss


def test_even_scores_pay_the_vocabulary_whatever_the_smoothing():
    for smoothing in (0.0, 0.1):
        total, count = caption_loss(torch.zeros(3, 8), torch.tensor([1, 2, 3]), smoothing)
        assert float(count) == 3 and float(total) == pytest.approx(3 * math.log(8), abs=1e-5)


def test_smoothing_by_hand():
    """Two words, log-odds ln 3 for the right one (3/4, 1/4), smoothing .1: target .95, .05."""
    total, _ = caption_loss(torch.tensor([[math.log(3.0), 0.0]]), torch.tensor([0]), 0.1)
    assert float(total) == pytest.approx(-0.95 * math.log(0.75) - 0.05 * math.log(0.25), abs=1e-6)


def test_nothing_to_predict_costs_nothing():
    total, count = caption_loss(torch.zeros(0, 8), torch.zeros(0, dtype=torch.long), 0.1)
    assert float(total) == 0.0 and float(count) == 0.0
