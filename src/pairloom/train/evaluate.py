"""Held-out evaluation: losses, recall and accuracy of a system during its training."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import torch

from pairloom.data.batch import Batch
from pairloom.data.order import Plan
from pairloom.tasks.measure import accuracy, held_out_losses, recall
from pairloom.train.distributed import ProcessGroup
from pairloom.train.loop import Evaluate


def evaluation(
    held_out: Any, batch: int, turns: tuple[str, ...], device: torch.device | str, group: ProcessGroup
) -> Evaluate | None:
    """The evaluation function of a run: losses on this process's share of the loader `held_out`, recall and accuracy on all of
    it. Batches have about `batch` rows, and are the same for 1, 2, 4 or 8 processes. None for too few rows."""
    rows = 0 if held_out is None else len(held_out.rows)
    unit, even = math.lcm(8, group.world), math.lcm(2, group.world)
    steps = max(1, rows // batch)
    size = rows // steps // unit * unit or rows // even * even
    if held_out is None or size < 2:
        return None

    def batches(plan: Plan) -> Iterator[Batch]:
        return (part.to(device) for parts in held_out.read(plan, 0) for part in parts)

    def evaluate(system: Any) -> dict[str, float]:
        losses = held_out_losses(system, batches(Plan(size, rank=group.rank, world=group.world)), turns)
        return losses | recall(system, batches(Plan(size))) | accuracy(system, batches(Plan(size)))

    return evaluate
