"""Watch: keep what cross-attention weighs, while somebody looks on. Fused attention gives no weights, so it is taken apart
for as long as the watch lasts, and only in the layers that are watched.

Knows no paper, and not what the weights are good for.

M memories, H heads, T positions (of all rows of a memory), S positions of a memory.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from pairloom.blocks.transformer import Layer


class AttentionRecorder(TorchFunctionMode):
    """`with Watch(system) as seen:` the weights [M H T S] of every cross-attention that runs inside, in `seen.weights` in
    the order of the calls, with their graph. What the system answers stays the same, up to rounding."""

    def __init__(self, system: nn.Module) -> None:
        super().__init__()
        self.weights: list[Tensor] = []
        self._inside = False
        layers = [part for part in system.modules() if isinstance(part, Layer)]
        self._watched = [sub.fn for layer in layers for sub in layer.cross]
        self._hooks: list[Any] = []

    def __enter__(self) -> AttentionRecorder:
        for part in self._watched:
            self._hooks.append(part.register_forward_pre_hook(lambda *_: self._turn(True)))
            self._hooks.append(part.register_forward_hook(lambda *_: self._turn(False)))
        super().__enter__()
        return self

    def __exit__(self, *told: Any) -> None:
        super().__exit__(*told)
        for hook in self._hooks:
            hook.remove()
        self._hooks.clear()

    def _turn(self, inside: bool) -> None:
        self._inside = inside

    def __torch_function__(
        self,
        function: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        if function is F.scaled_dot_product_attention and self._inside:
            return self._attend(*args, **(kwargs or {}))
        return function(*args, **(kwargs or {}))

    def _attend(
        self,
        query: Tensor,
        keys: Tensor,
        values: Tensor,
        attn_mask: Tensor | None = None,
        dropout_p: float = 0.0,
    ) -> Tensor:
        scores = query @ keys.transpose(-1, -2) / math.sqrt(query.shape[-1])
        if attn_mask is not None:
            scores = scores.masked_fill(~attn_mask, float("-inf"))
        weights = scores.softmax(-1)
        if torch.is_grad_enabled() and not weights.requires_grad:
            weights.requires_grad_()
        self.weights.append(weights)
        return F.dropout(weights, dropout_p) @ values
