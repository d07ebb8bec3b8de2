"""Choice of what runs a vision transformer: torch with prepacked weights, or OpenVINO's graph of it, timed on this machine.

int8 is a candidate only where it was asked for, and is taken only if the tower's own output hardly changes: some trained
towers have single channels a hundred times the rest, and int8 loses what lies beside them.

P rows of a picture, D width.
"""

from __future__ import annotations

import copy
import importlib.util
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from pairloom.blocks.vision import VisionTower
from pairloom.runtime.candidates import choose
from pairloom.runtime.prepacked import prepack

LEAST_COSINE = 0.999  # of a row of int8 with the same row in fp32, on the probe
TIMED_LAYERS = 2
WORTH_TIMING = 10**9  # multiplications for a picture: below, a choice saves less than it costs


def run_tower(tower: VisionTower, dtype: torch.dtype, int8: bool) -> str:
    """Replace the stack and last norm of a tower by what runs them fastest in this arithmetic; returns its name.

    dtype: of products. int8: linear maps may multiply in int8.
    """
    stack, norm = tower.stack, tower.norm
    names = [f"torch {_name(dtype)}"]
    if tower.embed.positions.device.type == "cpu" and _has_openvino(stack):
        names = [f"openvino {_name(dtype)}", *names]
        if int8:
            cosine = int8_cosine(tower, dtype)
            names = ["openvino int8", *names] if cosine >= LEAST_COSINE else names
    choice = _fastest(tower, names, dtype)
    if choice.startswith("openvino"):
        from pairloom.runtime.openvino_graph import Graph

        tower.stack, tower.norm = Graph(stack, norm, dtype, choice == "openvino int8"), nn.Identity()
    return choice


@torch.no_grad()
def int8_cosine(tower: VisionTower, dtype: torch.dtype) -> float:
    """Least cosine, over the rows of a probe picture, of the tower's output in int8 with the one in fp32."""
    from pairloom.runtime.openvino_graph import Graph

    rows = tower.first_norm(tower.embed(probe(tower.embed.image_size)))
    plain = tower.norm(tower.stack(rows))
    quantised = Graph(tower.stack, tower.norm, dtype, int8=True)(rows)
    return float(F.cosine_similarity(quantised, plain, dim=-1).min())


def probe(size: int) -> Float[Tensor, "1 3 X X"]:
    """A picture of coloured noise with the power spectrum of photos, 1 / f^2 (Field, 1987), normalised."""
    noise = torch.randn(1, 3, size, size, generator=torch.Generator().manual_seed(0))
    frequency = torch.fft.fftfreq(size)[:, None].square() + torch.fft.rfftfreq(size)[None].square()
    spectrum = torch.fft.rfft2(noise) / frequency.clamp(min=1 / size**2).sqrt()
    picture = torch.fft.irfft2(spectrum, s=(size, size))
    return (picture - picture.mean()) / picture.std()


def _fastest(tower: VisionTower, names: list[str], dtype: torch.dtype) -> str:
    stack, rows = tower.stack, tower.embed.positions.shape[1]
    width = tower.embed.positions.shape[2]
    weights = sum(parameter.numel() for parameter in stack.parameters())
    if weights * rows < WORTH_TIMING:
        return names[0]
    layer = stack.layers[0]
    shape = {
        "rows": rows,
        "width": width,
        "heads": layer.attend[0].fn.heads,
        "hidden": layer.feed[0].fn.up.out_features,
        "activation": layer.feed[0].fn.activation,
    }
    x = torch.randn(1, rows, width, generator=torch.Generator().manual_seed(0))
    return choose(shape, {name: _candidate(stack, name, dtype, x) for name in names})


def _candidate(stack: Any, name: str, dtype: torch.dtype, x: Tensor) -> Callable[[], Callable[[], Any]]:
    def build() -> Callable[[], Any]:
        short = copy.deepcopy(stack, {id(tensor): tensor for tensor in stack.parameters()})
        short.layers = short.layers[:TIMED_LAYERS]
        network: nn.Module = short
        if name.startswith("openvino"):
            from pairloom.runtime.openvino_graph import Graph

            network = Graph(short, nn.Identity(), dtype, name == "openvino int8")
        else:
            prepack(short, dtype)

        @torch.no_grad()
        def call() -> Tensor:
            output: Tensor = network(x)
            return output

        return call

    return build


def _has_openvino(stack: nn.Module) -> bool:
    if importlib.util.find_spec("openvino") is None:
        return False
    from pairloom.runtime.openvino_graph import can_run

    return can_run(stack)


def _name(dtype: torch.dtype) -> str:
    return "bf16" if dtype == torch.bfloat16 else "fp32"
