"""Embed the pictures of a shard: a row of the shared space for each, beside its key. Does not know: what it is for.

E shared embedding.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import torch

from pairloom.blocks.engine import Speed
from pairloom.data.ahead import ahead
from pairloom.data.disk import atomic_write
from pairloom.data.pair import Pair
from pairloom.data.pixels import Unreadable
from pairloom.data.shards import Shard
from pairloom.data.shards import read as read_shard
from pairloom.model import Model
from pairloom.weights import load

GROUP = 32  # pictures that are embedded together


@lru_cache(maxsize=1)
def _model(where: str, speed: Speed) -> Model:
    return load(where).at_speed(speed)


@dataclass(frozen=True)
class Job:
    """One shard, the model that embeds it, and where its part goes."""

    shard: Shard
    model: str
    part: Path
    speed: Speed = "exact"


def schema(width: int) -> pa.Schema:
    """key: of the picture's bytes. embedding [E] float32, of length one; null where there is a problem."""
    vector = pa.list_(pa.float32(), width)
    return pa.schema(
        [("key", pa.string()), ("name", pa.string()), ("embedding", vector), ("problem", pa.string())]
    )


def embed_shard(job: Job) -> None:
    """Write the rows of a shard; its part on disk is the commit mark."""
    if job.part.exists():
        return
    model = _model(job.model, job.speed)
    rows: list[dict[str, Any]] = []
    waiting: list[tuple[int, Any]] = []

    def embed() -> None:
        if waiting:
            with torch.no_grad():
                found = model.system.embed_image(model.batch([image for _, image in waiting]))
            for (at, _), vector in zip(waiting, found.float().cpu().numpy()):
                rows[at]["embedding"] = vector
        waiting.clear()

    def look(pair: Pair) -> tuple[Pair, Any, str]:
        try:
            return pair, model.pixels.read(pair.image.read(), scaled=job.speed == "fast"), ""
        except (OSError, Unreadable) as error:
            return pair, None, pair.problem or str(error)

    for pair, image, problem in ahead(look, read_shard(job.shard)):
        rows.append({"key": pair.image_key, "name": pair.name, "embedding": None, "problem": problem})
        if image is not None:
            waiting.append((len(rows) - 1, image))
        if len(waiting) == GROUP:
            embed()
    embed()
    with atomic_write(job.part) as file:
        pq.write_table(pa.Table.from_pylist(rows, schema(model.config.embedding)), file)
