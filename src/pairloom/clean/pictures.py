"""Pictures for the report: a link to each, the bytes of a few. Does not know: which ones are shown, or why."""

from __future__ import annotations

import os
from functools import cached_property
from io import BytesIO
from pathlib import Path
from urllib.parse import quote

import numpy as np
import pyarrow.parquet as pq
from PIL import Image

from pairloom.data.pair import Blob
from pairloom.data.shards import PairSet


class Pictures:
    """The pictures of a set by the keys of their pairs. Holds references, not bytes."""

    def __init__(self, found: PairSet, out: Path, work: Path) -> None:
        self.found, self.out, self.work = found, out, work

    @cached_property
    def _places(self) -> dict[str, Blob]:
        return {
            pair.key: pair.image
            for pair in self.found.pairs()
            if pair.image.path is not None and pair.image.data is None
        }

    @cached_property
    def _rows(self) -> dict[str, int]:
        keys = pq.read_table(self.work / "rows.parquet", columns=["key"]).column("key").to_pylist()
        return {key: row for row, key in enumerate(keys)}

    def link(self, key: str) -> str | None:
        """The picture's own file, relative to the report; None where it lies inside a tar or a table."""
        blob = self._places.get(key)
        if blob is None or blob.path is None or blob.offset or blob.size is not None:
            return None
        return quote(os.path.relpath(blob.path, self.out))

    def thumbnail(self, key: str) -> bytes | None:
        """The encoded picture; where its file cannot be reached by a reference, the audit's small copy of it."""
        blob = self._places.get(key)
        if blob is not None:
            try:
                return blob.read()
            except OSError:
                return None
        row = self._rows.get(key)
        if row is None:
            return None
        pixels = np.load(self.work / "pixels.npy", mmap_mode="r")[row]
        if not pixels.any():
            return None
        file = BytesIO()
        Image.fromarray(np.asarray(pixels)).save(file, "PNG")
        return file.getvalue()
