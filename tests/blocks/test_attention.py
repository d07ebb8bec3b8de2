"""Attention, and rows that share a context, against the plain way of computing the same."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pairloom.blocks import masks
from pairloom.blocks.attention import Attention
from pairloom.blocks.cross import CrossAttention
from pairloom.blocks.grouping import GroupedRows
from pairloom.blocks.transformer import ModeSharing, Stack, TransformerConfig

SHAPE = TransformerConfig(width=16, depth=2, heads=2, norm="post", eps=1e-12, context=12)


def draw(*size: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*size, generator=torch.Generator().manual_seed(seed))


def test_attention_by_hand():
    """One head: softmax(q k / sqrt d) v, then the output projection."""
    torch.manual_seed(0)
    layer, x = Attention(8, 1), draw(2, 3, 8)
    weights = (layer.query(x) @ layer.key(x).transpose(1, 2) / 8**0.5).softmax(-1)
    torch.testing.assert_close(layer(x), layer.out(weights @ layer.value(x)))


def test_heads_must_divide_the_width():
    with pytest.raises(ValueError, match="multiple of 3 heads"):
        Attention(8, 3)


@settings(max_examples=40, deadline=None)
@given(owner=st.lists(st.integers(0, 3), min_size=1, max_size=9))
def test_shared_contexts_read_what_copies_would(owner):
    torch.manual_seed(0)
    layer, context, rows = CrossAttention(16, 2, 12), draw(4, 5, 12), torch.tensor(owner)
    x = draw(len(owner), 3, 16, seed=1)
    read = layer.project(context)
    expected = layer(x, read.select(rows))
    torch.testing.assert_close(layer(x, read, None, GroupedRows(rows, 4)), expected, atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(GroupedRows(rows, 4).unpad(GroupedRows(rows, 4).pad(x)), x)


def test_even_neighbours_are_grouped_without_a_copy():
    x = draw(6, 3, 16)
    packing = GroupedRows(torch.tensor([0, 0, 1, 1, 2, 2]), 3)
    assert packing.even and packing.pad(x).data_ptr() == x.data_ptr()
    assert (
        not GroupedRows(torch.tensor([0, 1, 0, 1]), 2).even
        and not GroupedRows(torch.tensor([0, 0, 0, 1]), 2).even
    )


def test_a_row_must_have_a_context():
    with pytest.raises(ValueError, match="reads context 4"):
        GroupedRows(torch.tensor([0, 4]), 4)


def test_a_context_may_be_padded():
    torch.manual_seed(0)
    stack = Stack(SHAPE, ModeSharing(cross=1)).eval()
    x, context, keep = draw(2, 3, 16), draw(2, 5, 12), torch.tensor([[1, 1, 1, 1, 1], [1, 1, 0, 0, 0]]).bool()
    padded = stack(x, None, stack.project(context, keep))
    torch.testing.assert_close(padded[1:], stack(x[1:], None, stack.project(context[1:, :2])))


def test_masks():
    keep = torch.tensor([[True, True, False]])
    assert masks.padding(keep).int().tolist() == [[[[1, 1, 0]]]]
    assert masks.causal(keep).int().tolist() == [[[[1, 0, 0], [1, 1, 0], [1, 1, 0]]]]
