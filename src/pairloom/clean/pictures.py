"""Pictures of the report: a link to each, and the bytes of some. Does not know: which pictures the report shows."""

from __future__ import annotations

import os
from array import array
from collections.abc import Iterator
from functools import cached_property, lru_cache
from io import BytesIO
from itertools import islice
from pathlib import Path
from urllib.parse import quote

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pairloom.data.pair import Blob
from pairloom.data.shards import PairSet
from pairloom.data.shards import read as read_shard


class ReportPictures:
    """The pictures of a set by the keys of their pairs. In memory are 8 bytes for each pair, and the references of one shard."""

    def __init__(self, pairs: PairSet, out: Path, work: Path) -> None:
        self.pairs, self.out, self.work = pairs, out, work
        self._reader: tuple[int, int, Iterator[Blob]] = (-1, 0, iter(()))  # shard, next row, pictures

    @cached_property
    def _index(self) -> tuple[NDArray[np.uint64], NDArray[np.int64], NDArray[np.int64]]:
        """Sorted short keys with the row of each, and the first row of each shard."""
        keys, first = array("Q"), [0]
        for shard in self.pairs.shards:
            keys.extend(_short(pair.key) for pair in read_shard(shard))
            first.append(len(keys))
        short = np.asarray(keys, np.uint64)
        order = np.argsort(short, kind="stable")
        return short[order], order, np.asarray(first, np.int64)

    def _row(self, key: str) -> tuple[int, int] | None:
        """(shard, row in it) of the last pair with a key."""
        keys, rows, first = self._index
        at = int(np.searchsorted(keys, np.uint64(_short(key)), "right")) - 1
        if at < 0 or int(keys[at]) != _short(key):
            return None
        shard = int(np.searchsorted(first, rows[at], "right")) - 1
        return shard, int(rows[at] - first[shard])

    @lru_cache(maxsize=1)  # noqa: B019  # there is one object, which lives while the report is written
    def _blobs(self, shard: int) -> list[Blob | None]:
        """References to a shard's pictures; None for a picture that is no file and no span of one."""
        images = (pair.image for pair in read_shard(self.pairs.shards[shard]))
        return [image if image.path is not None and image.data is None else None for image in images]

    def _blob(self, key: str) -> Blob | None:
        place = self._row(key)
        return None if place is None else self._blobs(place[0])[place[1]]

    def link(self, key: str) -> str | None:
        """Link to the picture's own file, relative to the report; None for a picture inside a tar or a table."""
        blob = self._blob(key)
        if blob is None or blob.path is None or blob.offset or blob.size is not None:
            return None
        return quote(os.fsencode(os.path.relpath(blob.path, self.out)))  # a name need not be UTF-8

    def thumbnail(self, key: str) -> bytes | None:
        """The encoded picture; the audit's thumbnail where there is no reference to its file."""
        place, blob = self._row(key), self._blob(key)
        if blob is not None:
            try:
                return blob.read()
            except OSError:
                return None
        return None if place is None else self._small(*place)

    def encoded(self, key: str) -> bytes | None:
        """The encoded picture, also of one inside a table: its shard is read once, where the keys come in the set's order."""
        place, blob = self._row(key), self._blob(key)
        try:
            return blob.read() if blob is not None else None if place is None else self._inside(*place)
        except OSError:
            return None

    def _inside(self, shard: int, row: int) -> bytes | None:
        """The encoded picture of a row of a shard."""
        here, at, images = self._reader
        if here != shard or at > row:
            at, images = 0, (pair.image for pair in read_shard(self.pairs.shards[shard]))
        image = next(islice(images, row - at, None), None)
        self._reader = shard, row + 1, images
        return None if image is None else image.read()

    def _small(self, shard: int, row: int) -> bytes | None:
        file = self.work / "audit" / f"{self.pairs.shards[shard].name}.npy"
        if not file.exists():
            return None
        pixels = np.load(file, mmap_mode="r")[row]
        if not pixels.any():
            return None
        out = BytesIO()
        Image.fromarray(np.asarray(pixels)).save(out, "PNG")
        return out.getvalue()


def _short(key: str) -> int:
    """The first 64 bits of a key."""
    return int(key[:16] or "0", 16)
