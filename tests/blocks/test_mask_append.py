"""Writing by an appended [MASK]: the cached steps, the one pass over all, and a plain recomputation agree."""

from __future__ import annotations

import torch

from pairloom.blocks.mask_append import append, begin, every_append, prefix_causal
from pairloom.blocks.transformer import Stack, TransformerConfig


def test_the_prefix_never_sees_the_rest() -> None:
    """Two positions of a prefix, one of them padding, and three of a text of two words, as a table of who sees whom."""
    mask = prefix_causal(torch.tensor([[True, False]]), torch.tensor([[True, True, False]]))
    assert mask[0, 0].int().tolist() == [
        [1, 0, 0, 0, 0],
        [1, 0, 0, 0, 0],
        [1, 0, 1, 0, 0],
        [1, 0, 1, 1, 0],
        [1, 0, 1, 1, 1],
    ]  # fmt: skip


@torch.no_grad()
def test_steps_and_the_one_pass_equal_a_recomputation_of_every_prefix() -> None:
    torch.manual_seed(0)
    stack = Stack(TransformerConfig(16, 3, 2, "post", 1e-12)).eval()
    context, real = torch.randn(2, 4, 16), torch.tensor([[True] * 4, [True, True, False, False]])
    words, masks = torch.randn(2, 5, 16), torch.randn(2, 6, 16)
    for first in (0, 1):  # a writer whose first token is fed, and one whose is not
        fed = [words[:, : at + 1 - first] for at in range(5 + first)]
        expected = []
        for at, before in enumerate(fed):
            x = torch.cat([context, before, masks[:, at : at + 1]], 1)
            rest = torch.ones(2, before.shape[1] + 1, dtype=torch.bool)
            expected.append(stack(x, prefix_causal(real, rest))[:, -1])
        (_, state), steps = begin(stack, context, real), []
        for at, before in enumerate(fed):
            new = before[:, -1:] if before.shape[1] else before
            row, state = append(stack, torch.cat([new, masks[:, at : at + 1]], 1), state)
            steps.append(row)
        count = len(fed)
        mask = every_append(real, torch.ones(2, 5, dtype=torch.bool), first)
        whole = stack(torch.cat([context, words, masks[:, :count]], 1), mask)[:, -count:]
        torch.testing.assert_close(torch.stack(steps, 1), torch.stack(expected, 1), atol=1e-6, rtol=1e-5)
        torch.testing.assert_close(whole, torch.stack(expected, 1), atol=1e-6, rtol=1e-5)
        assert state.written == count and state.past[0].keys.shape[2] == 4 + count - first


def test_beams_are_reordered_with_their_past() -> None:
    stack = Stack(TransformerConfig(8, 1, 2, "post", 1e-12)).eval()
    _, state = begin(stack, torch.randn(3, 2, 8), torch.ones(3, 2, dtype=torch.bool))
    state = state.expand(2)
    chosen = state.select(torch.tensor([5, 0]))
    assert (len(state), len(chosen)) == (6, 2)
    assert torch.equal(chosen.past[0].keys, state.past[0].keys[[5, 0]])
