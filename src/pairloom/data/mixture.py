"""Mixture: several data sets in every optimiser step, each with a weight (Alayrac et al., 2022, section 2.4: gradients are
accumulated over the data sets, which they found better than taking turns).

An epoch is one of the first set; the others begin again when they end. The weight of a part goes along as
`part_weight`, and the loop multiplies its losses by it.
Does not know: what the sets hold.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch

from pairloom.data.batch import Batch
from pairloom.data.order import Plan
from pairloom.data.pair import content_hash


@dataclass(frozen=True)
class Mixture:
    """loaders (whatever gives `steps`, `identity` and `read` as a Loader does), each with its weight. A step has
    `plan.batch` rows of each: the sum over sets of weight times mean loss."""

    loaders: tuple[Any, ...]
    weights: tuple[float, ...]

    def __post_init__(self) -> None:
        if len(self.loaders) != len(self.weights) or not self.loaders or min(self.weights) <= 0:
            raise ValueError("every set of a mixture has a weight above 0")

    def steps(self, plan: Plan) -> int:
        """Optimiser steps in an epoch: those of the first set."""
        return self.loaders[0].steps(plan)

    def identity(self) -> str:
        """Changes when a set or a weight does."""
        return content_hash(
            *(loader.identity().encode() for loader in self.loaders), repr(self.weights).encode()
        )

    def read(self, plan: Plan, epoch: int, step: int = 0) -> Iterator[list[Batch]]:
        """The parts of every set, in their order, for each step of an epoch from `step` on."""
        total = self.steps(plan)
        streams = [_stream(loader, plan, epoch * total + step) for loader in self.loaders]
        for _ in range(step, total):
            batches = []
            for stream, weight in zip(streams, self.weights):
                own_weight = torch.tensor(
                    weight * len(self.loaders)
                )  # the loop divides by the number of parts
                batches += [replace(part, part_weight=own_weight) for part in next(stream)]
            yield batches


def _stream(loader: Any, plan: Plan, done: int) -> Iterator[list[Batch]]:
    """A set's steps without end, after `done` of them."""
    epoch, at = divmod(done, loader.steps(plan))
    while True:
        yield from loader.read(plan, epoch, at)
        epoch, at = epoch + 1, 0
