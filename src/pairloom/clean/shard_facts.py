"""Facts of an audited shard that the faults of the whole set are found by. Does not know: how any of them is detected."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from pairloom.clean import perceptual_hash as phash


@dataclass
class ShardFacts:
    """Result of auditing a shard, which stays in memory: counts, a few examples of each fault, a sample of the texts that have no bad
    one, and columns (190 bytes a pair), or the file that these lie in where a part is written.

    n pairs, m texts: keys uint64 [n], the first 64 bits of the pair's key; images uint64 [n], the same of the picture's key, 0 where
    there is none; quality uint64 [n], which of two copies is better (`duplicates.quality`); descriptors int8 [n SIZE] of the picture
    (`perceptual_hash`), 0 where there is none; words uint64 [n], sketch of the words of the pair's texts (`placeholders`); texts
    uint64 [m], hash of each text; first_text int32 [n + 1], texts of pair i are first_text[i]:first_text[i + 1]; bad_pairs bool [n], a
    bad fault of the picture or the row; bad_texts bool [m], one of the text.
    """

    shard: str
    pairs: int
    texts: int
    bad: int  # pairs and texts with a bad fault
    columns: dict[str, np.ndarray] | Path
    counts: Counter[str] = field(default_factory=Counter)
    examples: dict[str, list[tuple[str, str]]] = field(default_factory=dict)
    sample: list[str] = field(default_factory=list)

    def column(self, name: str) -> np.ndarray:
        """A column by its name; descriptors that lie in a file are those of the shard's part beside it."""
        if isinstance(self.columns, dict):
            return self.columns[name]
        if name == "descriptors":
            return _descriptors_in(self.columns.with_suffix(".parquet"))
        with np.load(self.columns) as held:
            column: np.ndarray = held[name]
        return column

    def bare(self) -> ShardFacts:
        """The facts without examples and sample."""
        return replace(self, examples={}, sample=[])


def _descriptors_in(part: Path) -> np.ndarray:
    """Descriptors [n SIZE] of the pictures of a shard, from its part."""
    with pq.ParquetFile(part) as table:
        column = table.read(["descriptor"], use_threads=False).column(0).to_pylist()
    raw = b"".join(value or bytes(phash.SIZE) for value in column)
    return np.frombuffer(raw, np.int8).reshape(-1, phash.SIZE)


def joined_column(shards: Sequence[ShardFacts], name: str, kind: type[np.generic] = np.uint64) -> np.ndarray:
    """A column of the facts of all shards, one behind the other. kind: of its values, for a set without shards."""
    return np.concatenate([facts.column(name) for facts in shards] or [np.zeros(0, kind)])


def texts_of_pairs(shards: Sequence[ShardFacts]) -> np.ndarray:
    """The number of texts of each pair of a set."""
    return np.concatenate(
        [np.diff(facts.column("first_text")) for facts in shards] or [np.zeros(0, np.int32)]
    )
