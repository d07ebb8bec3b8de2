"""Sub, FeedForward, Layer, Stack: every transformer here is put together from these and Attention.

Does not know: tokens, pixels, heads of tasks.

B rows, T positions, S positions of a context, D width, C width of the context.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from pairloom.blocks.attention import Attention, CrossKeyValues, KeyValue, PackedSequence
from pairloom.blocks.masks import padding

Norm = Literal["pre", "post"]
Activation = Literal["gelu", "quick_gelu", "relu", "squared_relu"]


def quick_gelu(x: Tensor) -> Tensor:
    """GELU by a sigmoid (Hendrycks and Gimpel, 2016, section 2): weights trained with it need it."""
    return x * torch.sigmoid(1.702 * x)


def squared_relu(x: Tensor) -> Tensor:
    """So et al., 2021 ("Primer")."""
    return F.relu(x).square()


ACTIVATIONS: dict[Activation, Callable[[Tensor], Tensor]] = {
    "gelu": F.gelu,
    "quick_gelu": quick_gelu,
    "relu": F.relu,
    "squared_relu": squared_relu,
}


class FeedForward(nn.Module):
    """Two linear maps with an activation between; "gelu" is erf-GELU."""

    def __init__(self, width: int, hidden: int, activation: Activation = "gelu", bias: bool = True) -> None:
        super().__init__()
        self.up = nn.Linear(width, hidden, bias)
        self.down = nn.Linear(hidden, width, bias)
        self.activation = activation

    def forward(self, x: Float[Tensor, "B T D"]) -> Float[Tensor, "B T D"]:
        return self.down(ACTIVATIONS[self.activation](self.up(x)))


class Residual(nn.Module):
    """A residual round a function, with the norm before the function (pre) or after the sum (post).

    path: chance that a row skips the function in training (stochastic depth, Huang et al., 2016).
    """

    def __init__(
        self, fn: nn.Module, width: int, norm: Norm, eps: float, dropout: float = 0.0, path: float = 0.0
    ) -> None:
        super().__init__()
        self.fn, self.place, self.path = fn, norm, path
        self.norm = nn.LayerNorm(width, eps=eps)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Float[Tensor, "B T D"], *args: Any) -> Float[Tensor, "B T D"]:
        y = self.dropout(self.fn(self.norm(x) if self.place == "pre" else x, *args))
        if self.path and self.training:
            y = y * (torch.rand(len(y), 1, 1, device=y.device) >= self.path).to(y.dtype) / (1 - self.path)
        return x + y if self.place == "pre" else self.norm(x + y)


class ModeSharing(NamedTuple):
    """How many variants of each part a layer holds. Several passes through one stack then share what has one variant
    and differ in what has two; no cross-attention where `cross` is 0."""

    attend: int = 1
    cross: int = 0
    feed: int = 1


class TransformerConfig(NamedTuple):
    """The numbers of a transformer. context: width of what cross-attention reads; growth: hidden width of the
    feed-forward parts over width."""

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


class Layer(nn.Module):
    """Self-attention, cross-attention where a memory is given, feed-forward, in this order."""

    def __init__(
        self, shape: TransformerConfig, path: float = 0.0, sharing: ModeSharing = ModeSharing()
    ) -> None:
        super().__init__()
        width, drop = shape.width, shape.dropout

        def sub(fn: nn.Module) -> Residual:
            return Residual(fn, width, shape.norm, shape.eps, drop, path)

        self.attend = nn.ModuleList(
            sub(Attention(width, shape.heads, None, drop)) for _ in range(sharing.attend)
        )
        self.cross = nn.ModuleList(
            sub(Attention(width, shape.heads, shape.context, drop)) for _ in range(sharing.cross)
        )
        hidden = round(width * shape.growth)
        self.feed = nn.ModuleList(
            sub(FeedForward(width, hidden, shape.activation)) for _ in range(sharing.feed)
        )

    def forward(
        self,
        x: Float[Tensor, "B T D"],
        mask: Bool[Tensor, "#M 1 #U #S"] | None = None,
        memory: CrossKeyValues | None = None,
        index: int = 0,
        mode: int = 0,
        packing: PackedSequence | None = None,
        rows: Int[Tensor, " R"] | None = None,
    ) -> Float[Tensor, "_ T D"]:
        """index: which layer of the memory is this layer's. fold: which rows see each other; the mask is then of its table.
        rows: the only ones that are wanted, each the first of its text."""
        sub = for_mode(self.attend, mode)
        if rows is None:
            return self._rest(sub(x, None, mask, packing), memory, index, mode)
        read = sub.fn.project(sub.norm(x) if sub.place == "pre" else x, packing)
        if memory is not None and memory.packing is not None:
            memory = memory.read_by(memory.packing.owner[rows])
        return self._rest(sub(x[rows], read, None if mask is None else mask[:, :, :1]), memory, index, mode)

    def step(
        self,
        x: Float[Tensor, "B T D"],
        past: KeyValue | None,
        memory: CrossKeyValues | None = None,
        index: int = 0,
        mode: int = 0,
        mask: Bool[Tensor, "1 1 T S"] | None = None,
    ) -> tuple[Float[Tensor, "B T D"], KeyValue]:
        """One position more: its output and the keys and values of all positions so far. Post-norm or pre-norm alike.
        Several positions at once need a mask over all so far."""
        sub = for_mode(self.attend, mode)
        new = sub.fn.project(sub.norm(x) if sub.place == "pre" else x)
        past = past.append(new) if past else new
        return self._rest(sub(x, past, mask), memory, index, mode), past

    def _rest(self, x: Tensor, memory: CrossKeyValues | None, index: int, mode: int) -> Tensor:
        if memory is not None:
            keep = None if memory.keep is None else padding(memory.keep)
            x = for_mode(self.cross, mode)(x, memory.layers[index], keep, memory.packing)
        return for_mode(self.feed, mode)(x)


class Stack(nn.Module):
    """Layers, with stochastic depth growing linearly.

    recompute: how many of the last layers keep no activations for the backward pass; set by who trains.
    """

    def __init__(self, shape: TransformerConfig, sharing: ModeSharing = ModeSharing()) -> None:
        super().__init__()
        paths = [shape.path * index / max(1, shape.depth - 1) for index in range(shape.depth)]
        self.layers = nn.ModuleList(Layer(shape, path, sharing) for path in paths)
        self.recompute = 0

    def forward(
        self,
        x: Float[Tensor, "B T D"],
        mask: Bool[Tensor, "#M 1 #U #S"] | None = None,
        memory: CrossKeyValues | None = None,
        mode: int = 0,
        packing: PackedSequence | None = None,
        rows: Int[Tensor, " R"] | None = None,
    ) -> Float[Tensor, "_ T D"]:
        """fold: rows of one position each that are the tokens of packed texts (text.py). rows: those that the last layer
        is to give, the first of each text; it then computes no other."""
        for index, layer in enumerate(self.layers):
            if rows is not None and index == len(self.layers) - 1:
                return layer(x, mask, memory, index, mode, packing, rows)
            if self.training and index >= len(self.layers) - self.recompute:
                x = checkpoint(layer, x, mask, memory, index, mode, packing, use_reentrant=False)
            else:
                x = layer(x, mask, memory, index, mode, packing)
        return x if rows is None else x[rows]

    def remember(
        self, context: Float[Tensor, "B S C"], keep: Bool[Tensor, "B S"] | None = None, mode: int = 0
    ) -> CrossKeyValues:
        """The memory that this stack's cross-attention reads: one projection per layer."""
        return CrossKeyValues(
            [for_mode(layer.cross, mode).fn.project(context) for layer in self.layers], keep
        )

    def step(
        self,
        x: Float[Tensor, "B 1 D"],
        past: Sequence[KeyValue] | None,
        memory: CrossKeyValues | None = None,
        mode: int = 0,
    ) -> tuple[Float[Tensor, "B 1 D"], list[KeyValue]]:
        """One position more, causally: its output, and the past grown by it. past None: this is the first position."""
        grown = []
        for index, layer in enumerate(self.layers):
            x, row = layer.step(x, past[index] if past else None, memory, index, mode)
            grown.append(row)
        return x, grown


