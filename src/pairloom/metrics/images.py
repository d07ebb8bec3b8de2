"""Metrics of drawn pictures: distances between two sets of features, scores of single pictures, copies of what was learnt.

N real pictures, M drawn ones, D features, K classes; features are float arrays [N D], [M D]. Everything is computed in float64.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pairloom.metrics.compare import Interval, normal_quantile

Floats = NDArray[np.float64]


def frechet_distance(one: ArrayLike, two: ArrayLike) -> float:
    """Fréchet distance of two Gaussians with the moments of two samples (Heusel et al. 2017, arXiv 1706.08500); with Inception's features,
    FID. Covariances have n - 1 below.

    The trace of (S1 S2)^(1/2) is the sum of the singular values of A B', where A'A = S1 and B'B = S2, so that no root of a matrix
    is needed and few pictures of many features are no difficulty. ValueError for fewer than two pictures.
    """
    a, b = _features(one, two)
    if min(len(a), len(b)) < 2:
        raise ValueError("a Fréchet distance needs two pictures on either side")
    centred = [(x - x.mean(0)) / np.sqrt(len(x) - 1) for x in (a, b)]
    roots: list[Floats] = [np.linalg.qr(x)[1] if len(x) > x.shape[1] else x for x in centred]
    product: Floats = roots[0] @ roots[1].T
    shared = np.linalg.svd(product, compute_uv=False).sum()
    apart = ((a.mean(0) - b.mean(0)) ** 2).sum()
    return float(max(0.0, apart + sum((x**2).sum() for x in centred) - 2 * shared))


def inception_score(shares: ArrayLike) -> float:
    """Inception score (Salimans et al. 2016, arXiv 1606.03498) of class probabilities [M K]: from 1 to K. All pictures are one
    split; the published protocol takes ten, each of which comes out lower."""
    p = np.asarray(shares, dtype=np.float64)
    if p.ndim != 2 or not len(p) or not np.allclose(p.sum(1), 1, atol=1e-4):
        raise ValueError("the inception score needs probabilities [M K] that add up to 1")
    return float(np.exp((_entropy_terms(p, p) - _entropy_terms(p, p.mean(0, keepdims=True))).sum(1).mean()))


def _entropy_terms(p: Floats, q: Floats) -> Floats:
    return p * np.log(np.maximum(q, np.finfo(np.float64).tiny))


def clip_scores(cosines: ArrayLike) -> Floats:
    """CLIPScore of each picture (Hessel et al. 2021, arXiv 2104.08718): 2.5 max(cos, 0) of picture and text."""
    scores: Floats = 2.5 * np.maximum(np.asarray(cosines, dtype=np.float64), 0)
    return scores


def ref_clip_scores(cosines: ArrayLike, references: Sequence[ArrayLike]) -> Floats:
    """RefCLIPScore of each picture: harmonic mean of its CLIPScore and the largest cosine, at least 0, of the text with its references."""
    own = clip_scores(np.atleast_1d(cosines))
    best: Floats = np.array(
        [max(0.0, float(np.max(np.asarray(one, dtype=np.float64)))) for one in references]
    )
    if own.shape != best.shape:
        raise ValueError(f"{own.shape} cosines and references of {best.shape} texts")
    total = own + best
    return np.asarray(2 * own * best / np.where(total > 0, total, 1))


def cmmd(one: ArrayLike, two: ArrayLike, sigma: float = 10.0, scale: float = 1000.0) -> float:
    """CMMD (Jayasumana et al. 2024, arXiv 2401.09603): squared maximum mean discrepancy of CLIP's unit vectors with a Gaussian kernel,
    times 1,000. The pairs of a picture with itself count, as in the published code."""
    a, b = _features(one, two)

    def kernel(x: Floats, y: Floats) -> float:
        return float(np.exp(-_squared(x, y) / (2 * sigma**2)).mean())

    return scale * (kernel(a, a) + kernel(b, b) - 2 * kernel(a, b))


def precision(real: ArrayLike, drawn: ArrayLike, k: int = 3) -> Floats:
    """Improved precision (Kynkäänniemi et al. 2019, arXiv 1904.06991) of each drawing [M]: 1 where it lies as near to a real picture as
    that one's k-th neighbour. The mean is the metric; `recall` is the same with the sides exchanged."""
    a, b = _features(real, drawn)
    inside = np.any(_squared(a, b) <= _radii(a, k)[:, None], axis=0)
    return np.asarray(inside, dtype=np.float64)


