"""The sigmoid loss, against its pseudocode and over several processes."""

import math

import pytest
import torch
import torch.nn.functional as F

from pairloom.objectives.sigmoid import sigmoid_contrast

IDS = torch.arange(4)


def embeddings(seed: int) -> torch.Tensor:
    return F.normalize(torch.randn(4, 3, generator=torch.Generator().manual_seed(seed)), dim=-1)


def test_it_is_the_sum_over_all_pairs_by_the_number_of_pictures() -> None:
    """Algorithm 1: -sum(log_sigmoid(labels * logits)) / n with labels 2 * eye(n) - 1, written out."""
    images, texts = embeddings(0), embeddings(1)
    value = sigmoid_contrast(images, texts, IDS, IDS, torch.tensor(0.1), torch.tensor(-10.0))
    total = 0.0
    for row in range(4):
        for column in range(4):
            logit = 10 * float(images[row] @ texts[column]) - 10
            total += math.log1p(math.exp(-logit if row == column else logit))
    assert float(value) == pytest.approx(total / 4, rel=1e-5)


def test_at_the_start_the_bias_makes_every_pair_wrong() -> None:
    """With scale 10, bias -10 and cosines of 0 a pair costs log(1 + e^10), its wrong texts almost nothing (section 3.2)."""
    images, texts = torch.eye(8)[:4], torch.eye(8)[4:]
    value = sigmoid_contrast(images, texts, IDS, IDS, torch.tensor(0.1), torch.tensor(-10.0))
    assert float(value) == pytest.approx(math.log1p(math.exp(10)) + 3 * math.log1p(math.exp(-10)), rel=1e-6)


def test_every_text_of_a_picture_is_right() -> None:
    images, texts = embeddings(0), embeddings(1)
    ids = torch.tensor([0, 0, 1, 2])
    logits = 10 * images @ texts.T - 10
    same = torch.tensor([[1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]).bool()
    expected = -F.logsigmoid(torch.where(same, logits, -logits)).sum() / 4
    value = sigmoid_contrast(images, texts, ids, ids, torch.tensor(0.1), torch.tensor(-10.0))
    torch.testing.assert_close(value, expected)


def test_the_mean_of_two_processes_is_the_whole_batch() -> None:
    images, texts = embeddings(0), embeddings(1)
    numbers = (torch.tensor(0.1), torch.tensor(-10.0))
    halves = [
        sigmoid_contrast(images[part], texts, IDS[part], IDS, *numbers) for part in (slice(2), slice(2, 4))
    ]
    torch.testing.assert_close(
        (halves[0] + halves[1]) / 2, sigmoid_contrast(images, texts, IDS, IDS, *numbers)
    )
