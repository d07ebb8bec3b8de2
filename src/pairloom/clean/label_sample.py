"""Sample of the texts to label: a simple random sample of those below the limit, and what its answers say about a run's scores.

Does not know: how a person is asked, decisions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from pairloom.clean.kept_scores import KeptScores
from pairloom.clean.label_file import AGAIN, BAD, SKIPPED, LabelFile, SampledText, SampleOrigin
from pairloom.clean.labels import Labels, choose_labels
from pairloom.data.pair import Blob
from pairloom.data.shards import PairSet
from pairloom.data.shards import read as read_shard
from pairloom.errors import Mistake

COUNT = 50  # texts that a person is asked about
COLUMNS = ("name", "shard", "key", "text_id", "image_key", "text", "p_match")


@dataclass(frozen=True)
class LabelSample:
    """A sample of texts in random order; a longer one begins with the shorter one. p_match: P(match) of each, in the ledger;
    index: of each among the own scores; population: texts below the limit."""

    origin: SampleOrigin
    texts: tuple[SampledText, ...]
    p_match: tuple[float, ...]
    index: NDArray[np.int64]
    population: int

    @classmethod
    def draw(cls, ledger: Path, kept: KeptScores, origin: SampleOrigin, count: int) -> LabelSample:
        """Draw `count` texts of a run, given its ledger and its scores."""
        index = choose_labels(kept.own, origin.below, count, origin.seed)
        lines = _rows(ledger, kept.row[index])
        chances = tuple(line.pop("p_match") for line in lines)
        texts = tuple(SampledText(number, **line) for number, line in enumerate(lines, 1))
        return cls(origin, texts, chances, index, int((kept.own < origin.below).sum()))

    def save(self, file: str | Path, answers: Sequence[str]) -> None:
        """Write a label file: "good", "bad" or "skipped" for the first texts of the sample. Mistake where the file exists."""
        LabelFile(self.origin, dict(zip(self.texts, answers))).save(Path(file))


def origin_of(facts: dict[str, Any], seed: int = 0) -> SampleOrigin:
    """The origin of a run's sample. facts: the content of run.json. Mistake where no label can decide anything."""
    calibration = facts.get("calibration") or {}
    if "label_limit" not in calibration:
        why = str(calibration.get("why") or "No judge was calibrated.")
        raise Mistake("There is nothing to label.", why, "Add pairs to the set and clean it again.")
    return SampleOrigin(facts["set"]["path"], facts["scores"], calibration["label_limit"], seed)


def sample_of(file: LabelFile, name: str, ledger: Path, kept: KeptScores, count: int = 0) -> LabelSample:
    """The sample that a label file is about: up to its last text, or `count` texts. name: of the file. Mistake where it is about
    other scores, or one of its texts was not drawn."""
    last = max((text.number for text in file.answers), default=0)
    known = file.origin.scores == kept.identity and last <= int((kept.own < file.origin.below).sum())
    sample = LabelSample.draw(ledger, kept, file.origin, max(count, last) if known else 0)
    for text in file.answers:
        _demand_drawn(name, text, sample if known else None, ledger)
    if not known:
        raise Mistake(f"{name} is about other scores.", "It was drawn from another run.", AGAIN)
    return sample


def labels_of(file: LabelFile, name: str, ledger: Path, kept: KeptScores) -> Labels:
    """The labels in a file about a run, for `calibrate`. name: of the file.

    A text that was skipped, or passed over before the last answer, counts as good, so that a person who skips the hard ones
    cannot make the bound too low. Mistake where the file is about other scores, or its texts are not the sample.
    """
    if all(answer == SKIPPED for answer in file.answers.values()):
        raise Mistake(f"{name} holds no answer.", "Not one text is labelled good or bad.", AGAIN)
    sample = sample_of(file, name, ledger, kept)
    good = np.ones(len(sample.texts), bool)
    for text, answer in file.answers.items():
        good[text.number - 1] = answer != BAD
    return Labels(sample.index, good, file.origin.below)


def picture_of(pairs: PairSet, text: SampledText) -> Blob:
    """Where the picture of a text of a sample is. Mistake where the set no longer has it."""
    for shard in pairs.shards:
        if shard.name == text.shard:
            for pair in read_shard(shard):
                if (pair.key, pair.name) == (text.key, text.name):
                    return pair.image
    raise Mistake(f"{pairs.path} has no pair {text.name} any more.", "It has changed since it was cleaned.", "Clean it again.")  # fmt: skip


def _demand_drawn(name: str, text: SampledText, sample: LabelSample | None, ledger: Path) -> None:
    """Raise Mistake where a labelled text is not the one that was drawn. sample: None where the scores are others."""
    if sample is None:
        table = pq.read_table(ledger, columns=["key"], filters=[("key", "=", text.key)])
        if len(table):
            why = "Another judge, or the same one trained anew, has scored this set: the labelled texts are no random sample below its limit."
            raise Mistake(f"{name} is about other scores.", why, AGAIN)
        raise Mistake(
            f"{name} is about another set.", f"Pair {text.name} (key {text.key[:12]}) is not in it.", AGAIN
        )
    drawn = sample.texts[text.number - 1]
    if drawn == text:
        return
    if (drawn.shard, drawn.name, drawn.text_id) == (text.shard, text.name, text.text_id):
        why = f"The text or the picture of {text.name} is no longer what was labelled."
        raise Mistake(f"{name} does not fit text {text.number} of the sample.", why, AGAIN)
    why = f"Text {text.number} is that of {drawn.name}, not of {text.name}. A bound needs the texts that were drawn at random."
    raise Mistake(f"{name} holds a text that was not drawn.", why, AGAIN)


def _rows(ledger: Path, rows: NDArray[np.int64]) -> list[dict[str, Any]]:
    """Rows of a ledger, in the order asked for, with one row group in memory at a time."""
    lines: dict[int, dict[str, Any]] = {}
    order, start = np.sort(rows), 0
    with pq.ParquetFile(ledger) as file:
        for group in range(file.num_row_groups):
            stop = start + file.metadata.row_group(group).num_rows
            inside = order[(order >= start) & (order < stop)]
            if len(inside):
                table = file.read_row_group(group, columns=list(COLUMNS), use_threads=False)
                lines |= dict(zip(inside.tolist(), table.take(inside - start).to_pylist()))
            start = stop
    return [lines[at] for at in rows.tolist()]
