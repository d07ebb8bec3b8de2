"""Score a whole set with a model, shard by shard, into one table. Does not know: thresholds, decisions."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pairloom import scale
from pairloom.clean.judging import ModelJudge
from pairloom.data.disk import atomic_write, check_output
from pairloom.data.pair import content_hash
from pairloom.data.shards import PairSet, Shard
from pairloom.data.shards import read as read_shard
from pairloom.errors import Mistake

SCHEMA = pa.schema(
    [("key", pa.string()), ("name", pa.string()), ("text_id", pa.int32()), ("text", pa.string()), ("score", pa.float64()), ("problem", pa.string())]
)  # fmt: skip


@dataclass(frozen=True)
class Job:
    """One shard, the model that scores it, and where its part goes."""

    shard: Shard
    model: str
    part: Path


def score_shard(job: Job) -> str:
    """Score a shard; its part on disk is the commit mark. Returns the way scores were made."""
    judge = ModelJudge(job.model, job.shard, 0)
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
    found: PairSet, model: Path, out: Path, workers: int, restart: bool, tell: Callable[..., None]
) -> dict[str, Any]:
    """Write `out` (.parquet). Unfinished work lies beside it and is gone on with. Mistake where `out` exists."""
    check_output(out, found.path)
    parts = out.with_name(f".{out.name}.parts")
    plan = json.dumps(
        {"set": str(found.path), "model": str(model), "shards": [shard.name for shard in found.shards]}
    )
    if restart:
        shutil.rmtree(parts, ignore_errors=True)
        out.unlink(missing_ok=True)
    if out.exists():
        raise Mistake(
            f"{out} exists already.",
            "Nothing of yours is ever overwritten.",
            "Name another --out, or add --restart.",
        )
    if (parts / "plan").is_file() and (parts / "plan").read_text() != content_hash(plan.encode()):
        raise Mistake(
            f"{parts} holds scores of another set or model.", "", "Name another --out, or add --restart."
        )
    with atomic_write(parts / "plan") as file:
        file.write(content_hash(plan.encode()).encode())
    jobs = [Job(shard, str(model), parts / f"{shard.name}.parquet") for shard in found.shards]
    tell("score", 0, len(jobs))
    ways = set()
    for _, way in scale.run(score_shard, jobs, workers):
        ways.add(way)
        tell("score", 1, len(jobs))
    texts = unreadable = 0
    with atomic_write(out) as file, pq.ParquetWriter(file, SCHEMA) as writer:
        for job in jobs:
            table = pq.read_table(job.part, schema=SCHEMA)
            texts, unreadable = texts + len(table), unreadable + table.column("score").null_count
            writer.write_table(table)
    shutil.rmtree(parts)
    return {
        "texts": texts - unreadable,
        "unreadable": unreadable,
        "way": " ".join(sorted(ways)),
        "out": str(out),
    }
