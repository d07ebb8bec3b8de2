"""TextTower: token ids through embedding and stack, as a bidirectional reader or a causal writer.

B rows, T tokens, D width.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from pairloom.blocks.attention import CrossKeyValues, KeyValue, PackedSequence
from pairloom.blocks.embed import TextEmbed
from pairloom.blocks.masks import causal, padding
from pairloom.blocks.transformer import ModeSharing, Stack, TransformerConfig, for_mode

READ, WRITE = 0, 1  # the two ways through a tower: every token sees all, or only what came before


class TextTower(nn.Module):
    """embeds, ways: how many variants the embedding and each part of a layer have; reader and writer share what has one.

    A post-norm tower norms its embedding (BERT), a pre-norm one what leaves the stack (GPT-2)."""

    def __init__(
        self,
        shape: TransformerConfig,
        vocabulary: int,
        positions: int,
        embeds: int = 1,
        sharing: ModeSharing = ModeSharing(),
    ) -> None:
        super().__init__()
        pre = shape.norm == "pre"
        self.embed = nn.ModuleList(
            TextEmbed(vocabulary, positions, shape.width, None if pre else shape.eps, shape.dropout)
            for _ in range(embeds)
        )
        self.stack = Stack(shape, sharing)
        self.norm = nn.LayerNorm(shape.width, eps=shape.eps) if pre else nn.Identity()

    def forward(
        self,
        tokens: Int[Tensor, "B T"],
        keep: Bool[Tensor, "B T"],
        memory: CrossKeyValues | None = None,
        mode: int = READ,
    ) -> Float[Tensor, "B T D"]:
        """keep: True = real. The first token is taken as real whatever keep says; what comes out for padding means nothing."""
        keep = torch.cat([torch.ones_like(keep[:, :1]), keep[:, 1:]], 1)
        x = for_mode(self.embed, mode)(tokens)
        if not self.training and not bool(keep.all()):
            y = self._packed(x, keep, memory, mode)
            return y.new_zeros(*keep.shape, y.shape[-1]).masked_scatter(keep[..., None], y)
        return self.norm(self.stack(x, _seen(keep, mode), memory, mode))

    def first(
        self, tokens: Int[Tensor, "B T"], keep: Bool[Tensor, "B T"], memory: CrossKeyValues | None = None
    ) -> Float[Tensor, "B D"]:
        """The first row of each text, as the reader has it; the last layer computes no other, but in training."""
        if self.training:
            return self(tokens, keep, memory)[:, 0]
        keep = torch.cat([torch.ones_like(keep[:, :1]), keep[:, 1:]], 1)
        return self._packed(for_mode(self.embed, READ)(tokens), keep, memory, READ, True)[:, 0]

    def _packed(
        self,
        x: Float[Tensor, "B T D"],
        keep: Bool[Tensor, "B T"],
        memory: CrossKeyValues | None,
        mode: int,
        first: bool = False,
    ) -> Float[Tensor, "P 1 D"]:
        """Dense maps and cross-attention read the P real tokens and no padding. first: only those at the head of a text."""
        text = keep.nonzero()[:, 0]
        packing = PackedSequence(text, len(keep))
        if memory is not None:
            memory = memory.read_by(text if memory.packing is None else memory.packing.owner[text])
        real = torch.arange(packing.most, device=keep.device) < keep.sum(1, keepdim=True)
        rows = keep.sum(1).cumsum(0) - keep.sum(1) if first else None
        return self.norm(self.stack(x[keep][:, None], _seen(real, mode), memory, mode, packing, rows))

    def step(
        self, tokens: Int[Tensor, " B"], at: int, past: list[KeyValue] | None, memory: CrossKeyValues | None
    ) -> tuple[Float[Tensor, "B D"], list[KeyValue]]:
        """The writer, one token more at position `at`."""
        x, past = self.stack.step(for_mode(self.embed, WRITE)(tokens[:, None], at), past, memory, WRITE)
        return self.norm(x)[:, 0], past

    @property
    def words(self) -> Tensor:
        """The writer's word table [V D]."""
        table: Tensor = for_mode(self.embed, WRITE).words.weight
        return table


def _seen(keep: Bool[Tensor, "B T"], mode: int) -> Tensor:
    return causal(keep) if mode == WRITE else padding(keep)


class BagOfWords(nn.Module):
    """What a text says whatever its order: the norm of its mean word, learnt in tens of steps where a stack takes thousands.

    dropout: chance that a word of the text is left out in training.
    """

    def __init__(self, width: int, eps: float, dropout: float = 0.0) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width, eps=eps)
        self.dropout = dropout

    def forward(
        self, words: Float[Tensor, "V D"], tokens: Int[Tensor, "B T"], keep: Bool[Tensor, "B T"]
    ) -> Float[Tensor, "B D"]:
        """words: the table that the tokens point into. The first token ([CLS]) is left out."""
        weight = F.dropout(keep[:, 1:].to(words.dtype), self.dropout, self.training)
        mean = (words[tokens[:, 1:]] * weight[..., None]).sum(1) / keep[:, 1:].sum(1, keepdim=True).clamp(
            min=1
        )
        return self.norm(mean)
