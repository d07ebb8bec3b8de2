"""Watch: what cross-attention weighs, seen and not changed."""

from __future__ import annotations

import torch

from pairloom.blocks.transformer import ModeSharing, Stack, TransformerConfig
from pairloom.runtime.attention_recorder import AttentionRecorder


def stack() -> tuple[Stack, torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    made = Stack(TransformerConfig(16, 3, 4, "post", 1e-12, context=8), ModeSharing(cross=1)).eval()
    return made, torch.randn(2, 5, 16), torch.randn(2, 7, 8)


def test_weights_of_each_layer_and_the_same_answer() -> None:
    made, x, context = stack()
    keep = torch.arange(7) < torch.tensor([[7], [4]])
    memory = made.project(context, keep)
    plain = made(x, None, memory)
    with AttentionRecorder(made) as seen:
        watched = made(x, None, memory)
    torch.testing.assert_close(watched, plain, atol=1e-6, rtol=1e-5)
    assert [weights.shape for weights in seen.weights] == [(2, 4, 5, 7)] * 3  # cross-attention alone
    for weights in seen.weights:
        torch.testing.assert_close(weights.sum(-1), torch.ones(2, 4, 5))
        assert float(weights[1, :, :, 4:].detach().abs().max()) == 0  # what is not real is not looked at
    attend = made.layers[0].cross[0]
    query = attend.fn.split(attend.fn.query(made.layers[0].attend[0](x, None, None)))
    expected = (query @ memory.layers[0].keys.transpose(2, 3) / 2).masked_fill(~keep[:, None, None], -1e30)
    torch.testing.assert_close(seen.weights[0], expected.softmax(-1))


def test_nothing_is_watched_afterwards() -> None:
    made, x, context = stack()
    with AttentionRecorder(made) as seen:
        pass
    made(x, None, made.project(context))
    assert not seen.weights and not any(part._forward_hooks for part in made.modules())


def test_the_score_has_a_gradient_with_respect_to_the_weights() -> None:
    made, x, context = stack()
    made.requires_grad_(False)  # frozen systems can be explained too
    with AttentionRecorder(made) as seen:
        said = made(x, None, made.project(context))
    (gradient,) = torch.autograd.grad(said[:, 0].sum() + said.square().sum(), seen.weights[1])
    assert gradient.shape == seen.weights[1].shape and float(gradient.abs().max()) > 0
