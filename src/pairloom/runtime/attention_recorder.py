"""Attention recorder: the weights of cross-attention while a system runs. Fused attention does not return its weights, so the
recorder replaces it by explicit attention inside its `with` block, in cross-attention alone.


M contexts, H heads, T positions (of all rows of a context), S positions of a context.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from pairloom.blocks.transformer import Block


class AttentionRecorder(TorchFunctionMode):
    """`with AttentionRecorder(system) as recorder:` the weights [M H T S] of every cross-attention of a Block that runs inside,
    in `recorder.weights` in the order of the calls, with their graph. The outputs stay the same, up to rounding."""

    def __init__(self, system: nn.Module) -> None:
        super().__init__()
        self.weights: list[Tensor] = []
        self._inside = False
        blocks = [part for part in system.modules() if isinstance(part, Block)]
        self._recorded = [residual.fn for block in blocks for residual in block.cross]
        self._hooks: list[Any] = []

    def __enter__(self) -> AttentionRecorder:
        for part in self._recorded:
            self._hooks.append(part.register_forward_pre_hook(lambda *_: self._turn(True)))
            self._hooks.append(part.register_forward_hook(lambda *_: self._turn(False)))
        super().__enter__()
        return self

    def __exit__(self, *raised: Any) -> None:
        super().__exit__(*raised)
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
        mask: Tensor | None = None,
        dropout: float = 0.0,
        scale: float | None = None,
    ) -> Tensor:
        scores = query @ keys.transpose(-1, -2) / math.sqrt(query.shape[-1])
        if scale is not None:
            scores = scores * (scale * math.sqrt(query.shape[-1]))
        if mask is not None and mask.dtype == torch.bool:
            scores = scores.masked_fill(~mask, -math.inf)
        elif mask is not None:
            scores = scores + mask
        weights = scores.softmax(-1)
        if torch.is_grad_enabled() and not weights.requires_grad:
            weights.requires_grad_()
        self.weights.append(weights)
        return F.dropout(weights, dropout) @ values
