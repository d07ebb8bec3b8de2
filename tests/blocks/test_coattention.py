"""Co-attention: two streams that read each other as they were."""

from __future__ import annotations

import pytest
import torch

from pairloom.blocks.coattention import CoAttentionBlock
from pairloom.blocks.transformer import TransformerConfig

TEXT = TransformerConfig(width=16, depth=1, heads=2, norm="post", eps=1e-12, order=("cross", "feed"))
IMAGE = TEXT._replace(width=24, inside=16)


def streams() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(2, 4, 24, generator=generator), torch.randn(2, 3, 16, generator=generator)


def test_vilbert_reads_the_other_stream_and_not_itself():
    torch.manual_seed(0)
    block, (image, text) = CoAttentionBlock(IMAGE, TEXT), streams()
    assert not len(block.first.attend) and block.first.cross[0].fn.query.out_features == 16
    cross, feed = block.first.cross[0], block.first.feed[0]
    read = cross.fn(image, cross.fn.project(text))
    expected = feed(cross.norm(image + read))
    torch.testing.assert_close(block(image, text)[0], expected)
    changed = block(image[:, :1], text)[0]  # a region does not see other regions here
    torch.testing.assert_close(changed, expected[:, :1])


def test_both_read_what_the_other_was():
    torch.manual_seed(0)
    block, (image, text) = CoAttentionBlock(IMAGE, TEXT), streams()
    alone = block.second(text, None, block.second.project(image))
    torch.testing.assert_close(block(image, text)[1], alone)


def test_lxmert_shares_its_cross_attention_then_attends_to_itself():
    torch.manual_seed(0)
    config = TEXT._replace(order=("cross", "self", "feed"))
    block = CoAttentionBlock(config, config, shared=True)
    x, y = torch.randn(2, 4, 16), torch.randn(2, 3, 16)
    cross, own, feed = block.first.cross[0], block.first.attend[0], block.first.feed[0]
    torch.testing.assert_close(block(x, y)[0], feed(own(cross(x, cross.fn.project(y)))))
    assert block.second.cross[0] is cross and block.second.attend[0] is not own
    torch.testing.assert_close(
        block(x, y)[1], block.second.feed[0](block.second.attend[0](cross(y, cross.fn.project(x))))
    )


def test_padding_of_either_stream_says_nothing():
    torch.manual_seed(0)
    block, (image, text) = CoAttentionBlock(IMAGE, TEXT._replace(order=("cross", "self", "feed"))), streams()
    image_mask = torch.tensor([[1, 1, 1, 0], [1, 1, 1, 1]]).bool()
    text_mask = torch.tensor([[1, 1, 1], [1, 1, 0]]).bool()
    x, y = block(image, text, image_mask, text_mask)
    torch.testing.assert_close(y[:1], block(image[:1, :3], text[:1])[1])
    torch.testing.assert_close(x[1:], block(image[1:], text[1:, :2])[0])


def test_what_does_not_go_together():
    with pytest.raises(ValueError, match="before all else"):
        CoAttentionBlock(TEXT._replace(order=("self", "cross", "feed")), TEXT)
    with pytest.raises(ValueError, match="24 and 16"):
        CoAttentionBlock(IMAGE, TEXT, shared=True)
