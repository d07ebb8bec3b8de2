"""Batch: typed records that move together, say how many rows they have, and name what is missing."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, dataclass, replace
from typing import NamedTuple

import pytest
import torch

from pairloom.data.batch import Batch, Texts
from pairloom.data.records import Clips, Codes, Negatives, Questions, Regions

META = torch.device("meta")


class Projected(NamedTuple):
    keys: torch.Tensor


@dataclass
class Encoded:
    """What a system may keep of pictures: a dataclass around a list of tuples."""

    layers: list[Projected]


def texts(rows: int = 3, length: int = 4) -> Texts:
    ids = torch.arange(rows * length).view(rows, length)
    return Texts(ids, torch.arange(length) < torch.arange(1, rows + 1)[:, None])


def regions(rows: int = 2) -> Regions:
    return Regions(
        torch.zeros(rows, 1, 5, 8), torch.zeros(rows, 1, 5, 4), torch.ones(rows, 1, 5, dtype=torch.bool)
    )


def test_every_tensor_moves_however_deep_it_lies() -> None:
    encoded = Encoded([Projected(torch.zeros(1))])
    batch = Batch(
        images=torch.zeros(2, 1, 3, 4, 4), texts=texts(), regions=regions(), question=Questions(texts(), torch.zeros(3)),
        codes=Codes(torch.zeros(2, 3), torch.ones(2, 3)), clips=Clips(torch.zeros(2, 3, 4), torch.ones(2, 3)),
        negatives=Negatives(texts=texts()), labels=torch.zeros(3), encoded=encoded, extra={"times": torch.zeros(3)},
    ).to(META)  # fmt: skip
    assert batch.images.device == batch.labels.device == batch.extra["times"].device == META
    assert (
        batch.texts.mask.device == batch.question.texts.ids.device == batch.question.image_of.device == META
    )
    assert batch.regions.boxes.device == batch.codes.ids.device == batch.clips.mask.device == META
    assert batch.negatives.texts.ids.device == batch.encoded.layers[0].keys.device == META
    assert batch.negatives.images is None and batch.regions.class_probabilities is None


def test_rows_are_counted_by_whatever_there_is() -> None:
    images = torch.zeros(2, 1, 3, 4, 4)
    assert len(Batch(images=images, texts=texts(5))) == 5, "texts, where several share a picture"
    assert len(Batch(images=images)) == len(Batch(regions=regions())) == 2
    assert len(Batch(codes=Codes(torch.zeros(4, 3), torch.ones(4, 3)))) == 4
    assert len(Batch(question=Questions(texts(3)))) == 3 and len(Negatives(texts=texts(3))) == 3
    with pytest.raises(ValueError, match="no length"):
        len(Batch())


def test_rows_of_a_record() -> None:
    chosen = replace(texts(), segments=torch.ones(3, 4))[torch.tensor([2, 0])]
    assert chosen.ids[:, 0].tolist() == [8, 0] and chosen.mask.sum(1).tolist() == [3, 1]
    assert chosen.segments is not None and chosen.segments.shape == (2, 4)
    assert Questions(texts(3), torch.tensor([0, 0, 1]))[1:].image_of.tolist() == [0, 1]
    with pytest.raises(ValueError, match="no rows of its own"):
        Batch(texts=texts())[0]


def test_what_is_missing_is_named() -> None:
    batch = Batch(texts=texts())
    assert batch.required("texts") is batch.texts and torch.equal(batch.text()[0], texts().ids)
    with pytest.raises(ValueError, match="the batch has no images; it has texts"):
        batch.required("images")
    with pytest.raises(ValueError, match="no texts; it has nothing"):
        Batch().text()


def test_a_batch_is_frozen_and_unpadded_texts_are_all_real() -> None:
    with pytest.raises(FrozenInstanceError):
        Batch().images = torch.zeros(1)  # type: ignore[misc]
    whole = Texts.unpadded(torch.ones(2, 3, dtype=torch.long))
    assert whole.mask.all() and whole.mask.dtype == torch.bool and whole.segments is None
