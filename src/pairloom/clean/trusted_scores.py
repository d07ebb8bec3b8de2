"""Scores of trusted pairs, which people have made or checked, by the judge of a set.

A picture that is not in the set is scored by the fold of its own hash; no fold has learnt from it. A near duplicate of a picture of
the set is left out: the fold of its own hash may have learnt from that picture, so that its score would be too high.

Does not know: calibration, decisions.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pairloom.clean.duplicates import first_copies
from pairloom.clean.picture_source import PairJudge
from pairloom.clean.rows import Rows, read_descriptors, read_part
from pairloom.clean.scoring import ScoreTask
from pairloom.data.shards import Shard

FOLDER = "trusted"  # in the folder of a round


def score_tasks(rows: Rows, shards: Sequence[Shard], folder: Path, judge: PairJudge) -> list[ScoreTask]:
    """Tasks of scoring the audited rows of a trusted set, shard by shard. folder: of the round."""
    return [ScoreTask(rows.work, shard, folder / FOLDER, judge, planted=0) for shard in shards]


def read_scores(rows: Rows, data: Rows, folder: Path) -> NDArray[np.float64]:
    """The finite scores [k] of a trusted set, without near duplicates of the pictures of the set, data."""
    near, scores, first = _near_duplicates(rows, data), [np.zeros(0)], 0
    for shard, count in zip(rows.shards, rows.counts, strict=True):
        table = read_part(folder / FOLDER / "scores", shard, ["row", "score"])
        row, score = (table.column(name).to_numpy() for name in ("row", "score"))
        scores.append(score[np.isfinite(score) & ~near[first + row]])
        first += count
    return np.concatenate(scores)


def _near_duplicates(rows: Rows, data: Rows) -> NDArray[np.bool_]:
    """Which rows of a trusted set have a picture that is a near duplicate of one of the set, but not the same file."""
    keys = set(data.column("image_key"))
    first = first_copies(np.concatenate([read_descriptors(each) for each in (data, rows)]))
    known = np.fromiter((key in keys for key in rows.column("image_key")), bool, len(rows))
    return (first[len(data) :] < len(data)) & ~known
