"""Distributed training (DDP under torchrun): the process group, averaged gradients, averaged numbers. One process works
without a group.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from pairloom.train.chunks import losses_in_chunks
from pairloom.verbs import losses_of

Losses = Callable[[Any, str], dict[str, Tensor]]  # (batch, turn) -> losses by name


@dataclass(frozen=True)
class ProcessGroup:
    """Process group: the rank of this process and the number of processes. Only rank 0 writes files."""

    rank: int = 0
    world: int = 1

    @property
    def writes(self) -> bool:
        return self.rank == 0

    def mean(self, values: Tensor) -> Tensor:
        """Mean over the processes (all-reduce)."""
        if self.world > 1:
            dist.all_reduce(values)
            values = values / self.world
        return values

    def wait(self) -> None:
        """Wait for all processes (barrier)."""
        if self.world > 1:
            dist.barrier()


def join() -> ProcessGroup:
    """Join the process group of torchrun (gloo on a CPU, nccl on GPUs); without torchrun a group of one process."""
    if not dist.is_available():
        return ProcessGroup()
    if not dist.is_initialized() and dist.is_torchelastic_launched():
        dist.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
    return ProcessGroup(dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else ProcessGroup()


@contextmanager
def process_group() -> Iterator[ProcessGroup]:
    """Context with the process group of torchrun, which is destroyed at its end unless it existed before.

    DDP's wrappers lie in reference cycles and hold the group. They are collected before it is destroyed, so that its threads end
    here and not while the interpreter is torn down, which aborts the process now and then.
    """
    there = dist.is_available() and dist.is_initialized()
    try:
        yield join()
    finally:
        if not there and dist.is_available() and dist.is_initialized():
            gc.collect()
            dist.destroy_process_group()


class LossModule(nn.Module):
    """Module whose `forward` returns a system's losses, since DDP hooks into `forward`. chunk: rows of a chunk (0: no
    chunks)."""

    def __init__(self, system: Any, chunk: int) -> None:
        super().__init__()
        self.system, self.chunk = system, chunk

    def forward(self, batch: Any, turn: str) -> dict[str, Tensor]:
        if self.chunk:
            return losses_in_chunks(self.system, batch, self.chunk)
        return losses_of(self.system, batch, turn)


def shared(system: nn.Module, ranks: ProcessGroup, chunk: int = 0) -> Losses:
    """The loss function of a system; with several processes the backward pass averages the gradients (DDP).

    Buffers are not broadcast: a system fills its buffers with gathered values, which are the same in every process.
    """
    module = LossModule(system, chunk)
    if ranks.world == 1:
        return module
    return DistributedDataParallel(module, broadcast_buffers=False, find_unused_parameters=True)


def together(losses: Losses, last: bool) -> AbstractContextManager[None]:
    """Context of a backward pass: gradients are averaged over the processes only in the `last` one of a step."""
    if isinstance(losses, DistributedDataParallel) and not last:
        return losses.no_sync()
    return nullcontext()
