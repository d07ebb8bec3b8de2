"""The text encoder of Stable Diffusion and SDXL: one or two CLIP text encoders of transformers.

A text is padded to a fixed length and the padding is read too, because these networks were trained so.

B texts, T tokens, D width of the context, P width of the pooled row.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Int
from torch import Tensor, nn

from pairloom.errors import Mistake


class TextConditioning(NamedTuple):
    """The text conditioning of a denoiser: context [B T D], a pooled row [B P] where there is one, and the mask [B T] of real tokens
    where padding is not read."""

    context: Tensor
    pooled: Tensor | None = None
    mask: Tensor | None = None

    def rows(self, which: Tensor) -> TextConditioning:
        """The texts of these rows, in this order."""
        return TextConditioning(*(None if part is None else part[which] for part in self))

    def concatenated(self, others: Sequence[TextConditioning]) -> TextConditioning:
        """These texts, then those of the others."""
        parts = zip(*(self, *others))
        return TextConditioning(*(None if part[0] is None else torch.cat(part) for part in parts))

    def replaced(self, drop: Bool[Tensor, " B"], empty: TextConditioning) -> TextConditioning:
        """With those of `empty` [B] in the rows where `drop` is True."""
        rows = torch.arange(len(drop), device=drop.device)
        return self.concatenated([empty]).rows(rows + len(rows) * drop)


class Ids(NamedTuple):
    """The size of the vocabulary and its special ids. pads: the padding id of each encoder."""

    vocabulary: int
    cls: int
    sep: int
    pads: Sequence[int]


class TextEncoder(nn.Module):
    """The text encoder of Stable Diffusion (one CLIP encoder: its last layer, normed) or of SDXL (two: the last layer but one
    of each, concatenated, and the projected end token of the second).

    first, second: settings of transformers' CLIPTextConfig; second {}: one encoder. zero_empty: the conditioning of the
    empty text is all zeros.
    """

    def __init__(
        self,
        first: Mapping[str, Any],
        second: Mapping[str, Any],
        ids: Ids,
        length: int,
        zero_empty: bool = False,
    ) -> None:
        super().__init__()
        needs("transformers")
        from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

        def config(words: Mapping[str, Any], pad: int) -> CLIPTextConfig:
            own = {"vocab_size": ids.vocabulary, "max_position_embeddings": length}
            ends = {"pad_token_id": pad, "bos_token_id": ids.cls, "eos_token_id": ids.sep}
            return CLIPTextConfig(**{**ends, **words, **own})

        self.ids, self.length, self.zero_empty = ids, length, zero_empty
        self.first = CLIPTextModel(config(first, ids.pads[0]))
        self.second = CLIPTextModelWithProjection(config(second, ids.pads[1])) if second else None
        self.width = first["hidden_size"] + (second["hidden_size"] if second else 0)

    def forward(self, tokens: Int[Tensor, "B T"], mask: Bool[Tensor, "B T"]) -> TextConditioning:
        """Encode texts. Where mask is False the encoder's own padding id is read in place of the token. ValueError where a
        text is longer than the encoder's length."""
        if mask[:, self.length :].any():
            raise ValueError(
                f"a text of {int(mask.sum(1).max())} tokens is longer than the {self.length} that are read"
            )
        tokens, mask = tokens[:, : self.length], mask[:, : self.length]

        def filled(pad: int) -> Tensor:
            return F.pad(tokens.masked_fill(~mask, pad), (0, self.length - tokens.shape[1]), value=pad)

        first = filled(self.ids.pads[0])
        if self.second is None:
            return TextConditioning(self.first(input_ids=first).last_hidden_state)
        one = self.first(input_ids=first, output_hidden_states=True)
        two = self.second(input_ids=filled(self.ids.pads[1]), output_hidden_states=True)
        return TextConditioning(
            torch.cat([one.hidden_states[-2], two.hidden_states[-2]], -1), two.text_embeds
        )

    def nothing(self, rows: int, device: torch.device) -> TextConditioning:
        """The conditioning of the empty text, `rows` times."""
        tokens = torch.tensor([[self.ids.cls, self.ids.sep]], device=device)
        conditioning = self(tokens, torch.ones_like(tokens, dtype=torch.bool))
        if self.zero_empty:
            conditioning = TextConditioning(
                *(None if part is None else torch.zeros_like(part) for part in conditioning)
            )
        return conditioning.rows(torch.zeros(rows, dtype=torch.long, device=device))

    def emptied(self, tokens: Tensor, mask: Tensor, drop: Bool[Tensor, " B"]) -> tuple[Tensor, Tensor]:
        """Tokens and mask with the empty text in the rows where `drop` is True."""
        empty = torch.full_like(tokens, self.ids.sep)
        empty[:, 0] = self.ids.cls
        first = torch.arange(tokens.shape[1], device=tokens.device) < 2
        return torch.where(drop[:, None], empty, tokens), torch.where(drop[:, None], first, mask)


def needs(library: str) -> None:
    """Mistake where an optional library is not installed."""
    if importlib.util.find_spec(library) is None:
        raise Mistake(
            f"Diffusion needs {library}.", "It is not installed.", "pip install 'pairloom[diffusion]'"
        )
