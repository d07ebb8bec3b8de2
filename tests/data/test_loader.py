"""Loader: what a batch holds, what it depends on, and what it does not depend on."""

from __future__ import annotations

from dataclasses import replace

import numpy
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pairloom.data.batch import Batch
from pairloom.data.loader import InMemoryImages, Loader, TextTable, pair_loader
from pairloom.data.nested import tensors_in
from pairloom.data.order import Plan
from pairloom.data.tokens import Tokens
from pairloom.errors import Mistake

MEAN, STD = (0.48, 0.46, 0.41), (0.27, 0.26, 0.28)


def made(rows: int = 50, seed: int = 0, window: int = 4, workers: int = 0, **look: float) -> Loader:
    """Pictures whose every pixel is their row number; texts of 1 to 3 per picture whose third token is the row."""
    draw = numpy.random.default_rng(seed)
    pixels = numpy.broadcast_to(
        numpy.arange(rows, dtype=numpy.uint8)[:, None, None, None], (rows, 6, 6, 3)
    ).copy()
    counts = draw.integers(1, 4, rows)
    sizes = draw.integers(3, 12, counts.sum())
    ids = numpy.concatenate([[2, 200 + text, *([5] * (size - 2))] for text, size in enumerate(sizes)]).astype(
        numpy.int32
    )
    first = numpy.concatenate(([0], numpy.cumsum(counts)))
    table = TextTable(
        ids, numpy.concatenate(([0], numpy.cumsum(sizes))), first, numpy.zeros(len(sizes), bool)
    )
    return pair_loader(InMemoryImages(pixels, MEAN, STD, **look), table, window=window, workers=workers)


def epoch(loader: Loader, plan: Plan, number: int = 0, step: int = 0) -> list[Batch]:
    return [part for parts in loader.read(plan, number, step) for part in parts]


def same(one: list[Batch], two: list[Batch]) -> bool:
    return len(one) == len(two) and all(
        torch.equal(here, there)
        for a, b in zip(one, two)
        for here, there in zip(tensors_in(a), tensors_in(b), strict=True)
    )


def row_of(batch: Batch) -> numpy.ndarray:
    """Which picture each row shows, read back from the pixels."""
    assert batch.images is not None
    return (batch.images[:, 0, 0, 3, 3] * STD[0] + MEAN[0]).mul(255).round().long().numpy()


def test_every_picture_comes_once_with_a_text_of_its_own() -> None:
    loader = made()
    batches = epoch(loader, Plan(8))
    rows = numpy.concatenate([row_of(batch) for batch in batches])
    assert len(batches) == 6 and len(set(rows.tolist())) == 48  # 50 // 8 whole batches
    for batch in batches:
        assert batch.images is not None and batch.texts is not None
        assert batch.images.shape == (8, 1, 3, 6, 6) and batch.images.dtype == torch.float32
        assert (
            batch.texts.ids.shape == batch.texts.mask.shape and batch.texts.mask.any(0).all()
        )  # no wider than its longest text
        assert batch.image_ids is not None and batch.image_ids.tolist() == row_of(batch).tolist()
        for row, tokens, keep in zip(row_of(batch), batch.texts.ids, batch.texts.mask):
            text = int(tokens[1]) - 200
            assert loader.texts.first[row] <= text < loader.texts.first[row + 1]
            size = loader.texts.lengths[text]
            assert keep.tolist() == [True] * size + [False] * (len(keep) - size)
            assert (tokens[size:] == 0).all()


def test_texts_of_a_picture_take_turns() -> None:
    loader = made(20)
    chosen = [
        {int(token) for batch in epoch(loader, Plan(10), number) for token in batch.texts.ids[:, 1]}
        for number in range(30)
    ]
    assert len(set.union(*chosen)) == len(loader.texts.lengths)  # each is drawn in some epoch
    assert chosen[0] != chosen[1]


def test_pixels_are_normalised_by_hand() -> None:
    pixels = numpy.zeros((1, 4, 4, 3), numpy.uint8)
    pixels[0, 1, 2] = (255, 51, 0)
    loader = pair_loader(
        InMemoryImages(pixels, MEAN, STD),
        TextTable.from_ids(numpy.ones((1, 3), int), numpy.ones((1, 3), bool)),
    )
    image = epoch(loader, Plan(1))[0].images[0, 0]
    wanted = [(1 - MEAN[0]) / STD[0], (0.2 - MEAN[1]) / STD[1], (0 - MEAN[2]) / STD[2]]
    assert torch.allclose(image[:, 1, 2], torch.tensor(wanted), atol=1e-6)


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 5),
    number=st.integers(0, 3),
    step=st.integers(0, 5),
    workers=st.integers(0, 3),
    window=st.sampled_from([0, 1, 3, 100]),
)
def test_any_step_can_be_asked_for_with_any_number_of_workers(
    seed: int, number: int, step: int, workers: int, window: int
) -> None:
    look = dict(crop=0.4, flip=0.5)
    plan = Plan(8, seed)
    whole = epoch(made(window=window, **look), plan, number)
    assert same(epoch(made(window=window, workers=workers, **look), plan, number, step), whole[step:])


