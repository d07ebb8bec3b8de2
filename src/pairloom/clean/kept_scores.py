"""Kept scores of a finished run: all that its threshold was computed from, so that it can be computed again in seconds.

The scores of the set's own texts stand in the ledger; those of planted mismatches and of trusted pairs in a file beside it.
Does not know: which texts are labelled, decisions about pairs.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from pairloom.clean.calibrate import Calibration, calibrate
from pairloom.clean.labels import Labels
from pairloom.clean.ledger import ORIGINAL, ledger_of
from pairloom.data.disk import atomic_write
from pairloom.data.pair import content_hash
from pairloom.errors import Mistake

FILE = "scores.parquet"  # in the output folder
SCHEMA = pa.schema([("kind", pa.string()), ("score", pa.float64())])
PLANTED, TRUSTED = "planted", "trusted"
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class KeptScores:
    """Scores of a finished run. own [n]: of the set's own texts, with the row of each in the ledger, row [n], and its pair,
    owner [n]; planted [m]; trusted [k], None without a trusted set."""

    own: Floats
    row: NDArray[np.int64]
    owner: NDArray[np.int64]
    planted: Floats
    trusted: Floats | None

    @classmethod
    def read(cls, out: Path, facts: dict[str, Any]) -> KeptScores:
        """Read the scores of a finished run. facts: the content of its run.json. Mistake where it kept none, or where the
        ledger has changed since."""
        again = f"Run: pairloom clean PAIRS --out {out} --restart"
        if facts.get("applied"):
            why = "`pairloom apply` wrote it with the decisions of a reader."
            raise Mistake(f"{out} holds no scores.", why, "Give the folder of the run itself.")
        if not (out / FILE).is_file():
            raise Mistake(f"{out} holds no scores.", f"{FILE} is written when `clean` has finished.", again)
        kept = cls.of(ledger_of(out), out / FILE)
        if kept.identity != facts.get("scores"):
            why = "Its scores are not those that the run wrote."
            raise Mistake(f"{out / 'pairs.parquet'} or {out / FILE} has changed.", why, again)
        return kept

    @classmethod
    def of(cls, ledger: Path, scores: Path) -> KeptScores:
        """Read the scores of a ledger and of the file beside it, without checks."""
        return cls(*_own(ledger), *_others(scores))

    @cached_property
    def identity(self) -> str:
        """Content hash of the scores of own texts and of planted mismatches: another set or judge has another one."""
        return content_hash(self.own.tobytes(), self.planted.tobytes())

    def calibrate(self, false_drop: float, labels: Labels | None = None) -> Calibration:
        """The calibration by these scores, and by labels."""
        return calibrate(self.own, self.planted, false_drop, self.owner, labels, self.trusted)


def keep_scores(out: Path, planted: Floats, trusted: Floats | None) -> None:
    """Write the scores that the ledger does not have. trusted: None without a trusted set."""
    kinds = [PLANTED] * len(planted) + [TRUSTED] * (0 if trusted is None else len(trusted))
    scores = planted if trusted is None else np.concatenate([planted, trusted])
    with atomic_write(out / FILE) as file:
        pq.write_table(pa.table([pa.array(kinds, pa.string()), pa.array(scores, pa.float64())], SCHEMA), file)


def publish(folder: Path, out: Path) -> None:
    """Copy the scores that a round has kept to the output folder; none where nothing was scored."""
    file = folder / FILE
    if not file.exists():
        keep_scores(folder, np.zeros(0), None)
    with atomic_write(out / FILE) as copy:
        copy.write(file.read_bytes())


def _own(ledger: Path) -> tuple[Floats, NDArray[np.int64], NDArray[np.int64]]:
    """Scores of the set's own texts, the row of each in the ledger, and its pair: the first text of a pair has the id 0, or -1."""
    scores, rows, owners, start, pairs = [np.zeros(0)], [np.zeros(0, np.int64)], [np.zeros(0, np.int64)], 0, 0
    with pq.ParquetFile(ledger) as file:
        for batch in file.iter_batches(columns=["text_id", "score", "decision"], use_threads=False):
            ids, score, decision = (batch.column(name) for name in ("text_id", "score", "decision"))
            values = score.to_numpy(zero_copy_only=False).astype(np.float64)
            original = np.fromiter((one in ORIGINAL for one in decision.to_pylist()), bool, len(batch))
            pair = pairs + np.cumsum(ids.to_numpy() <= 0)
            chosen = np.flatnonzero(original & np.isfinite(values))
            scores.append(values[chosen])
            rows.append(start + chosen)
            owners.append(pair[chosen])
            start += len(batch)
            pairs = int(pair[-1]) if len(pair) else pairs
    return np.concatenate(scores), np.concatenate(rows), np.concatenate(owners)


def _others(file: Path) -> tuple[Floats, Floats | None]:
    """Scores of planted mismatches and of trusted pairs."""
    table = pq.read_table(file)
    kinds = np.array(table.column("kind").to_pylist(), np.str_)
    scores = table.column("score").to_numpy()
    trusted = scores[kinds == TRUSTED]
    return scores[kinds == PLANTED], trusted if len(trusted) else None
