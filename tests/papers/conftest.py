"""The TINY system of the paper that a test file is about (its PAPER), and the system's own example of a batch."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from pairloom.data.batch import Batch


@pytest.fixture(scope="module")
def system(request: pytest.FixtureRequest) -> Any:
    """Fresh heads start near nothing: a little noise lets a difference show where there is one."""
    paper = request.module.PAPER
    torch.manual_seed(0)
    system = paper.System(paper.TINY).eval()
    with torch.no_grad():
        for parameter in system.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
    return system


@pytest.fixture(scope="module")
def batch(request: pytest.FixtureRequest) -> Batch:
    paper = request.module.PAPER
    return paper.example(paper.TINY, torch.Generator().manual_seed(3))
