"""OpenVINO graph: a pre-norm Stack and its last norm as one graph, compiled once and held in memory.

The graph is built from OpenVINO's own operators; nothing is traced, exported or written to disk. In int8 a weight is rounded
for each output channel, once, and activations in groups when they are multiplied (dynamic quantisation, Yao et al., 2022,
"ZeroQuant"); attention itself stays in floats.
Does not know: masks, memories (an image tower has none), gradients.

B pictures, P rows, D width.
"""

from __future__ import annotations

import sys
from typing import Any

import numpy
import torch
from jaxtyping import Float
from torch import Tensor, nn

from pairloom.blocks.attention import Attention
from pairloom.blocks.feed import FeedForward
from pairloom.blocks.transformer import Block, Residual, Stack

GROUP = (
    "192"  # activations that share a step of int8: 32 are more exact and slower, 768 coarser and no faster
)
PRECISION = {torch.float32: "f32", torch.bfloat16: "bf16"}


def can_run(stack: nn.Module) -> bool:
    """Whether a network is a plain pre-norm stack: one mode, no cross-attention, linear layers of torch's own class."""
    return type(stack) is Stack and len(stack.layers) > 0 and all(map(_is_plain, stack.layers))


def _is_plain(block: Block) -> bool:
    if len(block.attend) != 1 or len(block.cross) or len(block.feed) != 1 or block.order[0] == "feed":
        return False
    attend, feed = block.attend[0], block.feed[0]
    return (
        all(type(part) is Residual and part.place == "pre" for part in (attend, feed))
        and all(isinstance(part.norm, nn.LayerNorm | nn.Identity) for part in (attend, feed))
        and type(attend.fn) is Attention
        and attend.fn.scale is None
        and type(feed.fn) is FeedForward
        and feed.fn.activation in ("gelu", "quick_gelu")
        and all(type(part) is nn.Linear for fn in (attend.fn, feed.fn) for part in fn.children())
    )


class Graph(nn.Module):
    """Compiled graph of norm(stack(x)); input and output are fp32.

    dtype: of products (fp32 or bf16). int8: linear maps multiply in int8 instead.
    """

    def __init__(self, stack: Stack, norm: nn.Module, dtype: torch.dtype, int8: bool = False) -> None:
        super().__init__()
        sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]  # else importing tells the maker
        import openvino

        self.threads = torch.get_num_threads()
        settings: dict[str, Any] = {
            "INFERENCE_PRECISION_HINT": PRECISION[dtype],
            "INFERENCE_NUM_THREADS": self.threads,
            "PERFORMANCE_HINT": "LATENCY",
        }
        if int8:
            settings["DYNAMIC_QUANTIZATION_GROUP_SIZE"] = GROUP
        self.compiled = openvino.Core().compile_model(_build(stack, norm, int8), "CPU", settings)

    def forward(self, x: Float[Tensor, "B P D"]) -> Float[Tensor, "B P D"]:
        return torch.from_numpy(self.compiled(x.detach().float().contiguous().numpy())[0])


def _build(stack: Stack, norm: nn.Module, int8: bool) -> Any:
    import openvino
    from openvino import opset13 as op

    def fixed(tensor: Tensor) -> Any:
        return op.constant(tensor.detach().float().contiguous().numpy(), shared_memory=True)

    def whole(*numbers: int) -> Any:
        return op.constant(numpy.array(numbers))

    def rounded(weight: Tensor) -> Any:
        step = (weight.detach().float().abs().amax(1, keepdim=True) / 127).clamp(min=1e-30)
        whole_steps = (weight.detach().float() / step).round().to(torch.int8).numpy()
        return op.multiply(op.convert(op.constant(whole_steps), numpy.float32), op.constant(step.numpy()))

    def linear(x: Any, part: Any) -> Any:
        y = op.matmul(x, (rounded if int8 else fixed)(part.weight), False, True)
        return y if part.bias is None else op.add(y, fixed(part.bias))

    def normed(x: Any, part: Any) -> Any:
        if isinstance(part, nn.Identity):
            return x
        y = op.mvn(x, whole(-1), True, part.eps, "inside_sqrt")
        return op.add(op.multiply(y, fixed(part.weight)), fixed(part.bias))

    def heads(x: Any, part: Any) -> Any:
        return op.transpose(op.reshape(x, whole(0, 0, part.heads, -1), True), whole(0, 2, 1, 3))

    def attend(x: Any, part: Any) -> Any:
        query, key, value = (
            heads(linear(x, projection), part) for projection in (part.query, part.key, part.value)
        )
        y = op.transpose(op.scaled_dot_product_attention(query, key, value), whole(0, 2, 1, 3))
        return linear(op.reshape(y, whole(0, 0, part.query.out_features), True), part.out)

    def activated(x: Any, kind: str) -> Any:
        if kind == "gelu":
            return op.gelu(x, "erf")
        return op.multiply(x, op.sigmoid(op.multiply(x, op.constant(numpy.float32(1.702)))))

    x = rows = op.parameter([-1, -1, stack.layers[0].attend[0].norm.normalized_shape[0]], numpy.float32)
    for layer in stack.layers:
        sub = layer.attend[0]
        x = op.add(x, attend(normed(x, sub.norm), sub.fn))
        sub = layer.feed[0]
        wide = activated(linear(normed(x, sub.norm), sub.fn.up), sub.fn.activation)
        x = op.add(x, linear(wide, sub.fn.down))
    return openvino.Model([op.result(normed(x, norm))], [rows], "stack")
