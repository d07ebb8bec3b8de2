"""The cache of keys and values: what concatenation and indexing would give, in storage allocated ahead."""

from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pairloom.blocks.attention import KeyValue
from pairloom.blocks.cache import Cache
from pairloom.blocks.cross import CrossKeyValues
from pairloom.blocks.storage import KeyValueCache


def draw(*size: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*size, generator=torch.Generator().manual_seed(seed))


def some(rows: int, length: int, seed: int) -> KeyValue:
    return KeyValue(draw(rows, 2, length, 3, seed=seed), draw(rows, 2, length, 3, seed=seed + 1))


@settings(max_examples=80, deadline=None)
@given(
    moves=st.lists(
        st.one_of(
            st.tuples(st.just("append"), st.integers(1, 4)),
            st.tuples(st.just("select"), st.lists(st.integers(0, 99), min_size=1, max_size=5)),
            st.tuples(st.just("branch"), st.integers(1, 3)),
        ),
        max_size=9,
    ),
    room=st.integers(1, 6),
)
def test_any_moves_equal_concatenation(moves, room):
    """branch: a continuation that is dropped again; it must not be seen in the one that goes on."""
    first = some(3, 2, 0)
    cache, plain, branches = KeyValueCache.begin(first, room), first, []
    for number, (move, how) in enumerate(moves, 1):
        if move == "select":
            rows = torch.tensor(how) % len(plain.keys)
            cache, plain = cache.select(rows), plain.select(rows)
            continue
        new = some(len(plain.keys), how, 10 * number)
        grown = KeyValue(torch.cat([plain.keys, new.keys], 2), torch.cat([plain.values, new.values], 2))
        if move == "branch":
            branches.append((cache.append(new), grown))
        else:
            cache, plain = cache.append(new), grown
    for ours, expected in [*branches, (cache, plain)]:
        assert torch.equal(ours.keys, expected.keys) and torch.equal(ours.values, expected.values)


def test_storage_is_allocated_once_where_the_length_is_known():
    cache = KeyValueCache.begin(some(2, 1, 0), 20)
    where = cache.storage.keys.data_ptr()
    for step in range(19):
        cache = cache.append(some(2, 1, step))
        assert cache.keys.data_ptr() == where
    assert cache.append(some(2, 1, 30)).storage.keys.shape[2] == 40  # doubled: the time stays linear


def test_gradients_flow_through_the_past():
    new = some(1, 1, 3)
    first = draw(1, 2, 1, 3).requires_grad_()
    cache = KeyValueCache.begin(KeyValue(first, first), 4).append(new).append(new)
    cache.select(torch.tensor([0, 0])).keys.sum().backward()
    assert torch.equal(first.grad, torch.full_like(first, 2.0))


def test_a_cache_drops_the_contexts_that_nobody_reads():
    layer = KeyValue(draw(4, 1, 2, 3), draw(4, 1, 2, 3, seed=1))
    cache = Cache(CrossKeyValues([layer]).read_by(torch.arange(4)), torch.arange(4), [layer], 2)
    wide = cache.expand(3)
    assert len(wide) == 12 and len(wide.context) == 4 and wide.context.layers[0] is layer
    few = wide.select(torch.tensor([10, 11, 3]))
    assert len(few) == 3 and len(few.context) == 2 and few.position == 2
    assert torch.equal(few.context.layers[0].keys[few.owner], layer.keys[[3, 3, 1]])
    assert torch.equal(few.past[0].values, layer.values[[3, 3, 1]])
