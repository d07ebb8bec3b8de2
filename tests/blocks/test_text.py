"""TextTower: texts packed without padding say what padded ones do."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pairloom.blocks.text import READ, WRITE, TextTower
from pairloom.blocks.transformer import ModeSharing, TransformerConfig

SHAPE = TransformerConfig(width=16, depth=2, heads=2, norm="post", eps=1e-12, context=12)
T = 6


def draw(*size: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*size, generator=torch.Generator().manual_seed(seed))


def tower(norm: str) -> TextTower:
    torch.manual_seed(0)
    return TextTower(SHAPE._replace(norm=norm), 20, T, sharing=ModeSharing(cross=1))


@settings(max_examples=60, deadline=None)
@given(
    texts=st.lists(st.tuples(st.integers(1, T), st.integers(0, 2)), min_size=1, max_size=7),
    way=st.sampled_from([READ, WRITE]),
    norm=st.sampled_from(["pre", "post"]),
    grounded=st.booleans(),
    ragged=st.booleans(),
)
def test_packed_texts_say_what_padded_ones_do(texts, way, norm, grounded, ragged):
    """Any lengths, any picture for each text, memories with padding of their own. Dropout is 0, so training says the
    same as asking, but packs nothing."""
    reader = tower(norm)
    lengths, owner = (torch.tensor(column) for column in zip(*texts))
    keep = torch.arange(T) < lengths[:, None]
    tokens = torch.arange(len(texts) * T).view(-1, T) % 20
    memory = None
    if grounded:
        real = torch.tensor([[1, 1, 1], [1, 0, 1], [1, 1, 0]]).bool() if ragged else None
        memory = reader.stack.remember(draw(3, 3, 12), real).read_by(owner)
    expected = reader.train()(tokens, keep, memory, way)
    packed = reader.eval()(tokens, keep, memory, way)
    torch.testing.assert_close(packed[keep], expected[keep], atol=1e-5, rtol=1e-5)
    assert not packed[~keep].any()
    if way == READ:
        first = reader.first(tokens, keep, memory)
        torch.testing.assert_close(first, expected[:, 0], atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(reader.train().first(tokens, keep, memory), expected[:, 0])


def test_holes_are_no_neighbours():
    """keep need not be a prefix: a text with a hole is the text without the hole's token, at its old positions."""
    reader, tokens = tower("post").eval(), torch.tensor([[1, 2, 3, 4], [5, 6, 7, 8]])
    keep = torch.tensor([[True, False, True, True], [True, True, True, True]])
    torch.testing.assert_close(
        reader(tokens, keep)[keep], reader.train()(tokens, keep)[keep], atol=1e-6, rtol=1e-5
    )


@pytest.mark.parametrize("way", [READ, WRITE])
def test_dense_maps_see_no_padding(way):
    """The point of packing: 5 real tokens of 12 are 5 rows of every linear map."""
    reader, seen = tower("post").eval(), []
    reader.stack.layers[0].feed[0].fn.up.register_forward_hook(
        lambda _, given, __: seen.append(given[0].numel())
    )
    reader(torch.ones(2, T, dtype=torch.long), torch.arange(T) < torch.tensor([[4], [1]]), None, way)
    assert seen == [5 * SHAPE.width]


def test_first_rows_alone_leave_the_last_layer():
    """Its feed-forward part sees 2 rows where the first layer's sees 5."""
    reader, seen = tower("pre").eval(), []
    for layer in reader.stack.layers:
        layer.feed[0].fn.register_forward_hook(lambda _, given, __: seen.append(given[0].numel()))
    reader.first(torch.ones(2, T, dtype=torch.long), torch.arange(T) < torch.tensor([[4], [1]]))
    assert seen == [5 * SHAPE.width, 2 * SHAPE.width]
