"""Audited shard: the picture source of the tasks of a shard. Does not know: models, scores."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pairloom.clean.feature_store import StoredFeatures
from pairloom.clean.picture_source import shrunk
from pairloom.clean.rows import read_part
from pairloom.data.shards import Shard
from pairloom.data.shards import read as read_shard


@dataclass(frozen=True)
class AuditedShard:
    """Picture source of an audited shard, by row in the shard: the audit's pixels, and the encoded files."""

    work: Path
    shard: Shard

    @cached_property
    def _keys(self) -> list[str]:
        keys: list[str] = self.column("image_key")
        return keys

    def column(self, name: str) -> list[Any]:
        """Values of a column of the shard's rows."""
        values: list[Any] = read_part(self.work / "rows", self.shard.name, [name]).column(name).to_pylist()
        return values

    @cached_property
    def stored(self) -> NDArray[np.uint8]:
        """The audit's pixels [n S S 3], memory-mapped."""
        pixels: NDArray[np.uint8] = np.load(self.work / "audit" / f"{self.shard.name}.npy", mmap_mode="r")
        return pixels

    def keys(self, rows: Sequence[int]) -> list[str]:
        return [self._keys[row] for row in rows]

    def pixels(self, rows: Sequence[int], size: int) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
        if self.stored.shape[1] == size:
            return np.asarray(self.stored[list(rows)]), np.ones(len(rows), bool)
        files = dict(self.encoded(sorted(set(rows))))
        return shrunk((files.get(row) for row in rows), size)

    def encoded(self, rows: Sequence[int]) -> Iterator[tuple[int, bytes]]:
        wanted = set(rows)
        for row, pair in enumerate(read_shard(self.shard)):
            if row in wanted:
                try:
                    data = pair.image.read()
                except OSError:
                    continue  # it was there during the audit, but is gone now
                yield row, data

    def features(self, identity: str) -> StoredFeatures:
        """Raw features that the encoders of this identity have written for the shard."""
        return StoredFeatures(self.work, self.shard.name, identity)
