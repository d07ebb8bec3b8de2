"""Multiple-choice accuracy: was the right one of several answers scored highest? A tie shares the credit (one half between
two). Scores: higher is better.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray


def credit(scores: ArrayLike, answer: ArrayLike) -> NDArray[np.float64]:
    """Credit of each question [Q]: 1 where the right answer alone is highest, 1/m where it shares the top with m - 1 others.

    scores: [Q C]; answer: [Q] index of the right one. The mean is the accuracy; a scorer with constant scores gets 1/C.
    """
    table, right = np.asarray(scores, dtype=np.float64), np.asarray(answer, dtype=np.int64)
    if table.ndim != 2 or right.shape != table.shape[:1]:
        raise ValueError(f"scores [Q C] and answer [Q] are needed, got {table.shape} and {right.shape}")
    if np.isnan(table).any():
        raise ValueError("a score is not a number")
    top = table == table.max(1, keepdims=True)
    return np.where(top[np.arange(len(table)), right], 1 / top.sum(1), 0.0)


def beats(right: ArrayLike, wrong: ArrayLike) -> NDArray[np.float64]:
    """Credit of pairwise comparisons [n]: 1 where right[i] is above wrong[i], one half at a tie, 0 below."""
    one, two = np.asarray(right, dtype=np.float64), np.asarray(wrong, dtype=np.float64)
    if one.shape != two.shape:
        raise ValueError(f"paired scores must have one shape, got {one.shape} and {two.shape}")
    return credit(np.stack([one.ravel(), two.ravel()], 1), np.zeros(one.size, dtype=np.int64)).reshape(
        one.shape
    )
