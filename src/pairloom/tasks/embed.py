"""Embeddings of pictures and texts in the shared space, and tables of the embeddings of a whole set.

N pictures, M texts, E shared embedding.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import torch
from numpy.typing import NDArray
from torch import Tensor

from pairloom.data.ahead import ahead
from pairloom.data.disk import atomic_write, check_output
from pairloom.data.pair import Pair
from pairloom.data.pixels import Picture, Unreadable
from pairloom.data.shards import PairSet, Shard
from pairloom.data.shards import read as read_shard
from pairloom.model import Model
from pairloom.model.numbers import finite
from pairloom.runtime import Speed
from pairloom.runtime.speeds import SCALED, described_speed
from pairloom.scale import Execution
from pairloom.scale.table import make_table, parts_of
from pairloom.verbs import demand
from pairloom.weights import load

GROUP = 32  # pictures that are embedded together


@torch.no_grad()
def embed_images(model: Model, images: Tensor | Sequence[Picture], rows: int = GROUP) -> NDArray[Any]:
    """Embeddings of pictures: unit vectors [N E] in float32, computed `rows` at a time."""
    count = range(0, len(images), rows)
    parts = [model.system.embed_image(model.batch(images[first : first + rows])) for first in count]
    return finite_array(parts)


@torch.no_grad()
def embed_texts(model: Model, texts: Sequence[str], rows: int = 256) -> NDArray[Any]:
    """Embeddings of texts: unit vectors [M E] in float32, computed `rows` at a time; texts that are longer than the model
    reads are truncated."""
    count = range(0, len(texts), rows)
    parts = [model.system.embed_text(model.batch(texts=texts[first : first + rows])) for first in count]
    return finite_array(parts)


def finite_array(parts: Sequence[Tensor]) -> NDArray[Any]:
    """Parts of a table of embeddings as one array in float32. Mistake where a number is not finite."""
    array: NDArray[Any] = finite(torch.cat(list(parts)).float(), "embeddings").cpu().numpy()
    return array


@lru_cache(maxsize=1)
def _model(where: str, speed: Speed, device: str) -> Model:
    return load(where).to(device).at_speed(speed)


@dataclass(frozen=True)
class EmbedTask:
    """Task of embedding one shard: the shard, the model, and the path of its part."""

    shard: Shard
    model: str
    part: Path
    speed: Speed = "exact"
    device: str = "cpu"


def schema(width: int) -> pa.Schema:
    """Columns of a table of embeddings. key: of the picture's bytes. embedding: unit vector [E] in float32; null where there is
    a problem."""
    vector = pa.list_(pa.float32(), width)
    return pa.schema(
        [("key", pa.string()), ("name", pa.string()), ("embedding", vector), ("problem", pa.string())]
    )


def embed_shard(job: EmbedTask) -> None:
    """Embed a shard and write its part, atomically: a part on disk is finished."""
    if job.part.exists():
        return
    model = _model(job.model, job.speed, job.device)
    rows: list[dict[str, Any]] = []
    waiting: list[tuple[int, Any]] = []

    def embed() -> None:
        if waiting:
            vectors = embed_images(model, [image for _, image in waiting])
            for (at, _), vector in zip(waiting, vectors):
                rows[at]["embedding"] = vector
        waiting.clear()

    def look(pair: Pair) -> tuple[Pair, Any, str]:
        try:
            return pair, model.pixels.read(pair.image.read(), scaled=job.speed in SCALED), ""
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


def embed_set(
    pairs: PairSet,
    model: Path | str,
    out: Path,
    *,
    workers: int = 1,
    speed: Speed = "exact",
    device: str = "cpu",
    restart: bool = False,
    tell: Callable[[str, int, int], None] = lambda step, done, total: None,
) -> dict[str, Any]:
    """Embed every picture of a set, shard by shard, and write `out` (.parquet). A run that was stopped is resumed.

    Returns the number of embedded and of unreadable pictures, the width, and the speed with what was chosen for it. Mistake where `out` exists.
    """
    check_output(out, pairs.path)
    loaded = _model(str(model), speed, device)
    demand(loaded.system, "embed")
    parts = parts_of(out)
    jobs = [
        EmbedTask(shard, str(model), parts / f"{shard.name}.parquet", speed, device) for shard in pairs.shards
    ]
    plan = json.dumps(
        {
            "set": str(pairs.path),
            "model": str(model),
            "speed": speed,
            "shards": [job.shard.name for job in jobs],
        }
    )
    width = loaded.config.embedding
    make_table(
        embed_shard, jobs, out, schema(width), plan, Execution(workers=workers), restart, lambda done, total: tell("embed", done, total)
    )  # fmt: skip
    vectors = pq.read_table(out, columns=["embedding"]).column("embedding")
    return {
        "pictures": len(vectors) - vectors.null_count, "unreadable": vectors.null_count, "width": width,
        "speed": described_speed(loaded.system),
    }  # fmt: skip
