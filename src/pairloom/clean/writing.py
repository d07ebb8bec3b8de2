"""Output of a cleaning run: the shards of the clean set, and their parts of the ledger."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from pairloom.clean import ledger
from pairloom.clean.decisions import Outcome
from pairloom.clean.shard_decisions import read_outcomes
from pairloom.data.pair import Pair, Text
from pairloom.data.shards import PairSet, Shard, find
from pairloom.data.shards import read as read_shard


@dataclass(frozen=True)
class WriteTask:
    """Task of writing one shard: the shard, the paths of its clean pairs and of its ledger part, and the part with its
    decisions."""

    shard: Shard
    out: Path
    part: Path
    decisions: Path


def write_shard(task: WriteTask) -> int:
    """Write the clean pairs in the set's own format, then the ledger part, which is the commit mark."""
    if task.part.exists():
        return pq.read_metadata(task.part).num_rows
    entries: list[dict[str, Any]] = []

    def kept() -> Iterator[Pair]:
        for pair, outcome in zip(read_shard(task.shard), read_outcomes(task.decisions), strict=True):
            entries.extend(_entries(task.shard.name, pair, outcome))
            if outcome.texts:
                yield pair.with_texts(_texts(pair, outcome))

    find(task.shard.format).write(task.out, task.shard.name, kept(), task.shard)
    ledger.write_part(task.part, entries)
    return len(entries)


def _texts(pair: Pair, outcome: Outcome) -> tuple[Text, ...]:
    """The clean texts: those of the set, as they are or repaired, of equal ones each with its own metadata; new ones with their
    source."""
    originals: dict[str | None, list[Text]] = {}
    for text in reversed(pair.texts):
        originals.setdefault(text.text, []).append(text)
    before = {item.judged.text: item.judged.original for item in outcome.decisions}
    texts = []
    for words, source in outcome.texts:
        held = originals.get(words) or originals.get(before.get(words)) or [Text(words, source)]
        texts.append(replace(held.pop(), text=words))
    return tuple(texts)


def _entries(shard: str, pair: Pair, outcome: Outcome) -> Iterator[dict[str, Any]]:
    for at, item in enumerate(outcome.decisions):
        yield {
            "key": pair.key, "image_key": pair.image_key, "name": pair.name, "shard": shard,
            "text_id": at if item.judged.text or pair.texts else -1,
            "text": item.judged.text, "original": item.judged.original, "source": item.judged.source, "findings": [*outcome.findings, *item.judged.findings],
            "score": item.judged.score, "p_match": item.judged.p_match, "end_score": item.judged.end_score,
            "p_complete": item.judged.p_complete, "word_score": item.judged.word_score, "p_words": item.judged.p_words, "wrong_words": list(item.judged.wrong_words),
            "decision": item.decision, "reason": item.reason,
        }  # fmt: skip


def finish(pairs: PairSet, out: Path) -> None:
    """Join the parts where the format is a single file. A clean set without pairs is an empty folder."""
    out.mkdir(parents=True, exist_ok=True)
    find(pairs.format).finish(out, [shard.name for shard in pairs.shards])
