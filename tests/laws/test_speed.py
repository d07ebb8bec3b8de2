"""Laws of engines: every system says at each speed what it says itself, within what docs/speed.md promises."""

from __future__ import annotations

import importlib.util
import sys

import pytest
import torch
from test_systems import answers, batch, module, same, system  # noqa: F401

from pairloom.runtime import engine as engines
from pairloom.runtime import prepacked
from pairloom.runtime.devices import has_bf16
from pairloom.runtime.engine import engine

bf16 = pytest.mark.skipif(not has_bf16(torch.device("cpu")), reason="this processor has no bf16")


@torch.no_grad()
def test_exact_says_the_same(system, batch):  # noqa: F811
    same(answers(system, batch), answers(engine(system, "exact"), batch))


@torch.no_grad()
def test_exact_says_the_same_without_openvino_and_without_packing(system, batch, monkeypatch):  # noqa: F811
    monkeypatch.setitem(sys.modules, "openvino", None)
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "openvino" else find_spec(name)
    )
    monkeypatch.setattr(prepacked, "_laid", lambda weight: None)
    same(answers(system, batch), answers(engine(system, "exact"), batch))


@bf16
@torch.no_grad()
@pytest.mark.parametrize("speed", ["fast", "int8"])
def test_fast_says_nearly_the_same(system, batch, speed):  # noqa: F811
    """The weights of this law are ten times those of a fresh network, so errors are too: 5 % of an answer's spread."""
    expected, said = answers(system, batch), answers(engine(system, speed), batch)
    for name, value in expected.items():
        spread = float(value.float().std())
        assert float((said[name].float() - value).square().mean().sqrt()) < 0.05 * spread, name


@torch.no_grad()
def test_fast_is_exact_where_there_is_no_bf16(system, batch, monkeypatch):  # noqa: F811
    monkeypatch.setattr(engines, "has_bf16", lambda device: False)
    same(answers(system, batch), answers(engine(system, "fast"), batch))


def test_the_network_stays_what_it_was(system, batch):  # noqa: F811
    before = {name: tensor.clone() for name, tensor in system.state_dict().items()}
    kinds = [type(part) for part in system.modules()]
    engine(system, "fast")
    assert [type(part) for part in system.modules()] == kinds
    assert all(torch.equal(tensor, before[name]) for name, tensor in system.state_dict().items())
