"""Frozen image tower as the image network of a system: pixels -> rows on the principal axes of a set's own pictures.

Does not know: systems, texts, how rows are read.

I pictures, S pixels a side, P cells of the tower's last map, D its features, W width of a row.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from PIL import Image
from safetensors import safe_open
from safetensors.torch import save as to_bytes
from torch import Tensor, nn

from pairloom.data.disk import atomic_write
from pairloom.data.pixels import Unreadable, open_image
from pairloom.data.transform import Transform
from pairloom.errors import Mistake
from pairloom.runtime.threads import one_thread
from pairloom.towers import ImageTower, load_image_tower
from pairloom.towers.preparation import Preparation

Form = Literal["rows", "map"]


@dataclass(frozen=True)
class TowerPixels(Transform):
    """The pixels that a tower reads, as floats from 0 to 1. tower: its name or path; identity: content hash of all that its
    features depend on. There is no augmentation."""

    mean: tuple[float, ...] = (0.0, 0.0, 0.0)
    std: tuple[float, ...] = (1.0, 1.0, 1.0)
    tower: str = ""
    identity: str = ""
    preparation: Preparation = Preparation(224)

    @classmethod
    def of(cls, where: str) -> TowerPixels:
        """Those of the tower `where`."""
        tower = image_tower(where)
        return cls(tower.size, tower=where, identity=tower.identity, preparation=tower.preparation)

    def to_uint8(self, image: Image.Image, rng: np.random.Generator | None = None) -> NDArray[np.uint8]:
        """[S S 3] of an RGB image."""
        return self.preparation.to_uint8(image)

    def prepared(self, files: Iterable[bytes]) -> Iterator[NDArray[np.uint8]]:
        """[1 S S 3] of each encoded picture, one at a time; unreadable ones are left out."""
        for data in files:
            try:
                yield self.to_uint8(open_image(data))[None]
            except Unreadable:
                continue

    def read(self, data: bytes, scaled: bool = False) -> Image.Image:
        """The picture of encoded bytes, which `to_uint8` prepares. Raises Unreadable."""
        return open_image(data, shrink_to=2 * self.size if scaled else None)


class TowerRows(nn.Module):
    """A frozen image tower behind principal axes. The tower is named, not held: its weights are in no model folder.

    form "rows": the pooled features, then the cells [I 1+P W]. form "map": the cells alone, as a map [I W U U]. Both kinds are
    centred and rotated by the principal axes that `learn` finds, and divided by one number, so that their mean variance is 1.
    width: W, at most D.
    """

    def __init__(self, where: str, width: int) -> None:
        super().__init__()
        tower = image_tower(where)
        self.where, self.identity = where, tower.identity
        self.form: Form = "rows"
        self.width = min(width, tower.width)
        self.register_buffer("means", torch.zeros(2, tower.width))
        self.register_buffer("axes", torch.zeros(2, tower.width, self.width))

    def learn(self, pictures: Iterable[NDArray[np.uint8]]) -> TowerRows:
        """Set the axes by prepared pictures [n S S 3], in parts; returns itself. ValueError where there is none."""
        moments = [_Moments(), _Moments()]
        for part in pictures:
            for kind, features in zip(moments, _both(image_tower(self.where), part)):
                kind.add(features.reshape(-1, features.shape[-1]))
        for at, kind in enumerate(moments):
            mean, axes = kind.principal_axes(self.width)
            self.means[at] = torch.from_numpy(mean)
            self.axes[at] = torch.from_numpy(axes)
        return self

    def forward(self, images: Tensor) -> Tensor:
        """Rows [I 1+P W] or a map [I W U U] of pixels [I 3 S S] from 0 to 1, or of rows that `rows` computed before."""
        rows = images
        if images.ndim == 4:
            pixels = (images * 255).round().byte().permute(0, 2, 3, 1).cpu().numpy()
            rows = self.rows(pixels, str(images.device)).to(images.device)
        return rows if self.form == "rows" else _as_map(rows[:, 1:])

    @torch.no_grad()
    def rows(self, pixels: NDArray[np.uint8], device: str = "cpu") -> Float[Tensor, "I R W"]:
        """Rows (R = 1 + P) of prepared pictures [I S S 3], on the CPU. A picture's are the same bytes alone and among others."""
        means, axes = self.means.cpu(), self.axes.cpu()
        rows = []
        for picture in zip(*_both(image_tower(self.where, device), pixels)):
            with one_thread():
                parts = [
                    (torch.from_numpy(one) - mean) @ kind for one, mean, kind in zip(picture, means, axes)
                ]
            rows.append(torch.cat(parts))
        return torch.stack(rows)

    def save(self, file: Path) -> None:
        """Write the name of the tower and the axes to a file."""
        known = {"tower": self.where, "identity": self.identity}
        tensors = {"means": self.means.cpu(), "axes": self.axes.cpu()}
        with atomic_write(file, replace=True) as out:
            out.write(to_bytes(tensors, known))

    @classmethod
    def load(cls, file: Path) -> TowerRows:
        """The inverse of `save`. Mistake where the tower is missing or is another one."""
        with safe_open(file, "pt") as stored:
            known = stored.metadata()
            means, axes = stored.get_tensor("means"), stored.get_tensor("axes")
        demand_tower(known["tower"], known["identity"])
        rows = cls(known["tower"], axes.shape[-1])
        rows.means, rows.axes = means, axes
        return rows


def _both(tower: ImageTower, pixels: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Pooled features [I 1 D] and cells [I P D]."""
    cells, pooled = tower.both(pixels)
    return pooled[:, None], cells.numpy()


def _as_map(cells: Float[Tensor, "I P W"]) -> Float[Tensor, "I W U U"]:
    side = round(cells.shape[1] ** 0.5)
    if side * side != cells.shape[1]:
        raise ValueError(f"{cells.shape[1]} cells are no square map")
    return cells.transpose(1, 2).unflatten(2, (side, side)).contiguous()


class _Moments:
    """Sums over the rows of a table [n D] that is read in parts, for its principal axes."""

    def __init__(self) -> None:
        self.count, self.sums, self.products = 0, np.zeros(()), np.zeros(())

    def add(self, table: NDArray[np.float32]) -> None:
        self.count += len(table)
        self.sums = self.sums + table.sum(0, dtype=np.float64)
        self.products = self.products + (table.T @ table).astype(np.float64)

    def principal_axes(self, width: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Mean [D] and axes [D W]; the scores on the axes have a mean variance of 1. ValueError for an empty table."""
        if not self.count:
            raise ValueError("there is no picture to learn axes from")
        mean = self.sums / self.count
        values, vectors = np.linalg.eigh(self.products / self.count - np.outer(mean, mean))
        scale = max(float(values[-width:].mean()), 1e-12) ** 0.5
        return mean.astype(np.float32), (vectors[:, ::-1][:, :width] / scale).astype(np.float32)


@lru_cache(maxsize=2)
def image_tower(where: str, device: str = "cpu") -> ImageTower:
    """A tower, loaded once by each process."""
    return load_image_tower(where, device)


def demand_tower(where: str, identity: str) -> None:
    """Raise Mistake where the tower `where` is missing, or is not the one of this identity."""
    if image_tower(where).identity != identity:
        raise Mistake(
            f"The model was trained on features of other weights than those of {where} now.",
            "A tower is named in the model's folder, not copied into it.",
            "Put the tower back that was there, or train the model again.",
        )
