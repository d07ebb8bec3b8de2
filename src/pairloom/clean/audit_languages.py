"""Audit of languages: the texts of a set that are not in its main language. Part of step 1 of `clean`, and of `check`.

The languages are learnt from a sample of the texts; only where the set has several, its texts are read once more, shard by shard.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from pairloom.clean.audit import ShardFacts
from pairloom.clean.faults import FAULTS
from pairloom.clean.set_languages import SetLanguages
from pairloom.clean.text_faults import text_faults
from pairloom.data.disk import atomic_write
from pairloom.data.shards import PairSet, Shard
from pairloom.data.shards import read as read_shard
from pairloom.scale import Execution

FILE = "languages.json"
MAIN = 0.8  # least share of the main language, for the others to be faults
CODES = ("other_language", "unclear_language")


@dataclass(frozen=True)
class LanguageTask:
    """Task of finding the texts of one shard in other languages. languages: their file; audit: folder of the audit's parts, None:
    the shard itself is read."""

    shard: Shard
    languages: Path
    audit: Path | None = None


def find_languages(
    pairs: PairSet, facts: Sequence[ShardFacts], execution: Execution, folder: Path | None
) -> dict[str, np.ndarray]:
    """Texts of a set in another language than its main one: code -> indices of texts, in the order of the shards. facts: of the
    shards, with a sample of texts; folder: of the audit's parts."""
    nothing = {code: np.zeros(0, np.int64) for code in CODES}
    languages = SetLanguages.learn([text for each in facts for text in each.sample])
    if not languages.several or languages.main_share() < MAIN:
        return nothing
    first = dict(zip([each.shard for each in facts], np.cumsum([0, *(len(each.texts) for each in facts)])))
    indices: dict[str, list[np.ndarray]] = {code: [] for code in CODES}
    with _place(folder) as place:
        if not (place / FILE).exists():
            with atomic_write(place / FILE) as file:
                file.write(languages.to_json().encode())
        tasks = [LanguageTask(shard, place / FILE, folder) for shard in pairs.shards]
        for task, flags in execution.run(judge_languages, tasks):
            for code, places in zip(CODES, flags):
                indices[code].append(first[task.shard.name] + places)
    return {code: np.sort(np.concatenate([nothing[code], *each])) for code, each in indices.items()}


def judge_languages(task: LanguageTask) -> tuple[np.ndarray, np.ndarray]:
    """Places among a shard's texts of those that are certainly, and that may well be, in another language. Texts that are bad
    anyway are passed over."""
    languages = SetLanguages.from_json(task.languages.read_text("utf-8"))
    texts, places = [], []
    for place, (text, codes) in enumerate(texts_of(task.shard, task.audit)):
        if all(FAULTS[code].severity != "bad" for code in codes):
            texts.append(text)
            places.append(place)
    certain, doubted = languages.other(texts)
    numbers = np.array(places, np.int64)
    return numbers[certain], numbers[doubted]


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


@contextmanager
def _place(folder: Path | None) -> Iterator[Path]:
    """A folder for the file of the languages: a temporary one where there is none."""
    if folder is not None:
        yield folder
        return
    with tempfile.TemporaryDirectory() as temporary:
        yield Path(temporary)
