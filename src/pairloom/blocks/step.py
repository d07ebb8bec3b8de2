"""Cached step of a transformer block: it reads positions that follow those whose keys and values it has.

Drives a Block through `run`, as whole rows and packed sequences do. Does not know: stacks, how the next token is chosen.

B rows, T new positions, S positions so far, D width.
"""

from __future__ import annotations

from jaxtyping import Bool, Float
from torch import Tensor

from pairloom.blocks.attention import KeyValue
from pairloom.blocks.cross import CrossKeyValues
from pairloom.blocks.storage import KeyValueCache
from pairloom.blocks.transformer import Block, Residual


def step_block(
    block: Block,
    x: Float[Tensor, "B T D"],
    past: KeyValue | None,
    context: CrossKeyValues | None = None,
    index: int = 0,
    mode: int = 0,
    mask: Bool[Tensor, "1 1 T S"] | Float[Tensor, "1 H T S"] | None = None,
    room: int | None = None,
) -> tuple[Float[Tensor, "B T D"], KeyValue]:
    """One position more: its output and the keys and values of all positions so far. Post-norm or pre-norm alike.

    Several positions at once need a mask over all so far, and a relative bias is one of floats. index: which layer of the context is this block's. room: positions
    that there will be, where that is known.
    """
    grown: list[KeyValue] = []

    def attend(residual: Residual, x: Tensor) -> Tensor:
        new = residual.fn.project(residual.inner(x))
        grown.append(past.append(new) if isinstance(past, KeyValueCache) else KeyValueCache.begin(new, room))
        return residual(x, grown[0], mask)

    x = block.run(x, attend, context, index, mode)
    return x, grown[0]
