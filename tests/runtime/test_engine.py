"""Engines: what is packed, what is shared, what OpenVINO runs, and what an engine refuses."""

from __future__ import annotations

import copy
import subprocess
import sys

import pytest
import torch
from torch import nn

from pairloom.blocks.language import LanguageHead
from pairloom.blocks.text import WRITE, TextTransformer
from pairloom.blocks.transformer import ModeSharing, Stack, TransformerConfig, initialise
from pairloom.blocks.vision import VisionTower
from pairloom.runtime.devices import has_bf16
from pairloom.runtime.engine import engine
from pairloom.runtime.prepacked import PrepackedLinear

SHAPE = TransformerConfig(width=32, depth=2, heads=4, norm="pre", eps=1e-6)
CPU = torch.device("cpu")


def draw(*size: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*size, generator=torch.Generator().manual_seed(seed))


def tower(**changed) -> VisionTower:
    torch.manual_seed(0)
    made = VisionTower(SHAPE._replace(**changed), 32, 8).eval()
    initialise(made, 0.2)
    return made


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("rows", [1, 7, 300])
@torch.no_grad()
def test_a_packed_map_is_the_map(rows, bias):
    linear, x = nn.Linear(48, 40, bias), draw(2, rows, 48)
    packed = PrepackedLinear(linear.weight, linear.bias, torch.float32)
    torch.testing.assert_close(packed(x), linear(x), atol=1e-6, rtol=1e-5)
    half = PrepackedLinear(linear.weight, linear.bias, torch.bfloat16)(x)
    expected = nn.functional.linear(x.bfloat16().float(), linear.weight.bfloat16().float(), linear.bias)
    assert half.dtype == torch.bfloat16
    bent = PrepackedLinear(linear.weight, linear.bias, torch.float32, gelu=True)(x)
    torch.testing.assert_close(bent, nn.functional.gelu(linear(x)), atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(half.float(), expected, atol=0.02, rtol=0.01)


@pytest.mark.parametrize("activation", ["gelu", "quick_gelu"])
@torch.no_grad()
def test_openvino_runs_the_tower(activation):
    pytest.importorskip("openvino")
    from pairloom.runtime.openvino_graph import Graph

    plain, x = tower(activation=activation), draw(3, 3, 32, 32)
    made = engine(plain, "exact")
    assert isinstance(made.stack, Graph) and isinstance(made.norm, nn.Identity)
    for images in (x, x[:1]):
        torch.testing.assert_close(made(images), plain(images), atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_what_a_graph_cannot_run_stays_with_torch():
    from pairloom.runtime.openvino_graph import can_run

    odd = tower()
    odd.stack.layers[0].feed[0].fn.up = nn.Sequential(odd.stack.layers[0].feed[0].fn.up)
    assert can_run(tower().stack) and not can_run(odd.stack)
    assert not can_run(Stack(SHAPE._replace(norm="post"))) and not can_run(Stack(SHAPE, ModeSharing(cross=1)))
    assert engine(tower(depth=0), "exact").implementation == {"": "torch fp32"}  # a residual stem alone
    assert not can_run(Stack(SHAPE._replace(depth=0))) and not can_run(
        Stack(SHAPE._replace(activation="relu"))
    )
    made, x = engine(odd, "exact"), draw(2, 3, 32, 32)
    assert type(made.stack) is Stack
    torch.testing.assert_close(made(x), odd(x), atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_int8_is_taken_where_the_probe_agrees(monkeypatch):
    """Within the guard's cosine of the tower's own rows; a tower with one channel far above the others stays in bf16."""
    pytest.importorskip("openvino")
    from pairloom.runtime import tower_choice

    plain, x = tower(width=64, heads=4, depth=3), draw(3, 3, 32, 32)
    made = engine(plain, "int8")
    assert made.implementation == {"": "openvino int8"}
    cosine = nn.functional.cosine_similarity(made(x), plain(x), dim=-1)
    assert 0.999 < float(cosine.min()) < 1 - 1e-7  # not fp32 by another name
    monkeypatch.setattr(tower_choice, "LEAST_COSINE", 1.0)
    refused = engine(plain, "int8")
    assert refused.implementation[""] in ("openvino bf16", "openvino fp32")
    torch.testing.assert_close(refused(x), engine(plain, "fast")(x))


def test_the_probe_is_a_picture_like_photos():
    from pairloom.runtime.tower_choice import probe

    picture = probe(32)
    assert picture.shape == (1, 3, 32, 32) and torch.equal(picture, probe(32))
    torch.testing.assert_close(float(picture.std()), 1.0, atol=1e-5, rtol=0)
    neighbours = (picture[..., 1:] - picture[..., :-1]).square().mean()
    assert neighbours < 1  # of white noise: 2


def test_importing_openvino_tells_nobody():
    """Its import reports itself to the maker where openvino_telemetry is installed: a graph keeps that package out."""
    pytest.importorskip("openvino")
    check = """
import sys, torch
from pairloom.runtime.openvino_graph import Graph
from pairloom.blocks.transformer import Stack, TransformerConfig
Graph(Stack(TransformerConfig(8, 1, 2, "pre", 1e-6)), torch.nn.LayerNorm(8), torch.float32)
assert sys.modules["openvino_telemetry"] is None
"""
    assert subprocess.run([sys.executable, "-W", "ignore", "-c", check]).returncode == 0


@torch.no_grad()
def test_a_head_packs_the_table_it_is_handed():
    head, words, x = LanguageHead(32, 50, 1e-12), draw(50, 32, seed=1), draw(4, 32, seed=2)
    holder = nn.ModuleDict({"head": head}).eval()
    made = engine(holder, "exact")["head"]
    for _ in range(2):
        torch.testing.assert_close(made(x, words), head(x, words), atol=1e-5, rtol=1e-5)
    if has_bf16(CPU):
        said = engine(holder, "fast")["head"](x, words)
        assert said.dtype == torch.float32 and (said - head(x, words)).abs().max() < 0.2


@torch.no_grad()
def test_steps_of_an_engine_equal_its_whole():
    """The writer's cache works on packed maps, in fp32 as in the network itself."""
    torch.manual_seed(0)
    text = TextTransformer(
        SHAPE._replace(norm="post", context=12), 20, 8, sharing=ModeSharing(attend=2, cross=1)
    ).eval()
    made, tokens = engine(text, "exact"), torch.arange(12).view(2, 6)
    memory = made.stack.project(draw(2, 5, 12), mode=WRITE)
    whole, past = made(tokens, torch.ones(2, 6, dtype=torch.bool), memory, WRITE), None
    for at in range(6):
        x, past = made.step(tokens[:, at], at, past, memory)
        torch.testing.assert_close(x, whole[:, at], atol=1e-5, rtol=1e-4)


def test_what_an_engine_shares_and_drops():
    network = tower()
    network.teacher, network.training_state = copy.deepcopy(network.stack), ("teacher.", "batches")
    made = engine(network, "fast")
    assert made.teacher is None and network.teacher is not None and made.speed == "fast"
    assert made.embed.positions is network.embed.positions
    with pytest.raises(Exception, match="speed"):  # under jaxtyping the type checker is first to refuse it
        engine(network, "quick")
