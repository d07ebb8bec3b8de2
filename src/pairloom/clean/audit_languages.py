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

from pairloom.clean.audit import ShardFacts
from pairloom.clean.audited_texts import indices, sample_of, texts_of
from pairloom.clean.faults import is_bad
from pairloom.clean.set_languages import SetLanguages, forget_texts
from pairloom.data.disk import atomic_write
from pairloom.data.shards import PairSet, Shard
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
    languages = SetLanguages.learn(sample_of(facts))
    if not languages.several or languages.main_share() < MAIN:
        forget_texts()
        return {code: np.zeros(0, np.int64) for code in CODES}
    with _place(folder) as place:
        if not (place / FILE).exists():
            with atomic_write(place / FILE) as file:
                file.write(languages.to_json().encode())
        tasks = [LanguageTask(shard, place / FILE, folder) for shard in pairs.shards]
        by_code = dict(zip(CODES, indices(facts, execution, judge_languages, tasks, len(CODES))))
    forget_texts()
    return by_code


def judge_languages(task: LanguageTask) -> tuple[np.ndarray, np.ndarray]:
    """Places among a shard's texts of those that are certainly, and that may well be, in another language. Texts that are bad
    anyway are passed over."""
    languages = SetLanguages.from_json(task.languages.read_text("utf-8"))
    texts, places = [], []
    for place, (text, codes) in enumerate(texts_of(task.shard, task.audit)):
        if not is_bad(codes):
            texts.append(text)
            places.append(place)
    certain, doubted = languages.other(texts)
    numbers = np.array(places, np.int64)
    return numbers[certain], numbers[doubted]


@contextmanager
def _place(folder: Path | None) -> Iterator[Path]:
    """A folder for the file of the languages: a temporary one where there is none."""
    if folder is not None:
        yield folder
        return
    with tempfile.TemporaryDirectory() as temporary:
        yield Path(temporary)
