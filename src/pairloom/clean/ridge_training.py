"""Training of the ridge judge on the user's own pairs: encode, train models beside the regressions where they help, fit, save.

Pictures of a group of near duplicates are in one fold, so that no pair is judged by what was learnt from its own copy.

Does not know: regression, thresholds, decisions.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from pairloom.clean import self_judge, trained_part
from pairloom.clean.encoding import EncodeTask, encode_shard, learn_encoders, open_encoders
from pairloom.clean.feature_store import write_donor_features
from pairloom.clean.judge_file import is_judge, write_judge
from pairloom.clean.plan import CleanSettings, already
from pairloom.clean.ridge_fit import LIKELY, first_round, fit_judge
from pairloom.clean.rows import LEARN, Rows, column_of
from pairloom.clean.self_judge import Tell
from pairloom.clean.trained_part import TrainedPart
from pairloom.clean.training_table import TrainingTable
from pairloom.clean.writer_training import train_writers
from pairloom.data.disk import atomic_write
from pairloom.data.shards import PairSet
from pairloom.runtime.threads import one_thread
from pairloom.scale import Execution
from pairloom.towers import load_image_tower, load_text_tower

PAIRS = 50  # least pairs for training


def train_judge(
    folder: Path, pairs: PairSet, rows: Rows, texts: Path, settings: CleanSettings, execution: Execution, tell: Tell,
    device: str = "cpu",
) -> Path:  # fmt: skip
    """Train the judge of a round into `folder`, and return its folder. texts: the folder of parts with the training texts.

    A finished judge is kept. For fewer than PAIRS pairs none is trained, and the judge gives every text the same score.
    """
    where = folder / "judge"
    if is_judge(where):
        return where
    if sum(map(bool, column_of(texts, rows.shards, LEARN))) < PAIRS:
        facts = {"kind": "models", "name": "self", "by": "ridge regression", "size": settings.size}
        write_judge(where, {**facts, "model": None, "folds": [], "references": []}, None)
        return where
    place = learn_encoders(rows, settings.size, *settings.towers, settings.seed, device)
    tasks = [EncodeTask(rows.work, shard, settings.size, place, device) for shard in pairs.shards]
    tell("encode", 0, len(tasks), note=already(task.part for task in tasks))
    for _, count in execution.run(encode_shard, tasks):
        tell("encode", 1, len(tasks), note=f"{count} texts")
    encoders = open_encoders(place, device)
    write_donor_features(rows, encoders.identity)
    table = TrainingTable.read(rows, texts, encoders, settings.seed)
    with one_thread():
        likely = first_round(table, settings.seed)
    trained = writers = None
    if (
        encoders.image_tower is None
        and len(table.keys) >= trained_part.LEAST
        and trained_part.are_drawings(rows)
    ):
        moved = folder / "moved.json"
        with atomic_write(moved, replace=True) as out:
            out.write(json.dumps(table.moved).encode())
        named = rows, texts, settings, self_judge.CAPTIONING, trained_part.FOLDS
        folds = self_judge.train_folds(folder, *named, execution, tell, device, moved)
        trained = TrainedPart.load(folds, settings.size, device)
        writers = train_writers(
            folder, rows, texts, table, likely >= LIKELY, settings, execution, tell, device, moved
        )
    tell("train judge", 0, None)
    shutil.rmtree(where, ignore_errors=True)  # an incomplete judge, after a kill while it was saved
    with one_thread():
        judge = fit_judge(rows, table, likely, encoders, trained, writers, settings)
    judge.save(where)
    return where


def demand_towers(settings: CleanSettings, device: str) -> None:
    """Raise Mistake, before any work, where a tower cannot be used."""
    image, text = settings.towers
    if image is not None:
        load_image_tower(image, device)
    if text is not None:
        load_text_tower(text, device)
