"""Drawing the codes of a picture one after the other.

Does not know: texts, what a code stands for.

R rows that are drawn, N codes of a picture, K codebook.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


def draw_codes(logits: Float[Tensor, "R K"], chance: Float[Tensor, " R"]) -> Int[Tensor, " R"]:
    """A code of each row by inverting its cumulated shares at a number in [0, 1), so that a row depends on its own number alone."""
    total = logits.double().softmax(1).cumsum(1)
    return torch.searchsorted(total, (chance.double() * total[:, -1])[:, None], right=True)[:, 0]


def chances(seeds: Sequence[int], count: int) -> Float[Tensor, "R N"]:
    """`count` random numbers in [0, 1) for each row, from a seed of its own."""
    return torch.stack([torch.rand(count, generator=torch.Generator().manual_seed(int(seed))) for seed in seeds])  # fmt: skip


def write_codes(
    logits: Tensor,
    state: Any,
    step: Callable[[Any, Tensor], tuple[Tensor, Any]],
    chance: Float[Tensor, "R N"],
    *,
    temperature: float = 1.0,
    guidance: float = 1.0,
    top: int = 0,
    begin: Int[Tensor, "R n"] | None = None,
) -> tuple[Int[Tensor, "R N"], Bool[Tensor, " R"]]:
    """Codes of each row, and which rows had logits that are not numbers. logits, state: for the first code; with a guidance other than 1 of the rows with their texts and then of the
    same rows without. guidance: scale of classifier-free guidance of the logits. top: how many of the likeliest codes may be
    drawn (0: all). begin: the first codes, which are not drawn."""
    codes: list[Tensor] = []
    count, broken = chance.shape[1], torch.zeros(len(chance), dtype=torch.bool, device=logits.device)
    for at in range(count):
        if guidance != 1:
            stated, free = logits.chunk(2)
            logits = free + guidance * (stated - free)
        broken |= logits.sum(1).isnan()
        if 0 < top < logits.shape[1]:
            least = logits.topk(top, 1).values[:, -1:]
            logits = logits.masked_fill(logits < least, -torch.inf)
        drawn = draw_codes(logits / temperature, chance[:, at].to(logits.device))
        drawn = drawn.clamp(max=logits.shape[1] - 1)
        codes.append(drawn if begin is None or at >= begin.shape[1] else begin[:, at])
        if at + 1 < count:
            logits, state = step(state, codes[-1].repeat(2) if guidance != 1 else codes[-1])
    return torch.stack(codes, 1), broken
