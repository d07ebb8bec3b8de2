"""Transformer blocks and stacks of them: self-attention, cross-attention and feed-forward parts as residuals, in any order.

Does not know: tokens, pixels, heads of tasks, how a system is run fast (runtime/ drives a Block through `run`).

B rows, T positions, S positions of a context, D width, C width of the context.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from pairloom.blocks.attention import Attention, KeyValue
from pairloom.blocks.cross import CrossAttention, CrossKeyValues
from pairloom.blocks.feed import Activation, FeedForward, NormKind, norm_of
from pairloom.blocks.masks import padding

Norm = Literal["pre", "post"]
Part = Literal["self", "cross", "feed"]
Routing = tuple[Any, Any]  # experts.Routing: which positions each expert is given
Mask = Bool[Tensor, "#B #H #T #S"] | Float[Tensor, "#B #H #T #S"] | None


class Residual(nn.Module):
    """Residual connection with pre- or post-layer-norm.

    path: chance that a row skips the function in training (stochastic depth, Huang et al., 2016).
    """

    def __init__(
        self, fn: nn.Module, norm: nn.Module, place: Norm, dropout: float = 0.0, path: float = 0.0
    ) -> None:
        super().__init__()
        self.fn, self.place, self.path = fn, place, path
        self.norm = norm
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Float[Tensor, "B T D"], *args: Any) -> Float[Tensor, "B T D"]:
        return self.around(x, lambda inner: self.fn(inner, *args))

    def around(
        self, x: Float[Tensor, "B T D"], function: Callable[[Tensor], Tensor]
    ) -> Float[Tensor, "B T D"]:
        """The same round another function: how runtime/ puts a faster equal in place of `fn`."""
        y = self.dropout(function(self.inner(x)))
        if self.path and self.training:
            y = y * (torch.rand(len(y), 1, 1, device=y.device) >= self.path).to(y.dtype) / (1 - self.path)
        return x + y if self.place == "pre" else self.norm(x + y)

    def inner(self, x: Tensor) -> Tensor:
        """What the function is given."""
        return self.norm(x) if self.place == "pre" else x


class ModeSharing(NamedTuple):
    """How many variants of each part a block holds: modes (such as reading and writing) share what has one variant, and
    differ in what has two. No cross-attention where `cross` is 0."""

    attend: int = 1
    cross: int = 0
    feed: int = 1


class TransformerConfig(NamedTuple):
    """The numbers of a transformer.

    norm: before each part or after it. context: width of what cross-attention reads. growth: hidden width of the
    feed-forward parts over width. inside: width of all heads together (None: width). scale: of the products of queries and
    keys (None: 1 / sqrt(d)). experts: feed-forward parts of a block, chosen by position. order: of a block's parts.
    """

    width: int
    depth: int
    heads: int
    norm: Norm
    eps: float
    dropout: float = 0.0
    path: float = 0.0
    context: int | None = None
    growth: float = 4
    activation: Activation = "gelu"
    norm_kind: NormKind = "layer"
    bias: bool = True
    inside: int | None = None
    scale: float | None = None
    experts: int = 1
    order: tuple[Part, ...] = ("self", "cross", "feed")


class Block(nn.Module):
    """A transformer block. The order of its parts is the config's: self, cross, feed (Vaswani et al., 2017); cross, self,
    feed (LXMERT); cross, feed (ViLBERT's co-attention). Cross-attention is left out where there is no context.

    cross: builds the cross-attention in place of the plain one.
    """

    def __init__(
        self,
        config: TransformerConfig,
        path: float = 0.0,
        sharing: ModeSharing = ModeSharing(),
        cross: Callable[[], nn.Module] | None = None,
    ) -> None:
        super().__init__()
        c, self.order = config, config.order

        def residual(fn: nn.Module) -> Residual:
            return Residual(fn, norm_of(c.norm_kind, c.width, c.eps), c.norm, c.dropout, path)

        def attention(kind: type[Attention], context: int | None = None) -> Attention:
            return kind(c.width, c.heads, context, c.dropout, None, c.inside, c.bias, c.scale)

        def feed() -> nn.Module:
            hidden = round(c.width * c.growth)
            each = [residual(FeedForward(c.width, hidden, c.activation, c.bias)) for _ in range(c.experts)]
            if c.experts == 1:
                return each[0]
            from pairloom.blocks.experts import Experts

            return Experts(each)

        attends = sharing.attend if "self" in c.order else 0
        self.attend = nn.ModuleList(residual(attention(Attention)) for _ in range(attends))
        make = cross or (lambda: attention(CrossAttention, c.context))
        self.cross = nn.ModuleList(residual(make()) for _ in range(sharing.cross))
        self.feed = nn.ModuleList(feed() for _ in range(sharing.feed))

    def forward(
        self,
        x: Float[Tensor, "B T D"],
        mask: Mask = None,
        context: CrossKeyValues | None = None,
        index: int = 0,
        mode: int = 0,
        routing: Routing | None = None,
    ) -> Float[Tensor, "B T D"]:
        """index: which layer of the context is this block's."""
        return self.run(x, lambda residual, x: residual(x, None, mask), context, index, mode, routing)

    def run(
        self,
        x: Float[Tensor, "B T D"],
        attend: Callable[[Residual, Tensor], Tensor],
        context: CrossKeyValues | None = None,
        index: int = 0,
        mode: int = 0,
        routing: Routing | None = None,
    ) -> Float[Tensor, "_ T D"]:
        """The parts in their order. attend(residual, x) does the self-attention: of whole rows (`forward`), of one position
        more (step.py), or of packed sequences (runtime/packing.py); it may give fewer rows than it is given."""
        for part in self.order:
            if part == "self":
                x = attend(for_mode(self.attend, mode), x)
            elif part == "feed":
                feed = for_mode(self.feed, mode)
                x = feed(x) if routing is None else feed(x, routing)
            elif context is not None:
                mask = None if context.mask is None else padding(context.mask)
                x = for_mode(self.cross, mode)(x, context.layers[index], mask, context.readers)
        return x

    def project(
        self, context: Float[Tensor, "B S C"], mask: Bool[Tensor, "B S"] | None = None, mode: int = 0
    ) -> CrossKeyValues:
        """What this block's cross-attention reads of a context."""
        return CrossKeyValues([for_mode(self.cross, mode).fn.project(context)], mask)


class Stack(nn.Module):
    """Blocks, with stochastic depth growing linearly.

    cross: builds the cross-attention of each layer, by its index, in place of the plain one. recompute: how many of the last
    blocks keep no activations for the backward pass; set by who trains.
    """

    def __init__(
        self,
        config: TransformerConfig,
        sharing: ModeSharing = ModeSharing(),
        cross: Callable[[int], nn.Module] | None = None,
    ) -> None:
        super().__init__()
        self.layers = nn.ModuleList()
        for index in range(config.depth):
            path = config.path * index / max(1, config.depth - 1)
            make = None if cross is None else (lambda index=index: cross(index))
            self.layers.append(Block(config, path, sharing, make))
        self.recompute = 0

    def forward(
        self,
        x: Float[Tensor, "B T D"],
        mask: Mask = None,
        context: CrossKeyValues | None = None,
        mode: int = 0,
        routing: Routing | None = None,
    ) -> Float[Tensor, "B T D"]:
        """mask: True = may be seen; floats (relative positions) are added to the products of queries and keys."""
        for index, layer in enumerate(self.layers):
            if self.training and index >= len(self.layers) - self.recompute:
                x = checkpoint(layer, x, mask, context, index, mode, routing, use_reentrant=False)
            else:
                x = layer(x, mask, context, index, mode, routing)
        return x

    def project(
        self, context: Float[Tensor, "B S C"], mask: Bool[Tensor, "B S"] | None = None, mode: int = 0
    ) -> CrossKeyValues:
        """What this stack's cross-attention reads of a context: one projection for each layer. mask: True = real."""
        return CrossKeyValues(
            [for_mode(layer.cross, mode).fn.project(context) for layer in self.layers], mask
        )

    def step(
        self,
        x: Float[Tensor, "B 1 D"],
        past: Sequence[KeyValue] | None,
        context: CrossKeyValues | None = None,
        mode: int = 0,
        room: int | None = None,
    ) -> tuple[Float[Tensor, "B 1 D"], list[KeyValue]]:
        """One position more, causally: its output, and the past grown by it. past None: this is the first position."""
        from pairloom.blocks.step import step_block

        grown = []
        for index, layer in enumerate(self.layers):
            row = past[index] if past else None
            x, row = step_block(layer, x, row, context, index, mode, None, room)
            grown.append(row)
        return x, grown


def for_mode(parts: nn.ModuleList, mode: int) -> Any:
    """The variant of a part for this mode: its own where there are several, else the shared one."""
    return parts[mode % len(parts)]


def initialise(module: nn.Module, std: float = 0.02) -> None:
    """Linear maps, convolutions and embeddings from a normal cut at two standard deviations; biases zero."""
    for part in module.modules():
        if isinstance(part, nn.Linear | nn.Conv2d | nn.Embedding):
            nn.init.trunc_normal_(part.weight, std=std, a=-2 * std, b=2 * std)
        if isinstance(part, nn.Linear | nn.Conv2d) and part.bias is not None:
            nn.init.zeros_(part.bias)
