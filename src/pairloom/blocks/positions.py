"""Positions of a square grid of patches: fixed waves, and learned tables for a grid of another side.

P, Q positions of two grids (a class row, where there is one, before them), D width.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor


def sinusoidal_positions_2d(side: int, width: int) -> Float[Tensor, "P D"]:
    """Positions of a square grid: sines and cosines of the row, then of the column (Vaswani et al., 2017, section 3.5, in
    two dimensions). Raises ValueError where width is no multiple of four."""
    if width % 4:
        raise ValueError(f"width {width} is no multiple of four")
    speeds = 100.0 ** -(torch.arange(width // 4) / (width // 4))
    angles = torch.arange(side)[:, None] * speeds
    line = torch.cat([angles.sin(), angles.cos()], 1)
    return torch.cat([line.repeat_interleave(side, 0), line.repeat(side, 1)], 1)


def resize_positions(
    table: Float[Tensor, "1 P D"], rows: int, antialias: bool = False
) -> Float[Tensor, "1 Q D"]:
    """The position table of a square grid for that of another, with `rows` rows: bicubic. A table of one row more than a
    square begins with a class row, which is kept. antialias: a smaller grid averages more of the old one."""
    lead = int(round(table.shape[1] ** 0.5) ** 2 != table.shape[1])
    old, new = round((table.shape[1] - lead) ** 0.5), round((rows - lead) ** 0.5)
    if old * old != table.shape[1] - lead or new * new != rows - lead:
        raise ValueError(f"{table.shape[1] - lead} or {rows - lead} patches are no square")
    if old == new:
        return table
    grid = table[:, lead:].unflatten(1, (old, old)).permute(0, 3, 1, 2)
    grid = F.interpolate(
        grid.float(), (new, new), mode="bicubic", align_corners=False, antialias=antialias
    ).to(table.dtype)
    return torch.cat([table[:, :lead], grid.flatten(2).transpose(1, 2)], 1)
