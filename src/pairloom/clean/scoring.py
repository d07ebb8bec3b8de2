"""Score a whole set with a model, shard by shard, into one table. Does not know: thresholds, decisions."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pairloom.clean.judging import ModelJudge, able
from pairloom.data.disk import atomic_write, check_output
from pairloom.data.shards import PairSet, Shard
from pairloom.data.shards import read as read_shard
from pairloom.runtime import Speed
from pairloom.scale._table import make_table, parts_of

SCHEMA = pa.schema(
    [("key", pa.string()), ("name", pa.string()), ("text_id", pa.int32()), ("text", pa.string()), ("score", pa.float64()), ("problem", pa.string())]
)  # fmt: skip


@dataclass(frozen=True)
class Job:
    """One shard, the model that scores it, and where its part goes."""

    shard: Shard
    model: str
    part: Path
    speed: Speed = "exact"


def score_shard(job: Job) -> str:
    """Score a shard; its part on disk is the commit mark. Returns the way scores were made."""
    judge = ModelJudge(job.model, job.shard, 0, job.speed)
    if job.part.exists():
        return judge.way
    pairs = [
        (row, at, pair, text.text)
        for row, pair in enumerate(read_shard(job.shard))
        for at, text in enumerate(pair.texts)
    ]
    scores: Any = (
        judge.score([row for row, _, _, _ in pairs], [text for _, _, _, text in pairs]) if pairs else []
    )
    entries = [
        {
            "key": pair.key, "name": pair.name, "text_id": at, "text": text.encode("utf-8", "replace").decode(),
            "score": float(score) if score > float("-inf") else None,
            "problem": "" if score > float("-inf") else pair.problem or "the picture cannot be read",
        }
        for (_, at, pair, text), score in zip(pairs, scores)
    ]  # fmt: skip
    with atomic_write(job.part) as file:
        pq.write_table(pa.Table.from_pylist(entries, SCHEMA), file)
    return judge.way


def score_set(
    found: PairSet,
    model: Path,
    out: Path,
    workers: int,
    restart: bool,
    tell: Callable[..., None],
    speed: Speed = "exact",
) -> dict[str, Any]:
    """Write `out` (.parquet). Unfinished work lies beside it and is gone on with. Mistake where `out` exists."""
    check_output(out, found.path)
    able(str(model), speed)
    shards = [shard.name for shard in found.shards]
    plan = json.dumps({"set": str(found.path), "model": str(model), "speed": speed, "shards": shards})
    parts = parts_of(out)
    jobs = [Job(shard, str(model), parts / f"{shard.name}.parquet", speed) for shard in found.shards]
    ways = make_table(
        score_shard, jobs, out, SCHEMA, plan, workers, restart, lambda done, all: tell("score", done, all)
    )
    scores = pq.read_table(out, columns=["score"]).column("score")
    return {
        "texts": len(scores) - scores.null_count,
        "unreadable": scores.null_count,
        "way": " ".join(sorted(set(ways))),
        "out": str(out),
    }