def recall(real: ArrayLike, drawn: ArrayLike, k: int = 3) -> Floats:
    """Improved recall of each real picture [N]: 1 where it lies as near to a drawing as that one's k-th neighbour."""
    return precision(drawn, real, k)


def density(real: ArrayLike, drawn: ArrayLike, k: int = 5) -> Floats:
    """Density (Naeem et al. 2020, arXiv 2002.09797) of each drawing [M]: the number of real pictures in whose neighbourhood it lies, over k;
    it can be above 1."""
    a, b = _features(real, drawn)
    near = np.sum(_squared(a, b) <= _radii(a, k)[:, None], axis=0)
    return np.asarray(near / k, dtype=np.float64)


def coverage(real: ArrayLike, drawn: ArrayLike, k: int = 5) -> Floats:
    """Coverage (Naeem et al. 2020) of each real picture [N]: 1 where a drawing lies in its neighbourhood."""
    a, b = _features(real, drawn)
    return np.asarray(_squared(a, b).min(1) <= _radii(a, k), dtype=np.float64)


def copying(training: ArrayLike, drawn: ArrayLike, held_out: ArrayLike) -> Floats:
    """Memorisation of each drawing [M]: the share of held-out pictures that lie farther from the training set's nearest picture than it
    does, ties by half.

    The mean is .5 where drawings are as new as held-out pictures, 1 where all are copies: the Mann-Whitney statistic of Meehan et al.
    (2020, arXiv 2004.05675), over the whole space.
    """
    own, others = nearest_distances(training, drawn), np.sort(nearest_distances(training, held_out))
    above = len(others) - np.searchsorted(others, own, side="right")
    ties = np.searchsorted(others, own, side="right") - np.searchsorted(others, own, side="left")
    shares: Floats = (above + ties / 2) / len(others)
    return shares


def nearest_distances(training: ArrayLike, pictures: ArrayLike) -> Floats:
    """Distance of each picture to the nearest one of the training set."""
    a, b = _features(training, pictures)
    nearest: Floats = np.sqrt(_squared(a, b).min(0))
    return nearest


def diversity(groups: Sequence[ArrayLike]) -> Floats:
    """Diversity of the drawings of each text: mean cosine distance of all their pairs, 0 where all are alike. ValueError for a group of
    one."""
    values = []
    for group in groups:
        x = np.asarray(group, dtype=np.float64)
        if len(x) < 2:
            raise ValueError("diversity needs two drawings of each text")
        unit = x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), np.finfo(np.float64).tiny)
        cosines = (unit @ unit.T)[np.triu_indices(len(x), 1)]
        values.append(1 - float(cosines.mean()))
    return np.array(values)


def resampled(
    statistic: Callable[..., float],
    *samples: ArrayLike,
    resamples: int = 100,
    seed: int = 0,
    level: float = 0.95,
) -> Interval:
    """Bootstrap interval of a statistic of whole samples, each resampled by itself: value plus and minus the normal quantile times
    the standard deviation over resamples, not below 0.

    The percentiles of the resamples will not do here: a picture that is drawn twice narrows a sample, so that their distances are
    all larger than the value.
    """
    arrays = [np.asarray(sample, dtype=np.float64) for sample in samples]
    random = np.random.default_rng(seed)
    values = [
        statistic(*(array[random.integers(len(array), size=len(array))] for array in arrays))
        for _ in range(resamples)
    ]
    value, half = statistic(*arrays), normal_quantile((1 + level) / 2) * float(np.std(values, ddof=1))
    return Interval(value, max(0.0, value - half), value + half)


def _features(one: ArrayLike, two: ArrayLike) -> tuple[Floats, Floats]:
    a, b = np.asarray(one, dtype=np.float64), np.asarray(two, dtype=np.float64)
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[1] or not len(a) or not len(b):
        raise ValueError(f"two sets of features [N D] are needed, not {a.shape} and {b.shape}")
    return a, b


def _squared(a: Floats, b: Floats) -> Floats:
    """Squared distances [N M]. The mean is taken off first, so that features far from 0 lose no digits."""
    middle = a.mean(0)
    a, b = a - middle, b - middle
    return np.maximum((a**2).sum(1)[:, None] + (b**2).sum(1)[None] - 2 * a @ b.T, 0)


def _radii(x: Floats, k: int) -> Floats:
    """Squared distance [N] of each row to its k-th neighbour. ValueError where it has not so many."""
    if len(x) <= k:
        raise ValueError(f"the {k}-th neighbour among {len(x)} pictures")
    radii: Floats = np.partition(_squared(x, x), k, axis=1)[:, k]  # the row itself is the first
    return radii
