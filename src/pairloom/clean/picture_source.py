"""Picture sources and judges as the steps of `clean` see them: pictures by row, and scores of requests (row, text).

Does not know: models, calibration.

n requests, S pixels a side.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from io import BytesIO
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pairloom.clean import audit
from pairloom.data.pair import content_hash
from pairloom.data.pixels import Unreadable

Floats = NDArray[np.float64]
Picture = bytes | Path | str | Image.Image


@runtime_checkable
class PictureSource(Protocol):
    """Interface of a source of pictures, by row."""

    def keys(self, rows: Sequence[int]) -> list[str]:
        """Content hash of each row's encoded picture."""
        ...

    def pixels(self, rows: Sequence[int], size: int) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
        """Pixels [n S S 3], resized as in the audit, and which of them are readable [n]."""
        ...

    def encoded(self, rows: Sequence[int]) -> Iterator[tuple[int, bytes]]:
        """Encoded pictures as (row, bytes), of these distinct rows in rising order, without unreadable ones."""
        ...


@runtime_checkable
class PairJudge(Protocol):
    """Interface of a judge. It is pickled to every worker, so it refers to large files by path and loads them when needed.

    name: its name in run.json.
    """

    @property
    def name(self) -> str: ...

    def way(self) -> str:
        """Name of its score, such as "match head"."""
        ...

    def score(self, pictures: PictureSource, rows: Sequence[int], texts: Sequence[str]) -> Floats:
        """Scores [n] of n requests (row, text), higher is better; -inf where a picture cannot be read."""
        ...


@runtime_checkable
class CrossFitted(Protocol):
    """Interface of a judge with folds."""

    def fold_of(self, image_key: str) -> int:
        """The fold of a picture, whose scores come from what was fitted without its pictures."""
        ...


class GivenPictures:
    """Picture source of a list of files, encoded bytes or PIL images; row i is picture i."""

    def __init__(self, pictures: Sequence[Picture]) -> None:
        self.pictures = pictures

    @cached_property
    def _read(self) -> list[bytes | None]:
        return [_bytes_of(picture) for picture in self.pictures]

    def keys(self, rows: Sequence[int]) -> list[str]:
        return [content_hash(self._read[row] or b"") for row in rows]

    def pixels(self, rows: Sequence[int], size: int) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
        return shrunk((self._read[row] for row in rows), size)

    def encoded(self, rows: Sequence[int]) -> Iterator[tuple[int, bytes]]:
        for row in rows:
            data = self._read[row]
            if data is not None:
                yield row, data


def _bytes_of(picture: Picture) -> bytes | None:
    """Encoded bytes of a picture; None where a file cannot be read. A PIL image is encoded without loss."""
    if isinstance(picture, bytes):
        return picture
    if isinstance(picture, Image.Image):
        file = BytesIO()
        picture.save(file, "PNG")
        return file.getvalue()
    try:
        return Path(picture).read_bytes()
    except OSError:
        return None


def shrunk(encoded: Iterator[bytes | None], size: int) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Pixels [n S S 3], resized as in the audit, black for unreadable pictures, and which pictures are readable [n]."""
    pixels, readable = [], []
    for data in encoded:
        try:
            pixels.append(audit.square_of(data or b"", size))
            readable.append(True)
        except (Unreadable, OSError):
            pixels.append(np.zeros((size, size, 3), np.uint8))
            readable.append(False)
    return np.stack(pixels), np.array(readable, bool)
