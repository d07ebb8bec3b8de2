"""Audit of shared phrases: the texts that begin or end as most texts of the set do. Part of step 1 of `clean`, and of `check`.

The phrases are learnt from a sample of the texts; only where there are some, the texts are read once more, shard by shard.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pairloom.clean.audit import ShardFacts
from pairloom.clean.audited_texts import indices, sample_of, texts_of
from pairloom.clean.shared_phrases import SharedPhrases
from pairloom.data.shards import PairSet, Shard
from pairloom.scale import Execution

CODE = "shared_phrase"


@dataclass(frozen=True)
class PhraseTask:
    """Task of finding the texts of one shard with a shared phrase. audit: folder of the audit's parts, None: the shard itself
    is read."""

    shard: Shard
    phrases: SharedPhrases
    audit: Path | None = None


def find_phrases(
    pairs: PairSet, facts: Sequence[ShardFacts], execution: Execution, folder: Path | None
) -> tuple[SharedPhrases, np.ndarray]:
    """The shared phrases of a set, and the texts that have one, as indices in the order of the shards. facts: of the shards, with
    a sample of texts; folder: of the audit's parts."""
    phrases = SharedPhrases.learn(sample_of(facts))
    if not phrases:
        return phrases, np.zeros(0, np.int64)
    tasks = [PhraseTask(shard, phrases, folder) for shard in pairs.shards]
    return phrases, indices(facts, execution, texts_with_phrase, tasks)[0]


def texts_with_phrase(task: PhraseTask) -> tuple[np.ndarray]:
    """Places among a shard's texts of those that have a shared phrase."""
    strip = task.phrases.strip
    places = [at for at, (text, _) in enumerate(texts_of(task.shard, task.audit)) if strip(text) != text]
    return (np.array(places, np.int64),)
