"""Relative position biases: T5's against transformers, BEiT's by its definition."""

from __future__ import annotations

import pytest
import torch

from pairloom.blocks import masks
from pairloom.blocks.attention import Attention
from pairloom.blocks.relative import BucketedBias, GridBias, biased


@pytest.mark.parametrize("causal", [False, True])
def test_buckets_are_those_of_t5(causal):
    t5 = pytest.importorskip("transformers.models.t5.modeling_t5")
    distance = torch.arange(-300, 301)
    for buckets, farthest in ((32, 128), (16, 40)):
        ours = BucketedBias(2, buckets, farthest, causal).bucket(distance)
        theirs = t5.T5Attention._relative_position_bucket(distance, not causal, buckets, farthest)
        assert torch.equal(ours, theirs)


def test_a_cached_writer_has_the_last_rows_of_the_whole():
    bias = BucketedBias(3, 8, 16, causal=True)
    whole = bias(7, 7)
    assert whole.shape == (1, 3, 7, 7) and torch.equal(bias(2, 7), whole[:, :, 5:])
    assert torch.equal(whole[0, :, 4, 1], bias.table.weight[bias.bucket(torch.tensor(-3))])


def test_grid_is_that_of_beit():
    """Entry by entry: an offset down and right, then from the class row, to it, and to itself."""
    torch.manual_seed(0)
    bias, side = GridBias(2, 3), 3
    torch.nn.init.normal_(bias.table)
    values = bias()
    assert values.shape == (1, 2, 10, 10)
    for query in range(9):
        for key in range(9):
            down, right = query // side - key // side + 2, query % side - key % side + 2
            assert torch.equal(values[0, :, query + 1, key + 1], bias.table[down * 5 + right])
    assert torch.equal(values[0, :, 0, 4], bias.table[25]) and torch.equal(values[0, :, 4, 0], bias.table[26])
    assert torch.equal(values[0, :, 0, 0], bias.table[27]) and "places" not in bias.state_dict()
    assert GridBias(2, 3, class_row=False)().shape == (1, 2, 9, 9)


def test_a_bias_is_added_where_a_position_may_be_seen():
    torch.manual_seed(0)
    attention, x = Attention(8, 2, scale=1.0, bias=False), torch.randn(1, 4, 8)
    bias, mask = torch.randn(1, 2, 4, 4), masks.causal(torch.ones(1, 4, dtype=torch.bool))
    query, key, value = (
        attention.split(part(x)) for part in (attention.query, attention.key, attention.value)
    )
    weights = (query @ key.transpose(2, 3) + bias).masked_fill(~mask, -1e30).softmax(-1)
    expected = attention.out((weights @ value).transpose(1, 2).flatten(2))
    torch.testing.assert_close(attention(x, None, biased(bias, mask)), expected)
    assert biased(bias, None) is bias and not attention.query.bias
