"""Systems that write by appending [MASK] (Dong et al., 2019, UniLM), as VLP, VinVL's captioners and BEiT-3 do: the context and the
words so far are read, and the next word is predicted at a [MASK] behind them.

B texts, I pictures, S context positions, T tokens, D width, V vocabulary.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from pairloom.blocks import mask_append as appending
from pairloom.blocks.transformer import Stack
from pairloom.data.batch import Batch


class MaskWriter(nn.Module):
    """The Writer of such a system. Pictures never see a text that is written, so the state after them is computed once (`encoded`).

    before: tokens at the start of each text that the context has in front of the picture (VLP: [CLS]). text,
    language_head: embed and score words.
    """

    before = 0
    config: Any
    stack: Any
    language_head: Any
    text: Any

    @property
    def writing_stack(self) -> Stack:
        """The layers that read a text behind its context."""
        return self.stack

    def context(self, batch: Batch) -> tuple[Float[Tensor, "I S D"], Bool[Tensor, "I S"]]:
        """What a text of each picture sees, and which of it is real."""
        raise NotImplementedError

    def written_rows(self, ids: Int[Tensor, "B T"], first: int) -> Float[Tensor, "B T D"]:
        """Tokens of a text that is written. first: how many of its tokens are behind the picture before these."""
        return self.text(ids, first)

    def token_scores(self, rows: Float[Tensor, "*M D"]) -> Float[Tensor, "*M V"]:
        """Scores of the words at rows of [MASK]."""
        return self.language_head(rows, self.text.words.weight)

    def encode_image(self, batch: Batch) -> Batch:
        """The batch with the state of writing after each picture."""
        if batch.encoded is not None:
            return batch
        return replace(batch, encoded=appending.begin(self.writing_stack, *self.context(batch))[1])

    def start(self, batch: Batch) -> appending.AppendState:
        state: appending.AppendState = self.encode_image(batch).encoded
        return state if batch.image_of is None else state.select(batch.image_of)

    def step(
        self, state: appending.AppendState, tokens: Int[Tensor, " B"]
    ) -> tuple[Float[Tensor, "B V"], appending.AppendState]:
        """A token that the context has is not fed again."""
        ids = torch.stack([tokens, torch.full_like(tokens, self.config.mask)], 1)
        unread = max(0, self.before - state.written)
        rows = self.written_rows(ids[:, unread:], max(0, state.written - self.before))
        row, state = appending.append(self.writing_stack, rows, state)
        return self.token_scores(row), state

    def logits(self, batch: Batch) -> Float[Tensor, "B T V"]:
        """By a [MASK] after each token: what `step` gives, in one pass."""
        (tokens, mask), state, before = batch.text(), self.start(batch), self.before
        ends = self.written_rows(torch.full_like(tokens, self.config.mask), 1 - before)
        rows = torch.cat([self.written_rows(tokens[:, before:], 0), ends], 1)
        visible = appending.every_append(state.real, mask[:, before:], first=before)
        rows = appending.read_after(self.writing_stack, rows, state, visible[:, :, -rows.shape[1] :])
        return self.token_scores(rows[:, -tokens.shape[1] :])
