"""Rows of all processes, so that several processes compute what one would on the whole batch.

Without a process group every function is the identity. Every process must hold equally many rows.
"""

from __future__ import annotations

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor


def processes() -> int:
    """How many processes share the batch."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def first_row(rows: int) -> int:
    """Where this process's rows begin among the rows of all."""
    return rows * dist.get_rank() if processes() > 1 else 0


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x: Tensor) -> Tensor:  # type: ignore[no-untyped-def, override]
        parts = [torch.empty_like(x) for _ in range(processes())]
        dist.all_gather(parts, x.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(ctx, gradient: Tensor) -> Tensor:  # type: ignore[no-untyped-def, override]
        # every process used everybody's rows, so the gradient of mine is spread over all of them
        gradient = gradient.contiguous()
        dist.all_reduce(gradient)
        return gradient.chunk(processes())[dist.get_rank()]


def gather_rows(x: Tensor) -> Tensor:
    """[B ...] of each process -> [processes * B ...] on every process, in rank order, with gradient."""
    return _Gather.apply(x) if processes() > 1 else x


def gather_pairs(image: Tensor, text: Tensor, ids: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """`gather_rows` of images, texts and ids of their pictures."""
    return gather_rows(image), gather_rows(text), gather_rows(ids)


def pair_up(
    image: Tensor, texts: int, owner: Tensor | None = None, ids: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """The picture of each text [I E] -> [B E], and its id [B]. owner: its row (None: text i has picture i); pictures without
    ids all differ, on all processes."""
    if owner is None:
        owner = torch.arange(texts, device=image.device)
    if ids is None:
        ids = first_row(len(image)) + owner
    return image[owner], ids


def gather_texts(tokens: Tensor, pad: int = 0) -> Tensor:
    """[B T] where T differs between processes -> [processes * B, longest T], padded on the right."""
    if processes() == 1:
        return tokens
    length = torch.tensor(tokens.shape[1], device=tokens.device)
    dist.all_reduce(length, dist.ReduceOp.MAX)
    return gather_rows(F.pad(tokens, (0, int(length) - tokens.shape[1]), value=pad))


def mean_of_all(total: Tensor, count: Tensor) -> Tensor:
    """total / count over all processes, so that the average of the processes' gradients is that of one process."""
    count = count.detach().to(total.dtype).clone()
    if processes() > 1:
        dist.all_reduce(count)
        count /= processes()
    return total / count.clamp_min(1e-12)
