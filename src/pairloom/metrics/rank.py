"""Retrieval metrics: R@K, median rank, MRR. Scores: higher is better.

Ties are broken at random, in expectation: a scorer that gives every candidate the same score gets chance, neither 0 nor 1.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class RetrievalRanks:
    """Ranks of the right candidates. Per query [Q]: wrong candidates above the best right one, wrong ones tied with it, right
    ones at that score."""

    above: NDArray[np.int64]
    tied: NDArray[np.int64]
    right: NDArray[np.int64]

    def hits(self, k: int) -> Floats:
        """R@k of each query [Q]: the probability that a right candidate is among the first k, ties in random order."""
        room = np.maximum(k - self.above, 0)
        missed = np.ones(len(self.above))
        for j in range(int(self.right.max(initial=0))):
            factor = (self.tied + self.right - room - j) / np.maximum(self.tied + self.right - j, 1)
            missed *= np.where(j < self.right, np.clip(factor, 0, 1), 1)
        return 1 - missed

    def places(self) -> Floats:
        """Expected rank of the best right candidate [Q], counted from 1."""
        return self.above + 1 + self.tied / (self.right + 1)

    def reciprocals(self) -> Floats:
        """Expected reciprocal rank of the best right candidate [Q]."""
        reciprocal = 1 / (self.above + 1.0)
        for row in np.flatnonzero(self.tied):
            ahead = np.arange(self.tied[row] + 1)
            mixed = self.tied[row] + self.right[row]
            alive = np.cumprod(np.r_[1.0, (self.tied[row] - ahead[:-1]) / (mixed - ahead[:-1])])
            here = alive * self.right[row] / (mixed - ahead)
            reciprocal[row] = (here / (self.above[row] + 1.0 + ahead)).sum()
        return reciprocal


def ranks(scores: ArrayLike, truth: ArrayLike, rows: int = 1024) -> RetrievalRanks:
    """Rank the right candidates of every query.

    scores: [Q C]. truth: [Q] index of the right candidate, or [Q C] True where a candidate is right (at least one a row).
    rows: queries that are ranked at once, which bounds the memory.
    """
    table, right = np.asarray(scores), np.asarray(truth)
    if table.ndim != 2 or table.shape[1] == 0:
        raise ValueError(f"scores must be [Q C], got {table.shape}")
    if right.ndim == 1 and right.shape == table.shape[:1] and right.dtype != bool:
        if len(right) and not (0 <= right.min() and right.max() < table.shape[1]):
            raise ValueError(f"truth names a candidate outside 0..{table.shape[1] - 1}")
    elif right.shape != table.shape or not right.any(1).all():
        raise ValueError(
            f"truth must be [Q] indices or [Q C] with a right candidate in every row, got {right.shape}"
        )
    parts = []
    for start in range(0, len(table), rows):
        block, answer = table[start : start + rows], right[start : start + rows]
        if np.isnan(block).any():
            raise ValueError("a score is not a number")
        mask = answer if answer.ndim == 2 else np.arange(block.shape[1]) == answer[:, None]
        best = np.where(mask, block, -np.inf).max(1, keepdims=True)
        same = block == best
        parts.append(np.stack([(~mask & (block > best)).sum(1), (~mask & same).sum(1), (mask & same).sum(1)]))
    above, tied, count = np.concatenate(parts, 1) if parts else np.zeros((3, 0), dtype=np.int64)
    return RetrievalRanks(above, tied, count)


def retrieval(ranks: RetrievalRanks, at: tuple[int, ...] = (1, 5, 10)) -> dict[str, float]:
    """Retrieval metrics over all queries: R@K for each K and MRR in [0, 1], and the median rank."""
    if not len(ranks.above):
        raise ValueError("no query to rank")
    metrics = {f"R@{k}": float(ranks.hits(k).mean()) for k in at}
    return {**metrics, "median": float(np.median(ranks.places())), "MRR": float(ranks.reciprocals().mean())}