@settings(max_examples=25, deadline=None)
@given(world=st.sampled_from([1, 2, 3]), parts=st.sampled_from([1, 2]), number=st.integers(0, 3))
def test_processes_and_parts_cut_the_same_batch(world: int, parts: int, number: int) -> None:
    loader = made(crop=0.4, flip=0.5)
    whole = epoch(loader, Plan(12, 3), number)
    ranks = [list(loader.read(Plan(12, 3, parts, rank, world), number)) for rank in range(world)]
    for step, batch in enumerate(whole):
        pieces = [piece for rank in ranks for piece in rank[step]]
        for here, *there in zip(tensors_in(batch), *map(tensors_in, pieces), strict=True):
            assert torch.equal(torch.cat(there), here)


def test_epochs_and_seeds_differ() -> None:
    loader = made()
    assert not same(epoch(loader, Plan(8), 0), epoch(loader, Plan(8), 1))
    assert not same(epoch(loader, Plan(8, 0)), epoch(loader, Plan(8, 1)))
    assert same(epoch(loader, Plan(8, 1)), epoch(loader, Plan(8, 1)))


def test_buckets_save_padding_and_lose_nobody() -> None:
    def padding(loader: Loader) -> float:
        return float(numpy.mean([1 - batch.texts.mask.float().mean() for batch in epoch(loader, Plan(8))]))

    plain, bucketed = made(240, window=0), made(240, window=10)
    assert padding(bucketed) < 0.5 * padding(plain)
    rows = [
        sorted(numpy.concatenate([row_of(b) for b in epoch(one, Plan(8))]).tolist())
        for one in (plain, bucketed)
    ]
    assert rows[0] == rows[1] == list(range(240))


def test_a_crop_is_a_part_of_the_picture_and_a_flip_mirrors_it() -> None:
    ramp = numpy.broadcast_to(
        numpy.arange(0, 80, 10, dtype=numpy.uint8)[:, None], (64, 8, 8, 3)
    ).copy()  # grows to the right
    table = TextTable.from_ids(numpy.ones((64, 3), int), numpy.ones((64, 3), bool))

    def columns(pictures: InMemoryImages, texts: TextTable = table) -> torch.Tensor:
        images = epoch(pair_loader(pictures, texts, window=0), Plan(64))[0].images
        return (images[:, 0, 0, 4] * STD[0] + MEAN[0]) * 255

    mirrored = columns(InMemoryImages(ramp, MEAN, STD, flip=1.0))
    assert torch.allclose(mirrored, torch.arange(70.0, -10, -10).expand(64, 8), atol=1e-3)
    half = columns(InMemoryImages(ramp, MEAN, STD, flip=0.5))
    assert 16 < int((half[:, 0] > half[:, 7]).sum()) < 48
    cropped = columns(InMemoryImages(ramp, MEAN, STD, crop=0.25))
    steps = cropped.diff(dim=1)[:, 2:5]
    assert (steps <= 10.001).all() and (steps >= 4.999).all() and steps.std() > 0.5  # enlarged 1 to 2 times
    assert (cropped >= 0).all() and (cropped <= 70.001).all()
    sided = replace(table, sided=numpy.ones(64, bool))
    assert torch.allclose(
        columns(InMemoryImages(ramp, MEAN, STD, flip=1.0), sided),
        torch.arange(0.0, 80, 10).expand(64, 8),
        atol=1e-3,
    )


def test_texts_that_name_a_side_are_found() -> None:
    texts = [["a cat LEFT of a dog", "a cat"], [], ["upright bleft", "Right."]]
    tokens = Tokens.train([text for group in texts for text in group] * 3, 100)
    table = TextTable.of(tokens, texts, 10)
    assert table.sided.tolist() == [True, False, False, True]
    assert table.first.tolist() == [0, 2, 2, 4]
    assert [tokens.decode(table.ids[a:b].tolist()) for a, b in zip(table.start, table.start[1:])][
        1
    ] == "a cat"


def test_pictures_without_texts_and_left_out_rows_never_come() -> None:
    tokens = Tokens.train(["a cat and a dog"] * 3, 100)
    table = TextTable.of(tokens, [["a cat"], [], ["a dog"], ["a cat", "a dog"]], 10)
    pixels = numpy.arange(4, dtype=numpy.uint8)[:, None, None, None] * numpy.ones((1, 6, 6, 3), numpy.uint8)
    loader = pair_loader(InMemoryImages(pixels, MEAN, STD), table, only=numpy.array([0, 1, 3]))
    rows = [row for number in range(5) for batch in epoch(loader, Plan(1), number) for row in row_of(batch)]
    assert set(rows) == {0, 3}
    assert replace(loader, only=numpy.array([0, 3])).identity() == loader.identity()
    assert replace(loader, only=numpy.array([0, 2, 3])).identity() != loader.identity()


def test_what_cannot_be_cut_is_said() -> None:
    with pytest.raises(Mistake, match="more than the 50 usable"):
        made().steps(Plan(64))
    with pytest.raises(Mistake, match="multiple of 4"):
        Plan(6, parts=2, world=2)
    with pytest.raises(ValueError, match="texts for"):
        pair_loader(InMemoryImages(numpy.zeros((50, 8, 8, 3), numpy.uint8)), made(40).texts)
