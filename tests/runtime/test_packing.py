"""Packed sequences: texts without their padding say what padded ones do."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pairloom.blocks.text import READ, WRITE, TextTransformer
from pairloom.blocks.transformer import ModeSharing, TransformerConfig
from pairloom.runtime.packing import pack_texts

CONFIG = TransformerConfig(width=16, depth=2, heads=2, norm="post", eps=1e-12, context=12)
ORDERS = (("self", "cross", "feed"), ("cross", "self", "feed"))
T = 6


def draw(*size: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*size, generator=torch.Generator().manual_seed(seed))


def tower(norm: str, packed: bool = True, order: tuple[str, ...] = ORDERS[0]) -> TextTransformer:
    torch.manual_seed(0)
    reader = TextTransformer(
        CONFIG._replace(norm=norm, order=order), 20, T, sharing=ModeSharing(cross=1)
    ).eval()
    if packed:
        pack_texts(reader)
    return reader


@settings(max_examples=80, deadline=None)
@given(
    texts=st.lists(st.tuples(st.integers(1, T), st.integers(0, 2)), min_size=1, max_size=7),
    mode=st.sampled_from([READ, WRITE]),
    norm=st.sampled_from(["pre", "post"]),
    order=st.sampled_from(ORDERS),
    grounded=st.booleans(),
    ragged=st.booleans(),
)
def test_packed_texts_say_what_padded_ones_do(texts, mode, norm, order, grounded, ragged):
    """Any lengths, any picture for each text, contexts with padding of their own."""
    plain, packed = tower(norm, False, order), tower(norm, True, order)
    lengths, owner = (torch.tensor(column) for column in zip(*texts))
    mask = torch.arange(T) < lengths[:, None]
    tokens = torch.arange(len(texts) * T).view(-1, T) % 20
    context = None
    if grounded:
        real = torch.tensor([[1, 1, 1], [1, 0, 1], [1, 1, 0]]).bool() if ragged else None
        context = plain.stack.project(draw(3, 3, 12), real).read_by(owner)
    expected, said = plain(tokens, mask, context, mode), packed(tokens, mask, context, mode)
    torch.testing.assert_close(said[mask], expected[mask], atol=1e-5, rtol=1e-5)
    assert mask.all() or not said[~mask].any()
    if mode == READ:
        first = packed.first(tokens, mask, context)
        torch.testing.assert_close(first, expected[:, 0], atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(plain.first(tokens, mask, context), expected[:, 0])


def test_holes_are_no_neighbours():
    """The mask need not be a prefix: a text with a hole is the text without the hole's token, at its old positions."""
    tokens = torch.tensor([[1, 2, 3, 4], [5, 6, 7, 8]])
    mask = torch.tensor([[True, False, True, True], [True, True, True, True]])
    said, expected = tower("post")(tokens, mask), tower("post", packed=False)(tokens, mask)
    torch.testing.assert_close(said[mask], expected[mask], atol=1e-6, rtol=1e-5)


def rows_of(reader: TextTransformer) -> list[int]:
    """How many rows each feed-forward part is given, once the tower runs."""
    rows: list[int] = []
    for layer in reader.stack.layers:
        layer.feed[0].fn.register_forward_hook(
            lambda _, inputs, __: rows.append(inputs[0].numel() // CONFIG.width)
        )
    return rows


SHORT = torch.ones(2, T, dtype=torch.long), torch.arange(T) < torch.tensor([[4], [1]])


@pytest.mark.parametrize("mode", [READ, WRITE])
def test_dense_maps_see_no_padding(mode):
    """The point of packing: 5 real tokens of 12 are 5 rows of every linear map."""
    reader = tower("post")
    rows = rows_of(reader)
    reader(*SHORT, None, mode)
    assert rows == [5, 5]
    reader.train()(*SHORT, None, mode)
    assert rows == [5, 5, 12, 12]  # training packs nothing
    pack_texts(reader, training=True)
    reader(*SHORT, None, mode)
    assert rows[4:] == [5, 5]  # but where that is wanted


@pytest.mark.parametrize("mode", [READ, WRITE])
def test_packed_texts_have_the_gradients_of_padded_ones(mode):
    """Of every parameter, where two texts of different lengths read a picture each."""
    plain, packed = tower("post", packed=False).train(), tower("post").train()
    pack_texts(packed, training=True)
    for reader in (plain, packed):
        rows = reader(*SHORT, reader.stack.project(draw(2, 3, 12), mode=mode), mode)[SHORT[1]]
        first = reader.first(*SHORT) if mode == READ else rows
        (rows.square().mean() + (first * draw(*first.shape, seed=1)).sum()).backward()
    expected = dict(plain.named_parameters())
    for name, parameter in packed.named_parameters():
        torch.testing.assert_close(parameter.grad, expected[name].grad, atol=1e-5, rtol=1e-5, msg=name)


def test_first_rows_alone_leave_the_last_layer():
    """Its feed-forward part sees 2 rows where the first layer's sees 5."""
    reader = tower("pre")
    rows = rows_of(reader)
    reader.first(*SHORT)
    assert rows == [5, 2]


def test_a_tower_without_layers_has_first_rows():
    torch.manual_seed(0)
    reader = TextTransformer(CONFIG._replace(depth=0), 20, T).eval()
    expected = reader.first(*SHORT)
    pack_texts(reader)
    torch.testing.assert_close(reader.first(*SHORT), expected)
