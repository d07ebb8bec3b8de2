"""Cross-fitted kernel ridge regression between picture and text features, and contrastive scores of its predictions.

For every fold, ridge regression from pictures to texts, and one from texts to pictures, is solved on the other folds, with a
Gaussian kernel of the cosine and at most LANDMARKS basis rows (Nystrom, subset of regressors; with all rows as landmarks it
is exact kernel ridge regression). The kernel's sums are collected once for each fold, so that leaving a fold out is a
subtraction, and the cost grows linearly with the rows.

A score is s - (log mean exp s over reference texts + log mean exp s over reference pictures) / 2, s = cosine / temperature of
the prediction and what is there: what a picture gives every text, and a text every picture, does not count (pointwise mutual
information where the softmax is calibrated).

Does not know: files, texts, pixels.

N rows of training, n requests, m landmarks, R references, D features in, E features out, K folds.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

Floats = NDArray[np.float32]
LANDMARKS = 2048
GAMMA, PENALTY, TEMPERATURE = 2.0, 1.0, 0.08
BATCH = (
    64  # rows of every product of a prediction, the last one padded, so that it depends on its own row alone
)
ROWS = 1024  # rows of every product while the sums are collected


def kernel(rows: Tensor, landmarks: Tensor) -> Tensor:
    """Gaussian kernel exp(-GAMMA (1 - cosine)) [N m] of rows and landmarks of length 1."""
    return torch.exp(GAMMA * (rows @ landmarks.T - 1))


@dataclass(frozen=True)
class Ridge:
    """A ridge regression without each of K folds, and at last one on all rows. landmarks [m D]; coefficients [K + 1, m, E];
    means [K + 1, E] of what is predicted."""

    landmarks: Tensor
    coefficients: Tensor
    means: Tensor

    def predict(self, features: Floats, fold: int) -> Tensor:
        """Predictions [n E], each of length 1, by the regression that was solved without a fold."""
        return in_blocks(
            lambda rows: F.normalize(kernel(rows, self.landmarks) @ self.coefficients[fold], dim=1), features
        )

    def outputs(self, features: Floats, fold: int) -> Tensor:
        """What the regression gives [n E], of any length."""
        return in_blocks(
            lambda rows: kernel(rows, self.landmarks) @ self.coefficients[fold] + self.means[fold], features
        )

    def centred(self, features: Floats, fold: int) -> Tensor:
        """What is there, as predictions are compared with it: without the mean of the training rows, of length 1."""
        return in_blocks(lambda rows: F.normalize(rows - self.means[fold], dim=1), features)


def in_blocks(function: object, features: Floats) -> Tensor:
    """Apply a function of rows to BATCH rows at a time, the last block padded with copies of its first row."""
    blocks = []
    for start in range(0, len(features), BATCH):
        part = torch.from_numpy(np.ascontiguousarray(features[start : start + BATCH], np.float32))
        full = torch.cat([part, part[:1].expand(BATCH - len(part), -1)])
        blocks.append(function(full)[: len(part)])  # type: ignore[operator]
    return torch.cat(blocks) if blocks else torch.zeros(0, features.shape[1])


def fit_ridge(
    inputs: Floats, outputs: Sequence[NDArray[np.floating]], folds: NDArray[np.int64], weights: NDArray[np.float64],
    count: int, landmarks: NDArray[np.int64], whole: bool = True,
) -> list[Ridge]:  # fmt: skip
    """Solve ridge regressions to several tables of outputs, for each of `count` folds without its rows, and (whole) on all rows.

    weights [N]: of the rows; landmarks: their numbers.

    inputs [N D], of length 1, and outputs [N E] may be memory-mapped.
    """
    widths = [table.shape[1] for table in outputs]
    basis = torch.from_numpy(np.asarray(inputs[landmarks], np.float32))
    size, width = len(landmarks), sum(widths)
    grams = torch.zeros(count, size, size, dtype=torch.float64)
    products = torch.zeros(count, size, width, dtype=torch.float64)
    totals, sums = torch.zeros(count, dtype=torch.float64), torch.zeros(count, width, dtype=torch.float64)
    flows = torch.zeros(count, size, dtype=torch.float64)  # sums of kernel rows, for the mean of the outputs
    for fold in range(count):
        chosen = np.flatnonzero((folds == fold) & (weights > 0))
        for start in range(0, len(chosen), ROWS):
            rows = chosen[start : start + ROWS]
            weight = torch.from_numpy(weights[rows])[:, None]
            values = kernel(torch.from_numpy(np.asarray(inputs[rows], np.float32)), basis).double()
            target = torch.from_numpy(np.concatenate([table[rows] for table in outputs], 1, dtype=np.float64))
            weighted = weight * values
            grams[fold] += weighted.T @ values
            products[fold] += weighted.T @ target
            flows[fold] += weighted.sum(0)
            totals[fold] += weight.sum()
            sums[fold] += (weight * target).sum(0)
    prior = kernel(basis, basis).double() * PENALTY
    prior.diagonal().add_(1e-6 * size)  # rounding of the kernel would leave it indefinite
    coefficients, means = [], []
    for fold in range(count + whole):  # the last one leaves none out
        rest = [other for other in range(count) if other != fold] or [fold]
        mean = sums[rest].sum(0) / totals[rest].sum().clamp(min=1e-9)
        gram, product = grams[rest].sum(0) + prior, products[rest].sum(0) - flows[rest].sum(0)[:, None] * mean
        factor = torch.linalg.cholesky(gram)
        coefficients.append(torch.cholesky_solve(product, factor).float())
        means.append(mean.float())
    parts = zip(torch.stack(coefficients).split(widths, -1), torch.stack(means).split(widths, -1))
    return [Ridge(basis, *(part.contiguous() for part in both)) for both in parts]


@dataclass(frozen=True)
class ScoreReferences:
    """References of the scores of a fold, by which two directions are normalised: pictures' features [R D] and texts' [R E]."""

    pictures: Floats
    texts: Floats


@dataclass(frozen=True)
class TwoWayRidge:
    """Both regressions, and the references of every fold."""

    to_text: Ridge
    to_picture: Ridge
    references: tuple[ScoreReferences, ...]

    def scores(self, pictures: Floats, texts: Floats, owner: NDArray[np.int64], fold: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:  # fmt: skip
        """Scores [n] of texts [n E], text i with pictures[owner[i]], by each direction: picture to text, text to picture."""
        known = self.references[fold]
        there = (
            self.to_text.predict(pictures, fold), self.to_text.centred(texts, fold),
            self.to_text.predict(known.pictures, fold), self.to_text.centred(known.texts, fold),
        )  # fmt: skip
        back = (
            self.to_picture.centred(pictures, fold), self.to_picture.predict(texts, fold),
            self.to_picture.centred(known.pictures, fold), self.to_picture.predict(known.texts, fold),
        )  # fmt: skip
        return _contrast(*there, owner), _contrast(*back, owner)


def _contrast(
    pictures: Tensor, texts: Tensor, other_pictures: Tensor, other_texts: Tensor, owner: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Contrastive scores [n] in one space of pictures [I E] and texts [n E]; see the module."""
    of_picture = log_mean_exp(pictures, other_texts)[torch.from_numpy(owner)]
    of_text = log_mean_exp(texts, other_pictures)
    both = (pictures[torch.from_numpy(owner)] * texts).numpy()
    fit = in_blocks(lambda part: part.sum(1, keepdim=True), both)[:, 0] / TEMPERATURE
    return (fit - (of_picture + of_text) / 2).double().numpy()


def log_mean_exp(rows: Tensor, references: Tensor) -> Tensor:
    """Log of the mean of exp(cosine / temperature) [n] of rows [n E] over references [R E]."""
    means = in_blocks(lambda part: (part @ references.T / TEMPERATURE).logsumexp(1)[:, None], rows.numpy())
    return means[:, 0] - math.log(len(references))


def unit(rows: Floats) -> Floats:
    """Rows [n D] of length 1; a row of zeros stays one."""
    return (rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-6)).astype(np.float32)


def choose_landmarks(count: int, seed: int, most: int = LANDMARKS) -> NDArray[np.int64]:
    """Numbers of at most `most` of `count` rows, rising."""
    return np.sort(np.random.default_rng(seed).permutation(count)[:most]).astype(np.int64)


def choose_references(
    rows: Sequence[int] | NDArray[np.int64], seed: int, most: int = 1024
) -> NDArray[np.int64]:
    """At most `most` of these rows, rising."""
    return np.sort(np.random.default_rng(seed).permutation(np.asarray(rows, np.int64))[:most])