def for_mode(parts: nn.ModuleList, mode: int) -> Any:
    """The variant of a part for this way through: its own where there are several, else the shared one."""
    return parts[mode % len(parts)]


def initialise(module: nn.Module, std: float = 0.02) -> None:
    """Normal weights, zero biases, unit norms: what BERT and ViT start from."""
    for part in module.modules():
        if isinstance(part, nn.Linear | nn.Conv2d | nn.Embedding):
            nn.init.trunc_normal_(part.weight, std=std, a=-2 * std, b=2 * std)
        if isinstance(part, nn.Linear | nn.Conv2d) and part.bias is not None:
            nn.init.zeros_(part.bias)


def initialise_scaled(stack: Stack) -> None:
    """Normal weights in proportion to width, and to depth where a map ends a residual branch (Radford et al., 2019)."""
    for part in stack.modules():
        if isinstance(part, Attention | FeedForward):
            first = part.query.in_features if isinstance(part, Attention) else part.up.in_features
            ends = part.out if isinstance(part, Attention) else part.down
            for linear in part.children():
                std = (first if isinstance(part, Attention) else 2 * first) ** -0.5
                if linear is ends:
                    std = (2 * first * len(stack.layers)) ** -0.5
                nn.init.normal_(linear.weight, std=std)
                nn.init.zeros_(linear.bias)
