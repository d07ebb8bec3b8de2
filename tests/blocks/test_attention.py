"""Attention, folds and caches against the plain way of computing the same."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pairloom.blocks import masks
from pairloom.blocks.attention import Attention, CrossKeyValues, KeyValue, PackedSequence
from pairloom.blocks.cache import Cache
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
def test_fold_reads_what_copies_would(owner):
    torch.manual_seed(0)
    layer, context, rows = Attention(16, 2, 12), draw(4, 5, 12), torch.tensor(owner)
    x = draw(len(owner), 3, 16, seed=1)
    read = layer.project(context)
    expected = layer(x, read.select(rows))
    torch.testing.assert_close(layer(x, read, None, PackedSequence(rows, 4)), expected, atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(PackedSequence(rows, 4).back(PackedSequence(rows, 4).into(x)), x)


def test_even_neighbours_are_folded_without_a_copy():
    x = draw(6, 3, 16)
    packing = PackedSequence(torch.tensor([0, 0, 1, 1, 2, 2]), 3)
    assert packing.even and packing.into(x).data_ptr() == x.data_ptr()
    assert (
        not PackedSequence(torch.tensor([0, 1, 0, 1]), 2).even
        and not PackedSequence(torch.tensor([0, 0, 0, 1]), 2).even
    )


def test_a_row_must_have_a_memory():
    with pytest.raises(ValueError, match="reads memory 4"):
        PackedSequence(torch.tensor([0, 4]), 4)


def test_a_memory_may_be_padded():
    torch.manual_seed(0)
    stack = Stack(SHAPE, ModeSharing(cross=1)).eval()
    x, context, keep = draw(2, 3, 16), draw(2, 5, 12), torch.tensor([[1, 1, 1, 1, 1], [1, 1, 0, 0, 0]]).bool()
    padded = stack(x, None, stack.remember(context, keep))
    torch.testing.assert_close(padded[1:], stack(x[1:], None, stack.remember(context[1:, :2])))


def test_masks():
    keep = torch.tensor([[True, True, False]])
    assert masks.padding(keep).int().tolist() == [[[[1, 1, 0]]]]
    assert masks.causal(keep).int().tolist() == [[[[1, 0, 0], [1, 1, 0], [1, 1, 0]]]]


def test_a_cache_drops_the_memories_that_nobody_reads():
    layer = KeyValue(draw(4, 1, 2, 3), draw(4, 1, 2, 3, seed=1))
    cache = Cache(CrossKeyValues([layer]).read_by(torch.arange(4)), torch.arange(4), [layer], 2)
    wide = cache.expand(3)
    assert len(wide) == 12 and len(wide.memory) == 4 and wide.memory.layers[0] is layer
    some = wide.select(torch.tensor([10, 11, 3]))
    assert len(some) == 3 and len(some.memory) == 2 and some.at == 2
    assert torch.equal(some.memory.layers[0].keys[some.owner], layer.keys[[3, 3, 1]])
    assert torch.equal(some.past[0].values, layer.values[[3, 3, 1]])
