"""Scores of texts by their single words, and of texts with one word exchanged, shard by shard: a second look at the texts that
match as a whole. Step 3 of `clean`, where the judge tells words.

Does not know: thresholds, decisions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pairloom.clean.audited_shard import AuditedShard
from pairloom.clean.calibrate import Calibration
from pairloom.clean.picture_source import PairJudge, PictureSource
from pairloom.clean.rows import doubted_texts, read_part
from pairloom.clean.scoring import PLANTED
from pairloom.clean.shared_budget import DOUBT, KnownErrors
from pairloom.data.disk import atomic_write
from pairloom.data.pair import seed_of
from pairloom.data.shards import Shard

SCHEMA = pa.schema(
    [
        ("row", pa.int64()),
        ("text_id", pa.int32()),
        ("text", pa.string()),
        ("words", pa.list_(pa.string())),
        ("odds", pa.list_(pa.float64())),
    ]
)
FITS = 20.0  # score of a text without a word that is judged
EDITED = -2  # the text_id of a text with one word exchanged


@runtime_checkable
class JudgesWords(Protocol):
    """Interface of a judge that tells which words of a text are wrong."""

    @property
    def tells_words(self) -> bool:
        """Whether it can, for this set."""
        ...

    def wrong_words(
        self, pictures: PictureSource, rows: Sequence[int], texts: Sequence[str]
    ) -> list[list[tuple[str, float]]]:
        """Log-odds that a word is wrong of its picture, for every word of n requests (row, text) that can be judged, the worst
        first."""
        ...

    def exchange(self, text: str, others: Sequence[str], seed: int) -> str | None:
        """The text with a word exchanged for another of its class that is in none of `others`; None where none can be."""
        ...


@dataclass(frozen=True)
class WordTask:
    """Task of scoring the words of one shard's texts. texts: folder of parts with the texts (of the set, with their scores, or
    of proposed captions); folder: for the result; threshold: of the scores below which a text is left out; edits: whether
    each text is also scored with a word exchanged."""

    work: Path
    shard: Shard
    texts: Path
    folder: Path
    judge: PairJudge
    threshold: float | None = None
    edits: bool = True

    @property
    def part(self) -> Path:
        return self.folder / f"{self.shard.name}.parquet"


def score_words(task: WordTask) -> int:
    """Score the words of a shard's texts; the part on disk is the commit mark."""
    if task.part.exists():
        return pq.read_metadata(task.part).num_rows
    judge = task.judge
    assert isinstance(judge, JudgesWords)
    known = read_part(task.texts, task.shard.name, ["row", "text_id", "text", "score"])
    doubted = doubted_texts(task.work, task.shard.name) if task.edits else set()
    requests = [
        (row, at, text)
        for row, at, text, score in zip(*(column.to_pylist() for column in known.columns))
        if at != PLANTED
        and (row, at) not in doubted
        and np.isfinite(score)
        and (task.threshold is None or score >= task.threshold)
    ]
    pictures = AuditedShard(task.work, task.shard)
    if task.edits:
        keys, others = pictures.column("image_key"), pictures.column("texts")
        edits = [
            (row, EDITED, judge.exchange(text, others[row], seed_of(keys[row], "edited", text)))
            for row, _, text in requests
        ]
        requests += [(row, at, text) for row, at, text in edits if text is not None]
    rows, ids, texts = ([request[column] for request in requests] for column in range(3))
    results = judge.wrong_words(pictures, rows, texts) if rows else []
    words, odds = ([[entry[side] for entry in each] for each in results] for side in range(2))
    with atomic_write(task.part) as file:
        pq.write_table(pa.table([rows, ids, texts, words, odds], SCHEMA), file)
    return len(requests)


def text_score(odds: Sequence[float]) -> float:
    """Score of a text by its worst word, higher is better. odds: log-odds that a word is wrong; FITS without any."""
    return -max(odds, default=-FITS)


@dataclass(frozen=True)
class WordsOfText:
    """The words of a text with the log-odds that they are wrong, the worst first."""

    words: Sequence[str]
    odds: Sequence[float]

    @property
    def score(self) -> float:
        return text_score(self.odds)

    def doubted(self, calibration: Calibration) -> tuple[str, ...]:
        """Words that may well be wrong, or for which the text is dropped."""
        if calibration.posterior is None or not len(self.odds):
            return ()
        scores = -np.asarray(self.odds, np.float64)
        wrong = calibration.p_match(scores) < DOUBT
        if calibration.threshold is not None:
            wrong |= scores < calibration.threshold
        return tuple(word for word, each in zip(self.words, wrong.tolist()) if each)


def read_words(folder: Path | None, shard: str) -> dict[tuple[int, int], WordsOfText]:
    """The words of a shard's texts by (row, text_id), without edited ones; empty without a folder."""
    if folder is None:
        return {}
    columns = [column.to_pylist() for column in read_part(folder, shard).columns]
    return {(row, at): WordsOfText(words, odds) for row, at, _, words, odds in zip(*columns) if at != EDITED}


def read_word_errors(folder: Path, shards: Sequence[str]) -> KnownErrors:
    """Scores of own texts [n] and of edited ones [m], by their worst words, for those in which a word could be judged. folder:
    with the parts of all shards."""
    own: list[float] = []
    edited: list[float] = []
    owner: list[int] = []
    first = 0
    for shard in shards:
        columns = [column.to_pylist() for column in read_part(folder, shard).columns]
        last = 0
        for row, at, _, words, odds in zip(*columns):
            last = max(last, row + 1)
            if not words:
                continue
            score = text_score(odds)
            if at == EDITED:
                edited.append(score)
            else:
                own.append(score)
                owner.append(first + row)
        first += last
    arrays = np.array(own, np.float64), np.array(edited, np.float64), np.array(owner, np.int64)
    return KnownErrors(*arrays, cautious=True)
