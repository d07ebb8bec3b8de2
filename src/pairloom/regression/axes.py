"""Principal axes of a table that is read in parts: a randomised singular value decomposition.

Source: Halko, Martinsson and Tropp (2011), subspace iteration. Does not know: what the columns mean.

V columns, E axes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
import torch
from numpy.typing import NDArray

from pairloom.runtime.threads import one_thread

OVERSAMPLING, STEPS = 20, 3


def principal_axes(
    tables: Callable[[], Iterable[NDArray[np.float32]]], columns: int, width: int, seed: int
) -> NDArray[np.float32]:
    """The first right singular vectors [V E] of a table with V columns. tables: reads its parts [n V] anew at each call."""
    wide = min(width + OVERSAMPLING, columns)
    draw = np.random.default_rng(seed).standard_normal((columns, wide)).astype(np.float32)
    with one_thread():
        basis = torch.linalg.qr(torch.from_numpy(draw))[0]
        for _ in range(STEPS + 1):
            product = torch.zeros_like(basis)
            for part in tables():
                table = torch.from_numpy(part)
                product += table.T @ (table @ basis)
            basis, triangle = torch.linalg.qr(product)
        rotation = torch.linalg.svd(triangle)[0]
        axes: NDArray[np.float32] = (basis @ rotation)[:, :width].contiguous().numpy()
    return axes
