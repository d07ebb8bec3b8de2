"""Residual, Block, Stack: residuals, stochastic depth, sharing, recomputing."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from pairloom.blocks import masks
from pairloom.blocks.multi_image import MultiImageAttention
from pairloom.blocks.transformer import Block, ModeSharing, Residual, Stack, TransformerConfig, for_mode

POST = TransformerConfig(width=16, depth=3, heads=2, norm="post", eps=1e-12, context=12)
PRE = POST._replace(norm="pre")


def draw(*size: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*size, generator=torch.Generator().manual_seed(seed))


def test_where_the_norm_stands():
    x, double = draw(2, 3, 8), nn.Linear(8, 8)
    for place in ("pre", "post"):
        sub = Residual(double, nn.LayerNorm(8), place)
        expected = x + double(sub.norm(x)) if place == "pre" else sub.norm(x + double(x))
        torch.testing.assert_close(sub(x), expected)


def test_stochastic_depth_skips_rows_and_keeps_the_mean():
    torch.manual_seed(0)
    sub, x = Residual(nn.Identity(), nn.LayerNorm(8), "pre", path=0.25), draw(1, 1, 8).expand(4000, 1, 8)
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
    x, memory = draw(2, 4, 16), stack.project(draw(2, 5, 12), mode=1)
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
        stack(draw(2, 4, 16), None, stack.project(draw(2, 5, 12))).square().sum().backward()
        gradients.append([parameter.grad for parameter in stack.parameters()])
    assert all(torch.equal(one, other) for one, other in zip(*gradients))


def test_the_order_of_the_parts_is_the_configs():
    torch.manual_seed(0)
    x, mask = draw(2, 4, 16), masks.causal(torch.ones(2, 4, dtype=torch.bool))
    for order in (("self", "cross", "feed"), ("cross", "self", "feed"), ("self", "feed"), ("cross", "feed")):
        block = Block(POST._replace(order=order), sharing=ModeSharing(cross=1))
        context = block.project(draw(2, 5, 12))
        expected = x
        for part in order:
            if part == "self":
                expected = block.attend[0](expected, None, mask)
            elif part == "cross":
                expected = block.cross[0](expected, context.layers[0])
            else:
                expected = block.feed[0](expected)
        torch.testing.assert_close(block(x, mask, context), expected)


def test_rms_norms_and_maps_without_bias():
    """T5: neither mean nor bias anywhere, and products that are not scaled."""
    torch.manual_seed(0)
    stack, x = (
        Stack(PRE._replace(norm_kind="rms", bias=False, scale=1.0), ModeSharing(cross=1)),
        draw(2, 3, 16),
    )
    assert not [name for name, _ in stack.named_parameters() if name.endswith("bias")]
    norm = stack.layers[0].feed[0].norm
    torch.testing.assert_close(norm(x), x / (x.square().mean(-1, keepdim=True) + 1e-12).sqrt())
    assert stack.layers[0].attend[0].fn.scale == stack.layers[0].cross[0].fn.scale == 1.0


def test_another_cross_attention_takes_the_place_of_the_plain_one():
    stack = Stack(
        POST, ModeSharing(cross=1), lambda index: MultiImageAttention(2, 16, 2, 12, merge=index > 0)
    )
    assert [layer.cross[0].fn.merge is None for layer in stack.layers] == [True, False, False]
    context = stack.project(draw(2, 6, 12))
    assert stack(draw(2, 4, 16), None, context).shape == (2, 4, 16)
