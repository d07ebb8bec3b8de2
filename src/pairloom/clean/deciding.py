"""From scores to decisions, for every row of a set: what `merge.decide` needs, gathered from the parts on disk.

Does not know: how scores and captions were made.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from pairloom.clean.calibrate import Calibration
from pairloom.clean.judging import PLANTED
from pairloom.clean.merge import Judged, Outcome, Rules, decide
from pairloom.clean.rows import Rows

Scores = dict[int, dict[int, float]]  # row -> text_id -> score
Proposals = dict[int, list[tuple[str, float]]]  # row -> (caption, score)


def read_scores(folder: Path, shards: Sequence[str]) -> tuple[Scores, np.ndarray, np.ndarray]:
    """Scores by row and text, all scores of own texts, all scores of planted ones."""
    by_row: Scores = {}
    own, planted = [], []
    for name in shards:
        table = pq.read_table(folder / "scores" / f"{name}.parquet", columns=["row", "text_id", "score"])
        for row, at, score in zip(
            *(table.column(column).to_pylist() for column in ("row", "text_id", "score"))
        ):
            if at == PLANTED:
                planted.append(score)
            else:
                by_row.setdefault(row, {})[at] = score
                own.append(score)
    return by_row, np.array(own), np.array(planted)


def read_proposals(folder: Path, shards: Sequence[str]) -> Proposals:
    """Proposed captions by row, the surest first; none where no captioner ran."""
    found: Proposals = {}
    for name in shards:
        path = folder / "captions" / f"{name}.parquet"
        if path.exists():
            for entry in pq.read_table(path).to_pylist():
                found.setdefault(entry["row"], []).append((entry["text"], entry["score"]))
    return found


@dataclass
class Deciding:
    """Everything known of a set after a round; asks `decide` row by row."""

    rows: Rows
    scores: Scores
    calibration: Calibration
    proposals: Proposals
    rules: Rules
    writer: str = ""  # source of proposals: "synthetic:MODEL"

    def outcome(self, row: int) -> Outcome:
        """What becomes of a row."""
        texts = self.rows.texts[row]
        sources = self._sources[row]
        judged = [
            self._judged(text, sources[at], self.rows.text_faults[row][at], self.scores.get(row, {}).get(at))
            for at, text in enumerate(texts)
        ]
        proposals = [
            self._judged(text, self.writer, [], score) for text, score in self.proposals.get(row, [])
        ]
        return decide(self.rows.image_faults[row], self._problems[row], judged, proposals, self.rules)

    def __post_init__(self) -> None:
        self._sources = self.rows.column("sources")
        self._problems = self.rows.column("problem")

    def _judged(self, text: str, source: str, findings: list[str], score: float | None) -> Judged:
        if score is None or not np.isfinite(score):
            return Judged(text, source, findings)
        p = float(self.calibration.p_match(np.array([score]))[0])
        return Judged(text, source, findings, score, p if np.isfinite(p) else None)

    def wordless(self) -> list[int]:
        """Usable rows that are left without any text: where a caption is wanted."""
        return [row for row in range(len(self.rows)) if self.rows.usable[row] and not self.outcome(row).texts]

    def texts(self) -> list[list[str]]:
        """The texts of the clean set by row: what the next round, and the proof, learn from."""
        return [[text for text, _ in self.outcome(row).texts] for row in range(len(self.rows))]
