"""Scores of a whole set by a judge or a model, shard by shard, as one table. Does not know: thresholds, decisions."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from pairloom.clean.judges import Judge, JudgeAt, cut_by
from pairloom.clean.picture_source import shrunk
from pairloom.clean.region_scores import RegionJudgeAt
from pairloom.data.disk import atomic_write, check_output
from pairloom.data.pair import Pair
from pairloom.data.shards import PairSet, Shard
from pairloom.data.shards import read as read_shard
from pairloom.runtime import Speed
from pairloom.runtime.speeds import described_speed
from pairloom.scale import Execution
from pairloom.scale.table import make_table, parts_of

SCHEMA = pa.schema(
    [("key", pa.string()), ("name", pa.string()), ("text_id", pa.int32()), ("text", pa.string()), ("score", pa.float64()), ("problem", pa.string())]
)  # fmt: skip


UNREADABLE = "the picture cannot be read"


@dataclass(frozen=True)
class TableTask:
    """Task of scoring one shard: the shard, the judge, and the path of its part."""

    shard: Shard
    judge: JudgeAt | RegionJudgeAt
    part: Path


class _Pictures:
    """Picture source of a shard's pairs."""

    def __init__(self, pairs: Sequence[Pair]) -> None:
        self.pairs = pairs

    def keys(self, rows: Sequence[int]) -> list[str]:
        return [self.pairs[row].image_key for row in rows]

    def pixels(self, rows: Sequence[int], size: int) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
        files = dict(self.encoded(rows))
        return shrunk((files.get(row) for row in rows), size)

    def encoded(self, rows: Sequence[int]) -> Iterator[tuple[int, bytes]]:
        for row in rows:
            try:
                data = self.pairs[row].image.read()
            except OSError:
                continue
            yield row, data


def score_shard(task: TableTask) -> str:
    """Score a shard; its part on disk is the commit mark. Returns the name of the score."""
    if task.part.exists():
        return task.judge.way()
    pairs = list(read_shard(task.shard))
    requests = [(row, at, text.text) for row, pair in enumerate(pairs) for at, text in enumerate(pair.texts)]
    rows, texts = [row for row, _, _ in requests], [text for _, _, text in requests]
    problems: dict[int, str] = {}
    scores: Any = []
    if isinstance(task.judge, RegionJudgeAt):
        scores, problems = task.judge.score(pairs, rows, texts)
    elif rows:
        scores = task.judge.score(_Pictures(pairs), rows, texts)
    entries = [
        {
            "key": pairs[row].key, "name": pairs[row].name, "text_id": at, "text": text.encode("utf-8", "replace").decode(),
            "score": float(score) if score > float("-inf") else None,
            "problem": "" if score > float("-inf") else pairs[row].problem or problems.get(row, UNREADABLE),
        }
        for (row, at, text), score in zip(requests, scores)
    ]  # fmt: skip
    with atomic_write(task.part) as file:
        pq.write_table(pa.Table.from_pylist(entries, SCHEMA), file)
    return task.judge.way()


def score_set(
    pairs: PairSet,
    model: Path,
    out: Path,
    execution: Execution,
    restart: bool,
    tell: Callable[..., None],
    speed: Speed = "exact",
    device: str = "cpu",
    regions: Path | None = None,
) -> dict[str, Any]:
    """Score every text of a set, and write `out` (.parquet). regions: of the pictures, for a model that reads those. Unfinished
    work is beside it, and is resumed. Mistake where `out` exists."""
    check_output(out, pairs.path)
    shards = [shard.name for shard in pairs.shards]
    plan = json.dumps({
        "set": str(pairs.path), "model": str(model), "speed": speed, "shards": shards,
        **({} if regions is None else {"regions": str(regions)}),
    })  # fmt: skip
    parts = parts_of(out)
    judge: JudgeAt | RegionJudgeAt = JudgeAt(str(model), device, speed)
    if regions is not None:
        judge = RegionJudgeAt(str(model), str(regions), device, speed)
    judge.way()  # loads it, so that a model that does not score is a Mistake before any work
    tasks = [TableTask(shard, judge, parts / f"{shard.name}.parquet") for shard in pairs.shards]
    ways = make_table(
        score_shard, tasks, out, SCHEMA, plan, execution, restart, lambda done, all: tell("score", done, all)
    )
    scores = pq.read_table(out, columns=["score"]).column("score")
    texts = pq.read_table(out, columns=["text"]).column("text").to_pylist()
    return {
        "texts": len(scores) - scores.null_count,
        "unreadable": scores.null_count,
        "way": " ".join(sorted(set(ways))),
        **_about(judge, texts),
        "out": str(out),
    }


def _about(judge: JudgeAt | RegionJudgeAt, texts: Sequence[str]) -> dict[str, Any]:
    """The speed of a judge, and which of the texts it read in part."""
    if isinstance(judge, RegionJudgeAt):
        return {"speed": described_speed(judge.model.system), "cut": asdict(judge.cut(texts))}
    folds = judge.judge.folds if isinstance(judge.judge, Judge) else ()
    speed = described_speed(*(fold.model.system for fold in folds))
    return {"speed": speed, "cut": asdict(cut_by(judge.judge, texts))}
