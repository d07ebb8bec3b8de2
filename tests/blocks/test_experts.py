"""Position-wise experts: each position by the map of its kind, in its own place."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from pairloom.blocks.experts import Experts, Routing
from pairloom.blocks.transformer import Stack, TransformerConfig

CONFIG = TransformerConfig(width=16, depth=2, heads=2, norm="pre", eps=1e-6, experts=2)


def test_each_position_goes_through_the_expert_of_its_kind():
    torch.manual_seed(0)
    experts, x = Experts(nn.Linear(4, 4) for _ in range(3)), torch.randn(2, 5, 4)
    kinds = [2, 0, 2, 2, 0]  # nobody is of kind 1
    expected = torch.stack([experts.each[kind](x[:, at]) for at, kind in enumerate(kinds)], 1)
    torch.testing.assert_close(experts(x, Routing.of(torch.tensor(kinds), 3)), expected)
    torch.testing.assert_close(experts(x), experts.each[0](x))
    with pytest.raises(ValueError, match="kind 3, but there are 3"):
        Routing.of(torch.tensor([3]), 3)


def test_experts_share_attention_and_learn_apart():
    """A text position hears of the picture by attention, and its feed-forward part is the text's alone."""
    torch.manual_seed(0)
    stack, x = Stack(CONFIG), torch.randn(2, 6, 16)
    routing = Routing.of(torch.tensor([0, 0, 0, 1, 1, 1]), 2)
    assert [len(layer.feed[0].each) for layer in stack.layers] == [2, 2]
    stack(x, None, None, 0, routing)[:, 3:].square().sum().backward()
    last = stack.layers[-1]
    assert all(
        parameter.grad is None or not parameter.grad.any() for parameter in last.feed[0].each[0].parameters()
    )
    assert all(parameter.grad.any() for parameter in last.feed[0].each[1].parameters())
    assert all(parameter.grad.any() for parameter in stack.layers[0].feed[0].each[0].parameters())
    assert stack.train()(x, None, None, 0, routing).shape == x.shape


def test_one_expert_is_no_expert():
    stack = Stack(CONFIG._replace(experts=1))
    assert "layers.0.feed.0.fn.up.weight" in stack.state_dict()
