"""Captioners, and the models that `prove` compares: trained on the user's own pairs.

With a pretrained image tower a model stands on it, frozen: its pictures are encoded once for each shard, and training reads the
rows. Without one it sees by an image tower that is trained first, that of the self judge where there is one.
Does not know: thresholds, decisions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from pairloom.clean.plan import CleanSettings, already
from pairloom.clean.rows import LEARN, Rows
from pairloom.clean.self_judge import (
    CAPTIONING,
    JUDGE,
    RIDGE,
    Tell,
    TrainTask,
    build,
    recipe_of,
    train,
    write_tokenizer,
)
from pairloom.clean.tower_encoding import encode_pictures
from pairloom.clean.writer_training import VIEWS
from pairloom.data.pair import seed_of
from pairloom.data.shards import Shard
from pairloom.scale import Execution
from pairloom.verbs import able

PASSES = 64_000  # training pairs of a captioner, repetitions included
FURTHER, RATE = (
    22_400,
    2e-3,
)  # the same for one that starts from a fold's writer, and its highest learning rate: docs/log.md
PROOF = 14_000, 20_000  # the same for the models that `prove` compares: to see, to write
ENCODED = "encoded"  # in the work folder of a set
PICTURES = 8192  # most pictures that models on a tower are trained on: each takes 25 kB of memory


def train_captioner(
    folder: Path, rows: Rows, shards: Sequence[Shard], texts: Path, settings: CleanSettings, execution: Execution, tell: Tell,
    device: str = "cpu",
) -> Path | None:  # fmt: skip
    """Train a captioner of a round on `texts`. Returns its folder; None where the judge's system cannot write.

    Without `decoupled` one that starts from a judge is trained on all losses of the system.
    """
    system = CAPTIONING if settings.self_system == RIDGE else settings.self_system
    task = TrainTask(
        rows.work, texts, folder / "captioner", folder / "tokenizer.json", round(PASSES * settings.effort), settings.seed,
        system, device=device,
    )  # fmt: skip
    encoded = encode_sample(rows, shards, settings, execution, tell, device)
    if encoded is not None:
        task = replace(task, encoded=encoded, settings=recipe_of(system, on_tower=True).captioner)
        write_tokenizer(task.tokenizer, rows, texts)
    else:
        task = _from_judge(task, folder, rows, settings, tell)
    if not able(build(task, settings.size).system, "caption"):
        return None
    tell("train captioner", 0, 1, note=already([task.out / "config.json"]))
    path = Path(train(task))
    tell("train captioner", 1, 1)
    return path


def _from_judge(task: TrainTask, folder: Path, rows: Rows, settings: CleanSettings, tell: Tell) -> TrainTask:
    """The task with its start: a writer or the first fold of the round's judge, or a model that is first trained to see."""
    recipe, first, writer = recipe_of(task.system), folder / "folds" / "0", folder / "writers" / "0"
    if writer.exists() and settings.decoupled:
        passes = round(FURTHER * settings.effort)
        further = replace(
            task, start=writer, passes=passes, views=VIEWS, rate=RATE, settings=recipe.captioner
        )
        return replace(further, tokenizer=writer / "tokenizer.json")
    if settings.self_system == RIDGE and not first.exists():
        first = folder / "tower"
        tokenizer = write_tokenizer(task.tokenizer, rows, task.texts)
        passes, seed = round(JUDGE * settings.effort), seed_of("tower", settings.seed) % 2**31
        to_see = TrainTask(
            rows.work,
            task.texts,
            first,
            tokenizer,
            passes,
            seed,
            task.system,
            recipe.judge,
            device=task.device,
        )
        tell("train tower", 0, 1, note=already([first / "config.json"]))
        train(to_see)
        tell("train tower", 1, 1)
    chosen = recipe.captioner if settings.decoupled else ()
    return replace(task, start=first, tokenizer=first / "tokenizer.json", settings=chosen)


def encode_sample(
    rows: Rows, shards: Sequence[Shard], settings: CleanSettings, execution: Execution, tell: Tell, device: str,
    like: Path | None = None,
) -> Path | None:  # fmt: skip
    """Encode a set's usable pictures, of a large set a sample, by the run's image tower. Returns the folder of parts; None where
    there is no tower. like: such a folder of another set, whose axes these get."""
    tower, _ = settings.towers
    if tower is None:
        return None
    seed = seed_of("encoded", settings.seed)
    chosen = np.flatnonzero([bool(texts) for texts in rows.column(LEARN)])
    chosen = np.sort(np.random.default_rng(seed).permutation(chosen)[:PICTURES])
    folder = rows.work / ENCODED
    encode_pictures(folder, rows, shards, chosen, tower, seed, execution, tell, device, like)
    return folder


def train_to_prove(
    out: Path, rows: Rows, texts: Path, settings: CleanSettings, seed: int, encoded: Path | None = None, device: str = "cpu"
) -> Path:  # fmt: skip
    """Train a new model on all rows with texts, for `prove`: on the pictures that a tower has encoded, or first to see and then
    to write. Resumable."""
    recipe = recipe_of(CAPTIONING, on_tower=encoded is not None)
    tokenizer = write_tokenizer(out.with_name(f"{out.name}-tokenizer.json"), rows, texts)
    to_see, to_write = (round(passes * settings.effort) for passes in PROOF)
    task = TrainTask(
        rows.work,
        texts,
        out,
        tokenizer,
        to_write,
        seed,
        CAPTIONING,
        recipe.both,
        device=device,
        encoded=encoded,
    )
    if encoded is None:
        first = out.with_name(f"{out.name}-sees")
        train(replace(task, out=first, passes=to_see, settings=recipe.judge))
        task = replace(task, start=first)
    return Path(train(task))
