"""Several processes as one: who this one is, gradients averaged, numbers averaged. One process is the plain case.

Does not know: how the processes were started, beyond torchrun's own variables.
"""

from __future__ import annotations

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

Losses = Callable[[Any, str], dict[str, Tensor]]  # of a batch, in a turn


@dataclass(frozen=True)
class ProcessGroup:
    """This process among its peers. Rank 0 writes."""

    rank: int = 0
    world: int = 1

    @property
    def writes(self) -> bool:
        return self.rank == 0

    def mean(self, values: Tensor) -> Tensor:
        """Averaged over the processes."""
        if self.world > 1:
            dist.all_reduce(values)
            values = values / self.world
        return values

    def wait(self) -> None:
        """Until every process is here."""
        if self.world > 1:
            dist.barrier()


def join() -> ProcessGroup:
    """Under torchrun: join the others (gloo on a CPU, nccl on GPUs). Else: alone."""
    if not dist.is_available():
        return ProcessGroup()
    if not dist.is_initialized() and dist.is_torchelastic_launched():
        dist.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
    return ProcessGroup(dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else ProcessGroup()


@contextmanager
def process_group() -> Iterator[ProcessGroup]:
    """Inside, this process is one of those that torchrun started; a group that was there before stays afterwards."""
    there = dist.is_available() and dist.is_initialized()
    try:
        yield join()
    finally:
        if not there and dist.is_available() and dist.is_initialized():
            dist.destroy_process_group()


class LossModule(nn.Module):
    """DDP hooks into `forward`; a system is asked for `losses`, in chunks of so many rows where chunk is not 0."""

    def __init__(self, system: Any, chunk: int) -> None:
        super().__init__()
        self.system, self.chunk = system, chunk

    def forward(self, batch: Any, turn: str) -> dict[str, Tensor]:
        if self.chunk:
            return losses_in_chunks(self.system, batch, self.chunk)
        return losses_of(self.system, batch, turn)


def shared(system: nn.Module, ranks: ProcessGroup, chunk: int = 0) -> Losses:
    """What gives the losses of a batch: under several processes with gradients averaged in the backward pass.

    Buffers are not sent round: a system that keeps any fills them with what it gathered, the same everywhere.
    """
    module = LossModule(system, chunk)
    if ranks.world == 1:
        return module
    return DistributedDataParallel(module, broadcast_buffers=False, find_unused_parameters=True)


def together(losses: Losses, last: bool) -> AbstractContextManager[None]:
    """Inside, a backward pass ends with the gradients of all processes averaged if it is the `last` of a step."""
    if isinstance(losses, DistributedDataParallel) and not last:
        return losses.no_sync()
    return nullcontext()
