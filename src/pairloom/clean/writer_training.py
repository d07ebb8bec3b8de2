"""Training of the folds' writers: each model of the trained part is taught to write, on its own frozen image tower and on the texts
that it has learnt from, without those that probably belong to other pictures.

Does not know: scores, thresholds, decisions.

N rows with texts.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from pairloom.clean.plan import CleanSettings, already
from pairloom.clean.rows import LEARN, Rows, read_part
from pairloom.clean.self_judge import CAPTIONING, Tell, TrainTask, train
from pairloom.clean.trained_part import FOLDS
from pairloom.clean.training_table import TrainingTable
from pairloom.clean.writers import Writers
from pairloom.data.disk import atomic_write
from pairloom.data.pair import seed_of
from pairloom.scale import Execution

PASSES = 32_000  # training pairs of a writer, repetitions included
VIEWS, RATE = 4, 3e-3  # of each picture, and the highest learning rate: docs/log.md
WRITES = ("itc=0.0", "itm=0.0")  # of the system's Config


def train_writers(
    folder: Path, rows: Rows, texts: Path, table: TrainingTable, likely: NDArray[np.bool_], settings: CleanSettings,
    execution: Execution, tell: Tell, device: str, moved: Path,
) -> Writers:  # fmt: skip
    """Train the writers of a round into folder/writers/0, 1, ..., from the models in folder/folds. Finished ones are kept, unfinished
    ones are resumed. likely [N]: rows to learn from."""
    learnt = _write_texts(folder / "likely", rows, texts, table, likely)
    tasks = [
        TrainTask(rows.work, learnt, folder / "writers" / str(fold), folder / "tokenizer.json", round(PASSES * settings.effort),
                  seed_of("writer", settings.seed, fold) % 2**31, CAPTIONING, WRITES, fold, FOLDS,
                  start=folder / "folds" / str(fold), device=device, moved=moved, views=VIEWS, rate=RATE)
        for fold in range(FOLDS)
    ]  # fmt: skip
    tell("train writers", 0, len(tasks), note=already(task.out / "config.json" for task in tasks))
    for _ in execution.run(train, tasks):
        tell("train writers", 1, len(tasks))
    return Writers.load(folder / "writers", settings.size, FOLDS, device)


def _write_texts(
    folder: Path, rows: Rows, texts: Path, table: TrainingTable, likely: NDArray[np.bool_]
) -> Path:
    """Write the training texts of the likely rows, none for the others. Returns the folder of the parts."""
    chosen = set(np.array(table.rows, np.int64)[likely].tolist())
    for shard, first in zip(rows.shards, rows.first):
        learnt = read_part(texts, shard, [LEARN]).column(LEARN).to_pylist()
        kept = [each if int(first) + row in chosen else [] for row, each in enumerate(learnt)]
        with atomic_write(folder / f"{shard}.parquet", replace=True) as file:
            pq.write_table(pa.table({LEARN: pa.array(kept, pa.list_(pa.string()))}), file)
    return folder
