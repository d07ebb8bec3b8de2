"""TextTransformer: segments, and how a text begins."""

from __future__ import annotations

import torch

from pairloom.blocks.embed import TextEmbed
from pairloom.blocks.text import TextTransformer, begin_with
from pairloom.blocks.transformer import TransformerConfig

CONFIG = TransformerConfig(width=16, depth=1, heads=2, norm="post", eps=1e-12)
TOKENS = torch.tensor([[1, 2, 3, 4]])


def test_a_segment_is_added_to_word_and_position():
    torch.manual_seed(0)
    embed, kinds = TextEmbed(9, 6, 8, None, 0.0, segments=2), torch.tensor([[0, 0, 1, 1]])
    expected = embed.words(TOKENS) + embed.positions.weight[:4] + embed.segments(kinds)
    torch.testing.assert_close(embed(TOKENS, 0, kinds), expected)
    torch.testing.assert_close(embed(TOKENS), embed(TOKENS, 0, torch.zeros_like(TOKENS)))
    assert "segments.weight" not in TextEmbed(9, 6, 8, None, 0.0).state_dict()


def test_a_tower_hands_segments_to_its_embedding():
    torch.manual_seed(0)
    tower, mask = TextTransformer(CONFIG, 9, 6, segments=2).eval(), torch.ones_like(TOKENS, dtype=torch.bool)
    plain = tower(TOKENS, mask)
    assert torch.equal(tower(TOKENS, mask, segments=torch.zeros_like(TOKENS)), plain)
    other = tower(TOKENS, mask, segments=torch.ones_like(TOKENS))
    assert not torch.allclose(other, plain)
    assert torch.equal(tower.first(TOKENS, mask, segments=torch.ones_like(TOKENS)), other[:, 0])


def test_another_first_token():
    assert begin_with(7, TOKENS).tolist() == [[7, 2, 3, 4]] and TOKENS[0, 0] == 1
