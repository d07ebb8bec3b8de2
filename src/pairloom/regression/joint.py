"""One space of pictures and texts from ridge regressions: an inner product there is their contrastive score.

Each direction compares in a space of its own: picture to text by features of texts, text to picture by features of pictures.
The vectors of all directions stand side by side, each times the root of its share, so that one inner product is the weighted
mean of their cosines. Two more numbers subtract what a picture gives every text, and a text every picture (temperature times
log mean exp over references, as in `ridge`); two more make all vectors equally long (Bachrach et al., 2014):

    3 cosine = sum_k share_k cosine_k - bias(picture) - bias(text)

Both biases count by BIAS, not by half as in the score of a judge: each ranks in one direction of retrieval and is constant in
the other, so that there is no harm in more of both (docs/log.md).

Does not know: files, texts, pixels, how features are computed.

n pictures or texts, G views of a picture, P = 2G directions, R references, W numbers of a vector.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from pairloom.regression.ridge import TEMPERATURE, Floats, TwoWayRidge, in_blocks, log_mean_exp

BIAS = 0.75  # share of the log mean exp that is subtracted
ALL = -1  # the number of the regression that was solved on the rows of every fold


def picture_vectors(ridges: Sequence[TwoWayRidge], views: Sequence[Floats], fold: int) -> list[Tensor]:
    """Vectors of pictures, P x [n .], by each view's two directions."""
    return [
        vectors
        for ridge, view in zip(ridges, views, strict=True)
        for vectors in (ridge.to_text.predict(view, fold), ridge.to_picture.centred(view, fold))
    ]


def text_vectors(ridges: Sequence[TwoWayRidge], features: Floats, fold: int) -> list[Tensor]:
    """Vectors of texts, P x [n .], in the spaces of `picture_vectors`."""
    return [
        vectors
        for ridge in ridges
        for vectors in (ridge.to_text.centred(features, fold), ridge.to_picture.predict(features, fold))
    ]


@dataclass(frozen=True)
class JointSpace:
    """Vectors [n W] of length 1 of pictures and texts. shares [P]: of the directions; their sum is 1."""

    ridges: tuple[TwoWayRidge, ...]
    shares: tuple[float, ...]

    @property
    def width(self) -> int:
        """W."""
        return 4 + sum(vectors.shape[1] for vectors in self._used(self._references[0]))

    def pictures(self, views: Sequence[Floats]) -> Tensor:
        """Vectors [n W] of pictures from their features by each view, G x [n D]."""
        vectors = picture_vectors(self.ridges, views, ALL)
        return self._joined(vectors, self._references[1], picture=True)

    def texts(self, features: Floats) -> Tensor:
        """Vectors [n W] of texts from their features [n E]."""
        vectors = text_vectors(self.ridges, features, ALL)
        return self._joined(vectors, self._references[0], picture=False)

    @cached_property
    def _references(self) -> tuple[list[Tensor], list[Tensor]]:
        """Vectors of the reference pictures and of the reference texts of all folds."""
        views = [np.concatenate([one.pictures for one in ridge.references]) for ridge in self.ridges]
        features = np.concatenate([one.texts for one in self.ridges[0].references])
        return picture_vectors(self.ridges, views, ALL), text_vectors(self.ridges, features, ALL)

    def _joined(self, vectors: Sequence[Tensor], others: Sequence[Tensor], picture: bool) -> Tensor:
        used = self._used(vectors)
        shares = [share for share in self.shares if share > 0]
        bias = torch.zeros(len(vectors[0]))
        for share, rows, known in zip(shares, used, self._used(others)):
            bias += share * BIAS * TEMPERATURE * log_mean_exp(rows, known)
        joined = torch.cat([share**0.5 * rows for share, rows in zip(shares, used)], 1)
        one, nothing = torch.ones(len(joined)), torch.zeros(len(joined))
        squares = in_blocks(lambda rows: rows.pow(2).sum(1, keepdim=True), joined.numpy())[:, 0]
        rest = (3 - squares - 1 - bias.pow(2)).clamp(min=0).sqrt()
        more = (-bias, one, rest, nothing) if picture else (one, -bias, nothing, rest)
        return torch.cat([joined, torch.stack(more, 1)], 1) / 3**0.5

    def _used(self, vectors: Sequence[Tensor]) -> list[Tensor]:
        """Those of the directions that have a share."""
        return [rows for rows, share in zip(vectors, self.shares, strict=True) if share > 0]
