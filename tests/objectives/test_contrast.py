"""Contrast against hand-derived values."""

import math

import pytest
import torch

from pairloom.objectives.contrast import contrast, same_picture


def test_targets_are_uniform_over_the_same_picture():
    targets = same_picture(torch.tensor([1, 2]), torch.tensor([2, 1, 1, 5]))
    assert targets.tolist() == [[0, 0.5, 0.5, 0], [1, 0, 0, 0]]


def test_value_by_hand():
    """Rows (1, 0) against columns (1, 0) and (0, 1) at temperature 1/2: logits 2 and 0."""
    rows, columns = torch.tensor([[1.0, 0.0]]), torch.eye(2)
    loss = contrast(rows, columns, torch.tensor(0.5), torch.tensor([[1.0, 0.0]]))
    assert float(loss) == pytest.approx(math.log(1 + math.exp(-2)), abs=1e-6)


def test_the_teacher_moves_the_target():
    """A teacher that says both alike, at weight 1/2: target 3/4, 1/4, so 1/4 * 2 is added to the loss."""
    rows, columns, teacher = torch.tensor([[1.0, 0.0]]), torch.eye(2), torch.tensor([[1.0, 1.0]])
    target = torch.tensor([[1.0, 0.0]])
    loss = contrast(rows, columns, torch.tensor(0.5), target, teacher, 0.5)
    assert float(loss) == pytest.approx(math.log(1 + math.exp(-2)) + 0.25 * 2, abs=1e-6)
    assert target.tolist() == [[1.0, 0.0]]


def test_minimum_is_the_entropy_of_the_target():
    """Two columns of one picture, perfectly told from the rest: ln 2 remains."""
    rows = torch.tensor([[1.0, 0.0]])
    columns = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    loss = contrast(rows, columns, torch.tensor(0.01), torch.tensor([[0.5, 0.5, 0.0]]))
    assert float(loss) == pytest.approx(math.log(2), abs=1e-6)


def test_gradient_reaches_rows_columns_and_temperature():
    given = [
        torch.randn(3, 4, requires_grad=True),
        torch.randn(5, 4, requires_grad=True),
        torch.tensor(0.1, requires_grad=True),
    ]
    contrast(*given, same_picture(torch.arange(3), torch.arange(5)), given[0], 0.4).backward()
    assert all(value.grad is not None and value.grad.abs().max() > 0 for value in given)
