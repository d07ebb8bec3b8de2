"""Store of the raw features of a set: a part for every shard, and the features of the donors of planted mismatches.

Does not know: how features are computed, what they are compared by.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.numpy import save

from pairloom.clean.rows import SCORED, Rows, read_donors, read_part
from pairloom.data.disk import atomic_write

Raw = NDArray[np.float16]
FOLDER, DONORS = "features", "donor-features.safetensors"  # in the work folder


def part_of(work: Path, shard: str) -> Path:
    """The part with the features of a shard."""
    return work / FOLDER / f"{shard}.safetensors"


def distinct_texts(texts: Sequence[Sequence[str]]) -> list[str]:
    """The distinct texts of a shard's rows, in the order of their features."""
    return sorted({text for row in texts for text in row})


def write_encoded(file: Path, arrays: dict[str, NDArray[np.float16]], identity: str) -> None:
    with atomic_write(file) as out:
        out.write(save(arrays, {"identity": identity}))


def read_encoded(file: Path, name: str, identity: str) -> Raw | None:
    """One of the arrays of a part; None where there is no part of these encoders."""
    if not file.exists():
        return None
    with safe_open(file, "np") as part:
        return part.get_tensor(name) if (part.metadata() or {}).get("identity") == identity else None


def write_donor_features(rows: Rows, identity: str) -> None:
    """Collect the raw features of the donors, which planted mismatches need in every shard."""
    file = rows.work / DONORS
    if file.exists():
        return
    donors = [text for _, text in read_donors(rows.work)]
    wanted, features = set(donors), dict[str, NDArray[np.float16]]()
    for _, texts, table in encoded_texts(rows, identity):
        features |= {text: table[at] for at, text in enumerate(texts) if text in wanted}
    width = len(next(iter(features.values()), np.zeros(0)))
    table = np.stack([features[text] for text in donors]) if donors else np.zeros((0, width), np.float16)
    write_encoded(file, {"texts": table}, identity)


def encoded_texts(rows: Rows, identity: str) -> Iterator[tuple[str, list[str], Raw]]:
    """(shard, distinct texts, their raw features) of every shard."""
    for shard in rows.shards:
        texts = distinct_texts(read_part(rows.folder, shard, [SCORED]).column(SCORED).to_pylist())
        table = read_encoded(part_of(rows.work, shard), "texts", identity)
        assert table is not None, f"{shard} was not encoded"
        yield shard, texts, table


class StoredFeatures:
    """Raw features of a shard that were computed before, for the tasks of the shard."""

    def __init__(self, work: Path, shard: str, identity: str) -> None:
        self.work, self.shard, self.identity = work, shard, identity

    def pictures(self, rows: Sequence[int]) -> Raw | None:
        """Raw features of rows; None where the shard was not encoded by these encoders."""
        stored = read_encoded(part_of(self.work, self.shard), "pictures", self.identity)
        return None if stored is None else stored[list(rows)]

    def texts(self) -> dict[str, NDArray[np.float16]]:
        """Raw features of the shard's texts and of the donors."""
        known = dict(_donor_features(self.work, self.identity))
        table = read_encoded(part_of(self.work, self.shard), "texts", self.identity)
        if table is not None:
            part = read_part(self.work / "rows", self.shard, [SCORED]).column(SCORED).to_pylist()
            known |= dict(zip(distinct_texts(part), table))
        return known


@lru_cache(maxsize=1)
def _donor_features(work: Path, identity: str) -> dict[str, NDArray[np.float16]]:
    table = read_encoded(work / DONORS, "texts", identity)
    return {} if table is None else {text: row for (_, text), row in zip(read_donors(work), table)}
