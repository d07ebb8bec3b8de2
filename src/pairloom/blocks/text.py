"""TextTransformer: token ids through embedding and stack, as a bidirectional encoder or a causal decoder.

B rows, T tokens, D width.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from pairloom.blocks.attention import KeyValue
from pairloom.blocks.cross import CrossKeyValues
from pairloom.blocks.embed import TextEmbed
from pairloom.blocks.masks import causal, padding
from pairloom.blocks.transformer import ModeSharing, Stack, TransformerConfig, for_mode

READ, WRITE = 0, 1  # the two modes of a tower: every token sees all, or only what came before


class PackedForward(Protocol):
    """How a stack is run over padded texts when a tower answers (runtime/packing.py has one that skips the padding)."""

    def __call__(
        self,
        stack: Stack,
        x: Float[Tensor, "B T D"],
        mask: Bool[Tensor, "B T"],
        context: CrossKeyValues | None,
        mode: int,
        first: bool,
    ) -> Tensor:
        """The rows of the real tokens [P 1 D], in their order; with `first` the first row of each text alone [B 1 D]."""
        ...


class TextTransformer(nn.Module):
    """A text transformer. embeds, sharing: how many variants the embedding and each part of a block have; encoder and decoder
    share what has one. segments: token types. cross: builds the cross-attention of each layer in place of the plain one.
    A post-norm tower norms its embedding (BERT), a pre-norm one what leaves the stack (GPT-2). packed: set by runtime/; it runs
    the stack without the padding, in evaluation mode and, where packs_training says so, in training.
    """

    packed: PackedForward | None = None
    packs_training = False

    def __init__(
        self,
        config: TransformerConfig,
        vocabulary: int,
        positions: int,
        embeds: int = 1,
        sharing: ModeSharing = ModeSharing(),
        segments: int = 0,
        cross: Callable[[int], nn.Module] | None = None,
    ) -> None:
        super().__init__()
        pre = config.norm == "pre"
        eps = None if pre else config.eps
        self.embed = nn.ModuleList(
            TextEmbed(vocabulary, positions, config.width, eps, config.dropout, segments)
            for _ in range(embeds)
        )
        self.stack = Stack(config, sharing, cross)
        self.norm = nn.LayerNorm(config.width, eps=config.eps) if pre else nn.Identity()

    def forward(
        self,
        tokens: Int[Tensor, "B T"],
        mask: Bool[Tensor, "B T"],
        context: CrossKeyValues | None = None,
        mode: int = READ,
        segments: Int[Tensor, "B T"] | None = None,
    ) -> Float[Tensor, "B T D"]:
        """mask: True = real. The first token is taken as real whatever the mask says; rows of padding mean nothing."""
        mask = torch.cat([torch.ones_like(mask[:, :1]), mask[:, 1:]], 1)
        x = for_mode(self.embed, mode)(tokens, 0, segments)
        if self.packed is None or self.training > self.packs_training or bool(mask.all()):
            return self.norm(self.stack(x, visible(mask, mode), context, mode))
        y = self.norm(self.packed(self.stack, x, mask, context, mode, False))
        return y.new_zeros(*mask.shape, y.shape[-1]).masked_scatter(mask[..., None], y)

    def first(
        self,
        tokens: Int[Tensor, "B T"],
        mask: Bool[Tensor, "B T"],
        context: CrossKeyValues | None = None,
        segments: Int[Tensor, "B T"] | None = None,
    ) -> Float[Tensor, "B D"]:
        """The first row of each text, as the encoder has it."""
        if self.packed is None or self.training > self.packs_training:
            return self(tokens, mask, context, READ, segments)[:, 0]
        mask = torch.cat([torch.ones_like(mask[:, :1]), mask[:, 1:]], 1)
        x = for_mode(self.embed, READ)(tokens, 0, segments)
        return self.norm(self.packed(self.stack, x, mask, context, READ, True))[:, 0]

    def step(
        self,
        tokens: Int[Tensor, " B"],
        position: int,
        past: Sequence[KeyValue] | None,
        context: CrossKeyValues | None,
        room: int | None = None,
    ) -> tuple[Float[Tensor, "B D"], list[KeyValue]]:
        """The decoder, one token more at `position`. room: tokens that the text will have, where that is known."""
        x = for_mode(self.embed, WRITE)(tokens[:, None], position)
        x, past = self.stack.step(x, past, context, WRITE, room)
        return self.norm(x)[:, 0], past

    @property
    def words(self) -> Tensor:
        """The decoder's word table [V D]."""
        table: Tensor = for_mode(self.embed, WRITE).words.weight
        return table


def visible(mask: Bool[Tensor, "B T"], mode: int) -> Tensor:
    """Who sees whom: every real token, or those up to itself."""
    return causal(mask) if mode == WRITE else padding(mask)


def begin_with(token: int, tokens: Int[Tensor, "B T"]) -> Int[Tensor, "B T"]:
    """The texts with another first token in place of [CLS], as it tells a tower its mode."""
    return torch.cat([torch.full_like(tokens[:, :1], token), tokens[:, 1:]], 1)
