"""Texts of an audited set, read once more shard by shard: for faults that show only beside the other texts of the set.

Does not know: which faults.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pyarrow.parquet as pq

from pairloom.clean.audit import ShardFacts
from pairloom.clean.text_faults import text_faults
from pairloom.data.shards import Shard
from pairloom.data.shards import read as read_shard
from pairloom.scale import Execution

Task = TypeVar("Task")


def texts_of(shard: Shard, audit: Path | None) -> Iterator[tuple[str, list[str]]]:
    """The texts of a shard, each with its faults. audit: folder of the audit's parts; None: the shard itself is read."""
    if audit is None:
        for pair in read_shard(shard):
            yield from ((text.text, text_faults(text.text)) for text in pair.texts)
        return
    with pq.ParquetFile(audit / f"{shard.name}.parquet") as part:
        for batch in part.iter_batches(columns=["texts", "text_faults"], use_threads=False):
            for texts, faults in zip(*(column.to_pylist() for column in batch.columns)):
                yield from zip(texts, faults)


def names_and_texts(shard: Shard, audit: Path | None) -> Iterator[tuple[str, list[str]]]:
    """The name of each pair of a shard and its texts, as the set has them. audit: folder of the audit's parts; None: the shard itself
    is read."""
    if audit is None:
        for pair in read_shard(shard):
            yield pair.name, [text.text for text in pair.texts]
        return
    with pq.ParquetFile(audit / f"{shard.name}.parquet") as part:
        for batch in part.iter_batches(columns=["name", "texts", "originals"], use_threads=False):
            for name, texts, originals in zip(*(column.to_pylist() for column in batch.columns)):
                yield (
                    name,
                    [text if original is None else original for text, original in zip(texts, originals)],
                )


def sample_of(facts: Sequence[ShardFacts]) -> list[str]:
    """The texts that the shards' facts hold as a sample of the set."""
    return [text for each in facts for text in each.sample]


def indices(
    facts: Sequence[ShardFacts], execution: Execution, function: Callable[[Task], tuple[Any, ...]], tasks: Sequence[Task], kinds: int = 1
) -> list[np.ndarray]:  # fmt: skip
    """Indices of texts in the order of the shards, of so many kinds. function: the places of each kind among the texts of the shard
    of a task."""
    first = dict(zip([each.shard for each in facts], np.cumsum([0, *(each.texts for each in facts)])))
    parts: list[list[np.ndarray]] = [[np.zeros(0, np.int64)] for _ in range(kinds)]
    for task, places in execution.run(function, tasks):
        for part, of_kind in zip(parts, places):
            part.append(first[task.shard.name] + of_kind)  # type: ignore[attr-defined]  # every task has a shard
    return [np.sort(np.concatenate(part)) for part in parts]
