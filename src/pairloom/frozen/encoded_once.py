"""Pictures that a frozen image tower encodes when they are first asked for, and that are kept in a file from then on.

A training run then passes each picture through the tower once, in its first epoch. Does not know: systems, texts.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pairloom.data.index import DecodedImages, ImageIndex
from pairloom.data.loader import Loader, PixelColumn
from pairloom.data.order import Rows
from pairloom.data.pair import content_hash
from pairloom.frozen.tower_rows import TowerPixels, TowerRows

SAMPLE = 400  # pictures that the axes of a set's rows are learnt from
AXES, ENCODED = ".axes-", ".encoded-"  # beginnings of the names of files in the folder of a run


def learn_rows(tower: str, width: int, index: ImageIndex, seed: int, folder: Path | None) -> TowerRows:
    """The rows of a tower on the axes of a set's pictures, learnt once and kept in `folder`. None: they are not learnt."""
    rows = TowerRows(tower, width)
    if folder is None:
        return rows
    known = content_hash(bytes(index.key), repr((rows.identity, rows.width, seed)).encode())
    file = folder / f"{AXES}{known[:16]}.safetensors"
    if not file.exists():
        chosen = np.sort(np.random.default_rng(seed).permutation(len(index))[:SAMPLE])
        rows.learn(TowerPixels.of(tower).prepared(_files(index, chosen.tolist()))).save(file)
    return TowerRows.load(file)


def _files(index: ImageIndex, rows: Sequence[int]) -> Iterator[bytes]:
    """Encoded pictures of rows, one at a time; what is not there any more is left out."""
    for row in rows:
        with suppress(OSError):
            yield index.read(row)


class EncodedOnce:
    """The loader's Pictures: rows [B R W] of a tower in place of pixels, in half precision in a file of `folder`. Rows of zeros
    there are not encoded yet, so that a run that was stopped goes on with what it has."""

    def __init__(self, pictures: DecodedImages, tower: TowerRows, folder: Path) -> None:
        self.pictures, self.tower, self.folder = pictures, tower, folder
        self._table: NDArray[np.float16] | None = None
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self.pictures)

    @property
    def bad(self) -> dict[str, str]:
        """Pictures that could not be read, and why."""
        return self.pictures.bad

    def identity(self) -> str:
        return self.pictures.identity()

    def look(self, rows: Rows, chance: Tensor, sided: Tensor) -> tuple[Tensor, Rows]:
        """Rows of the pictures; a neighbour's where one cannot be read."""
        with self._lock:
            shown = np.arange(len(rows))
            table = self._table if self._table is not None else self._open()
            new = [at for at, row in enumerate(rows) if not table[row].any(-1).all()]
            if new:
                pixels, place = self.pictures.look(rows[new], chance[new], sided[new])
                shown[new] = np.array(new)[place]
                whole = [at for at, each in enumerate(place) if each == at]
                uint8 = (pixels[whole] * 255).round().byte().permute(0, 2, 3, 1).numpy()
                for at, encoded in zip(whole, self.tower.rows(uint8, str(self.tower.axes.device))):
                    table[rows[new[at]]] = encoded.half().numpy()
            return torch.from_numpy(table[rows[shown]]).float(), shown

    def _open(self) -> NDArray[np.float16]:
        size = self.pictures.transform.size
        shape = (len(self), *self.tower.rows(np.zeros((1, size, size, 3), np.uint8)).shape[1:])
        known = content_hash(self.identity().encode(), self.tower.axes.cpu().numpy().tobytes())
        file = self.folder / f"{ENCODED}{known[:16]}"
        with open(file, "ab") as stream:  # several processes may open it at once
            stream.truncate(math.prod(shape) * np.dtype(np.float16).itemsize)
        self._table = np.memmap(file, np.float16, "r+", shape=shape)
        return self._table


def forget(folder: Path) -> None:
    """Remove the files of a run that has finished."""
    for name in (AXES, ENCODED):
        for file in folder.glob(f"{name}*"):
            file.unlink()


def encode_once(loader: Loader, tower: TowerRows, folder: Path) -> Loader:
    """The loader with its pictures encoded by a tower; their file is made when the first picture is asked for."""
    columns = [
        replace(column, pictures=EncodedOnce(column.pictures, tower, folder))
        if isinstance(column, PixelColumn) and isinstance(column.pictures, DecodedImages)
        else column
        for column in loader.columns
    ]
    return replace(loader, columns=columns)
