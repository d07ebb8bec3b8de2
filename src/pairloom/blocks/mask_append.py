"""Writing with a bidirectional encoder under the sequence-to-sequence mask: [MASK] is appended to the words so far, predicted, and
replaced by the word (Dong et al., 2019, UniLM; VLP, VinVL, BEiT-3).

Every layer keeps keys and values of the context and of the words; those of [MASK] are dropped after each step.
Does not know: embeddings, heads, how the next token is chosen.

B rows (texts being written), S positions of a context, T words, D width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from pairloom.blocks.attention import KeyValue
from pairloom.blocks.masks import padding
from pairloom.blocks.transformer import Residual, Stack


@dataclass
class AppendState:
    """past: keys and values of each layer, of the context and of the words so far; real [B S]: of the same positions; written: how
    many tokens were fed."""

    past: Sequence[KeyValue]
    real: Tensor
    written: int = 0

    def __len__(self) -> int:
        return len(self.real)

    def expand(self, times: int) -> AppendState:
        """Every row `times` over, neighbours together."""
        return self.select(torch.arange(len(self), device=self.real.device).repeat_interleave(times))

    def select(self, rows: Tensor) -> AppendState:
        """Rows in this order."""
        past = [layer.select(rows) for layer in self.past]
        return replace(self, past=past, real=self.real[rows])


def begin(
    stack: Stack, context: Float[Tensor, "B S D"], real: Bool[Tensor, "B S"]
) -> tuple[Float[Tensor, "B S D"], AppendState]:
    """The context, which sees itself: its last rows, and the state after it. real: True = real."""
    rows, grown = _run(stack, context, None, padding(real))
    return rows, AppendState(grown, real)


def read_after(
    stack: Stack, rows: Float[Tensor, "B T D"], state: AppendState, mask: Bool[Tensor, "B 1 T U"]
) -> Float[Tensor, "B T D"]:
    """Whole rows behind a context, of which no state is kept. mask: who sees whom of [context; rows]."""
    return _run(stack, rows, state.past, mask)[0]


def append(
    stack: Stack, rows: Float[Tensor, "B T D"], state: AppendState
) -> tuple[Float[Tensor, "B D"], AppendState]:
    """The words that were chosen since the last call and then [MASK], each seeing what came before: the row of [MASK], and the
    state after the words."""
    new = torch.ones(len(rows), rows.shape[1], dtype=torch.bool, device=rows.device)
    real = torch.cat([state.real, new], 1)
    mask = padding(real).expand(-1, 1, rows.shape[1], -1).clone()
    mask[..., state.real.shape[1] :] &= torch.ones_like(mask[0, 0, :, -rows.shape[1] :]).tril()
    y, grown = _run(stack, rows, state.past, mask)
    past = [KeyValue(layer.keys[:, :, :-1], layer.values[:, :, :-1]) for layer in grown]
    return y[:, -1], AppendState(past, real[:, :-1], state.written + 1)


def _run(
    stack: Stack, x: Tensor, past: Sequence[KeyValue] | None, mask: Tensor
) -> tuple[Tensor, list[KeyValue]]:
    grown: list[KeyValue] = []

    def attend(residual: Residual, x: Tensor) -> Tensor:
        new = residual.fn.project(residual.inner(x))
        if past is not None:
            old = past[len(grown)]
            new = KeyValue(torch.cat([old.keys, new.keys], 2), torch.cat([old.values, new.values], 2))
        grown.append(new)
        return residual(x, new, mask)

    for layer in stack.layers:
        x = layer.run(x, attend)
    return x, grown


def every_append(
    real: Bool[Tensor, "B S"], words: Bool[Tensor, "B T"], first: int = 0
) -> Bool[Tensor, "B 1 U U"]:
    """Mask of [context; words; a [MASK] for each prediction], whose row t is what `append` gives for the prediction after word t:
    words see the context and the words up to themselves, each [MASK] that and itself.

    words [B T]: of the tokens that are fed; first: the number of the first of them (1 where token 0 is never fed), so that there are
    T + first predictions.
    """
    before, count = real.shape[1], words.shape[1]
    steps = count + first
    number = torch.arange(first, steps, device=real.device)
    place = torch.arange(steps, device=real.device)
    size = before + count + steps
    mask = torch.zeros(len(real), 1, size, size, dtype=torch.bool, device=real.device)
    mask[..., :before] = padding(real)
    inner, last = slice(before, before + count), slice(before + count, size)
    mask[..., inner, inner] = (number <= number[:, None]) & words[:, None, None]
    mask[..., inner, inner] |= torch.eye(count, dtype=torch.bool, device=real.device)
    mask[..., last, inner] = (number <= place[:, None]) & words[:, None, None]
    mask[..., last, last] = torch.eye(steps, dtype=torch.bool, device=real.device)
    return mask


def prefix_causal(prefix: Bool[Tensor, "B S"], rest: Bool[Tensor, "B T"]) -> Bool[Tensor, "B 1 U U"]:
    """Sequence-to-sequence mask of [prefix; rest] (Dong et al., 2019, UniLM): the prefix sees itself, the rest sees the prefix and
    itself up to each position. prefix, rest: True = real. A position of the rest always sees itself."""
    before, after = prefix.shape[1], rest.shape[1]
    seen = torch.cat([prefix, rest], 1)[:, None, None].expand(-1, 1, before + after, -1).clone()
    seen[:, :, :before, before:] = False
    triangle = torch.ones(after, after, dtype=torch.bool, device=rest.device).tril()
    seen[:, :, before:, before:] &= triangle
    seen[:, :, before:, before:] |= torch.eye(after, dtype=torch.bool, device=rest.device)
    return seen
