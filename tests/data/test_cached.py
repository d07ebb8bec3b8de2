"""Looked: every row finds its own picture, one of its views, and a batch is what the loader would have made of pixels."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from pairloom.data.cached import CachedImages
from pairloom.data.loader import TextTable, pair_loader
from pairloom.data.order import Plan


def made(views: int, total: int = 300) -> CachedImages:
    """Of every third picture: its number and the view's, on a 2 x 2 map of three channels."""

    def encode_image(rows: np.ndarray, view: int) -> Tensor:
        cells = torch.zeros(len(rows), 3, 2, 2)
        cells[:, 0], cells[:, 1] = torch.from_numpy(rows)[:, None, None].float(), float(view)
        return cells

    return CachedImages.by(encode_image, np.arange(0, total, 3), total, views)


def test_every_row_finds_its_picture() -> None:
    looked, rows = made(views=1), np.array([297, 0, 3, 0])
    seen, shown = looked.look(rows, torch.rand(4, 4), torch.zeros(4, dtype=torch.bool))
    assert seen.shape == (4, 3, 2, 2) and seen[:, 0, 0, 0].tolist() == rows.tolist()
    assert shown.tolist() == [0, 1, 2, 3] and len(looked) == 300


def test_the_first_chance_picks_the_view() -> None:
    """Also the largest float below one, whose product with six rounds."""
    chance = torch.tensor([0.0, 0.17, 0.5, 1 - 2**-24])[:, None].expand(4, 4)
    seen, _ = made(views=6).look(np.zeros(4, np.int64), chance, torch.zeros(4, dtype=torch.bool))
    assert seen[:, 1, 0, 0].tolist() == [0, 1, 3, 5]


def test_the_views_are_in_the_identity() -> None:
    assert made(views=1).identity() != made(views=2).identity()


def test_a_loader_shows_each_picture_beside_its_own_text() -> None:
    looked, only = made(views=2), np.arange(0, 300, 3)
    texts = TextTable.of_rows([[[2, row, 3]] for row in range(300)])
    for (batch,) in pair_loader(looked, texts, only).read(Plan(10, seed=4), epoch=1):
        assert batch.images is not None and batch.texts is not None and batch.images.shape == (10, 1, 3, 2, 2)
        assert torch.equal(batch.images[:, 0, 0, 0, 0].long(), batch.texts.ids[:, 1])
