"""Sub, Layer, Stack: residuals, stochastic depth, sharing, recomputing."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from pairloom.blocks import masks
from pairloom.blocks.transformer import ModeSharing, Residual, Stack, TransformerConfig, for_mode

POST = TransformerConfig(width=16, depth=3, heads=2, norm="post", eps=1e-12, context=12)
PRE = POST._replace(norm="pre")


def draw(*size: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*size, generator=torch.Generator().manual_seed(seed))


def test_where_the_norm_stands():
    x, double = draw(2, 3, 8), nn.Linear(8, 8)
    for place in ("pre", "post"):
        sub = Residual(double, 8, place, 1e-6)
        expected = x + double(sub.norm(x)) if place == "pre" else sub.norm(x + double(x))
        torch.testing.assert_close(sub(x), expected)


def test_stochastic_depth_skips_rows_and_keeps_the_mean():
    torch.manual_seed(0)
    sub, x = Residual(nn.Identity(), 8, "pre", 1e-6, path=0.25), draw(1, 1, 8).expand(4000, 1, 8)
    added = sub(x) - x
    skipped = (added == 0).all(-1)[:, 0]
    assert abs(float(skipped.float().mean()) - 0.25) < 0.03
    torch.testing.assert_close(added[~skipped][0], sub.norm(x[:1])[0] / 0.75)
    torch.testing.assert_close(sub.eval()(x) - x, sub.norm(x), atol=1e-6, rtol=1e-5)


def test_stochastic_depth_grows_with_depth():
    layers = Stack(POST._replace(path=0.1)).layers
    assert (
        [layer.attend[0].path for layer in layers]
        == [layer.feed[0].path for layer in layers]
        == [0.0, 0.05, 0.1]
    )


def test_ways_share_what_has_one_variant():
    layer = Stack(POST, ModeSharing(attend=2, cross=1, feed=1)).layers[0]
    assert for_mode(layer.attend, 0) is not for_mode(layer.attend, 1)
    assert for_mode(layer.cross, 0) is for_mode(layer.cross, 1) and for_mode(layer.feed, 0) is for_mode(
        layer.feed, 1
    )
    assert len(Stack(POST).layers[0].cross) == 0


@pytest.mark.parametrize("shape", [POST, PRE], ids=["post", "pre"])
def test_steps_equal_the_whole(shape):
    torch.manual_seed(0)
    stack = Stack(shape, ModeSharing(attend=2, cross=1)).eval()
    x, memory = draw(2, 4, 16), stack.remember(draw(2, 5, 12), way=1)
    whole = stack(x, masks.causal(torch.ones(2, 4, dtype=torch.bool)), memory, 1)
    past = None
    for at in range(4):
        y, past = stack.step(x[:, at : at + 1], past, memory, 1)
        torch.testing.assert_close(y[:, 0], whole[:, at], atol=1e-5, rtol=1e-4)


def test_recomputing_changes_nothing_but_memory():
    gradients = []
    for recompute in (0, 2):
        torch.manual_seed(0)
        stack = Stack(POST._replace(dropout=0.2, path=0.2), ModeSharing(cross=1)).train()
        stack.recompute = recompute
        stack(draw(2, 4, 16), None, stack.remember(draw(2, 5, 12))).square().sum().backward()
        gradients.append([parameter.grad for parameter in stack.parameters()])
    assert all(torch.equal(one, other) for one, other in zip(*gradients))
