"""Self judge: small models trained on the user's own pairs with cross-fitting, so that none scores a pair of its training.

A few choices make it possible to learn from a thousand noisy pairs (docs/log.md has what did not help): a residual stem
below the image tower, a bag of words beside the text tower, strong augmentation, contrast alone, an average of the weights.
They are `RECIPES["blip"]`; any other system that embeds or matches is trained in the same manner with its preset `tiny`.

A model is first trained on augmented pictures (to see), and then, with its image tower frozen, on the cached encodings of
the pictures (to write): a step of the second stage costs a tenth, and it takes thousands of small steps. A model on a frozen
pretrained tower has the second stage alone. All training is resumed after a kill. Does not know: thresholds, decisions.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from pairloom import model as models
from pairloom import registry
from pairloom.blocks.convnet import recalibrate_batch_norm
from pairloom.blocks.tensors import put_tensors, tensors_of
from pairloom.clean.folds import JudgeFold, References, fold_of, write_references
from pairloom.clean.judge_file import FILE
from pairloom.clean.judges import Judge, write_description
from pairloom.clean.picture_rows import encode_images, encode_pixels, record_like, rows_of
from pairloom.clean.plan import CleanSettings, already
from pairloom.clean.rows import LEARN, Rows, column_of, load
from pairloom.clean.tower_encoding import TOWER, encoded_pictures
from pairloom.clean.views import AugmentedImages, FixedViews
from pairloom.data.cached import CachedImages
from pairloom.data.disk import atomic_write
from pairloom.data.loader import Loader, TextTable, pair_loader
from pairloom.data.order import Plan
from pairloom.data.pair import seed_of
from pairloom.data.tokens import Tokens
from pairloom.errors import Mistake
from pairloom.frozen import TowerRows, build_on_tower
from pairloom.model import Model
from pairloom.runtime.devices import has_bf16
from pairloom.runtime.packing import pack_texts
from pairloom.runtime.threads import one_thread
from pairloom.scale import Execution
from pairloom.train import loop
from pairloom.train.settings import Settings as Training
from pairloom.verbs import Sees, able, demand_way
from pairloom.weights import load as load_model

Tell = Callable[..., None]
PATCH = 8
WORDS = 2000  # size of the vocabulary
SAVE = 100  # steps between checkpoints
FEWEST, MOST = 4, 60  # least and most epochs
CACHED = 8192  # views of pictures that a captioner is trained on: each takes 33 kB of memory
REFERENCES = 512  # reference texts and pictures of a fold
JUDGE = 50_000  # training pairs, repetitions included
PAIRS = 50  # least pairs for training
RIDGE = "ridge"  # the name of the judge that trains no system; its trained part and its captioner are a CAPTIONING
CAPTIONING = "blip"


@dataclass(frozen=True)
class Recipe:
    """Training recipe of a self judge. preset, settings: of the system's Config, as `key=value`; the groups below override them.

    judge: for training a judge; captioner: for training a captioner from a judge or on a frozen image tower; both: for training
    both at once.
    """

    preset: str = "tiny"
    settings: tuple[str, ...] = ()
    judge: tuple[str, ...] = ()
    captioner: tuple[str, ...] = ()
    both: tuple[str, ...] = ()


RECIPES = {
    "blip": Recipe(
        settings=(
            f"patch={PATCH}", "stem=residual", "image_width=128", "image_depth=0", "width=128", "depth=2", "heads=4",
            "bag=true", "embedding=128", "length=32", "positions=40", "dropout=0.1", "queue=0", "momentum=0",
        ),
        judge=("itm=0.0", "lm=0.0"),  # contrast alone
        captioner=("itc=0.0", "itm=0.0", "dropout=0.0"),  # dropout: docs/log.md
        both=("itm=0.0", "dropout=0.0"),
    )
}  # fmt: skip
ON_TOWER = {"blip": Recipe(preset="tower", captioner=("itc=0.0", "bag=false"))}


def recipe_of(system: str, on_tower: bool = False) -> Recipe:
    """The recipe of a system, by itself or on a frozen image tower; a system without one is trained with its preset `tiny`,
    unchanged."""
    return (ON_TOWER if on_tower else RECIPES).get(system, Recipe())


def demand_size(size: int) -> None:
    """Raise Mistake where the judge's stem cannot halve the side of the pictures."""
    if size % PATCH or size < 4 * PATCH:
        raise Mistake(
            f"size={size} does not fit the judge `self`.",
            f"Its pictures are a multiple of {PATCH} pixels, at least {4 * PATCH}.",
            f"Set size={max(4, round(size / PATCH)) * PATCH}.",
        )


def demand_judge(system: str, size: int) -> None:
    """Raise Mistake, before any work, where a system cannot be a self judge for pictures of this size."""
    demand_size(size)
    if system == RIDGE:
        return
    module = registry.find("systems", system)
    trained = module.System(module.TINY)
    if not able(trained, "embed") and not _matches(trained):
        raise Mistake(
            f"{system} cannot be a self judge.",
            "It neither embeds pictures and texts nor matches them.",
            "Name a system that does: pairloom systems",
        )


def _matches(system: Any) -> bool:
    match = able(system, "match")
    return match is not None and match.reads == "caption"


def folds_for(pairs: int) -> int:
    """Number of folds: a small set has more, since two folds would leave only half of it for training."""
    return 4 if pairs < 3000 else 2


@dataclass(frozen=True)
class TrainTask:
    """Task of training one model on an audited set.

    texts: the folder of parts whose column LEARN has the texts of every row. passes: training pairs, repetitions included.
    settings: `key=value`, overriding the recipe's. fold of folds: left out of training (-1: none). start: a model folder
    whose image tower is trained; the task is then to train it to write. encoded: a folder of pictures that were encoded by a
    frozen tower (`tower_encoding`), on which the model is trained. views: of each picture, and rate: the highest learning rate, where
    a model learns to write on its own image tower. moved: a file with the groups of near duplicates that are
    in the fold of their group, not in that of their own hash.
    """

    work: Path
    texts: Path
    out: Path
    tokenizer: Path
    passes: int
    seed: int
    system: str = "blip"
    settings: tuple[str, ...] = ()
    fold: int = -1
    folds: int = 1
    start: Path | None = None
    device: str = "cpu"
    moved: Path | None = None
    encoded: Path | None = None
    views: int = 1
    rate: float = 1e-3

    def inside(self, image_key: str) -> bool:
        """Whether a picture is in the model's training set."""
        if self.fold < 0:
            return True
        moved = {} if self.moved is None else _moved(self.moved)
        return moved.get(image_key, fold_of(image_key, self.folds)) % self.folds != self.fold


@lru_cache(maxsize=1)
def _moved(file: Path) -> dict[str, int]:
    known: dict[str, int] = json.loads(file.read_text())
    return known


@dataclass(frozen=True)
class TrainingTexts:
    """Training texts of a task, in memory while it trains: the set's rows, and the texts and the picture key of each."""

    rows: Rows
    texts: list[list[str]]
    image_keys: list[str]

    @classmethod
    def of(cls, task: TrainTask) -> TrainingTexts:
        rows = load(task.work)
        texts = list(column_of(task.texts, rows.shards, LEARN))
        return cls(rows, texts, list(rows.column("image_key")))


# -- the judge ---------------------------------------------------------------------------------------------------------


def train_judge(
    folder: Path, rows: Rows, texts: Path, settings: CleanSettings, execution: Execution, tell: Tell, device: str = "cpu"
) -> Path:  # fmt: skip
    """Train the fold models of a round into folder/folds/0, 1, ..., and write the judge's description. Returns its folder.

    Finished folds are kept, unfinished ones are resumed. For fewer than 50 pairs no model is trained, and the judge gives
    every text the same score.
    """
    pairs = sum(map(bool, column_of(texts, rows.shards, LEARN)))
    folds = folds_for(pairs) if pairs >= PAIRS else 0
    where = train_folds(folder, rows, texts, settings, settings.self_system, folds, execution, tell, device)
    files = [f"references-{fold}.safetensors" for fold in range(folds)]
    references = [file if (where / file).exists() else None for file in files]
    by = "cosine" if not folds or references[0] else demand_way(load_model(where / "0").system)
    write_description(
        where, Judge((), by, "self", settings.size), [str(fold) for fold in range(folds)], references
    )
    return where


def train_folds(
    folder: Path, rows: Rows, texts: Path, settings: CleanSettings, system: str, folds: int, execution: Execution, tell: Tell,
    device: str = "cpu", moved: Path | None = None,
) -> Path:  # fmt: skip
    """Train the models of `folds` folds into folder/folds/0, 1, ..., with their references. Returns folder/folds."""
    where = folder / "folds"
    if folds:
        tokenizer = write_tokenizer(folder / "tokenizer.json", rows, texts)
        tasks = [
            TrainTask(rows.work, texts, where / str(fold), tokenizer, round(JUDGE * settings.effort),
                      seed_of("fold", settings.seed, fold) % 2**31, system, recipe_of(system).judge, fold, folds,
                      device=device, moved=moved)
            for fold in range(folds)
        ]  # fmt: skip
        tell("train judge", 0, len(tasks), note=already(task.out / "config.json" for task in tasks))
        for _ in execution.run(train_fold, tasks):
            tell("train judge", 1, len(tasks))
    return where


def train_fold(task: TrainTask) -> str:
    """Train one fold of a judge, and write its references before it counts as finished."""
    return train(task, _write_references)


def _write_references(model: Model, lesson: TrainingTexts, task: TrainTask) -> None:
    """Write the references of a fold: texts of the set by their frequency, and pictures outside of its training."""
    if not able(model.system, "embed"):
        return
    taking = [row for row, texts in enumerate(lesson.texts) if texts]
    unseen = [row for row in taking if not task.inside(lesson.image_keys[row])] or taking
    draw = np.random.default_rng(seed_of("references", task.seed))
    rows = np.sort(draw.permutation(unseen)[:REFERENCES])
    chosen = np.sort(draw.permutation(taking)[:REFERENCES]).tolist()
    fold = JudgeFold(model)
    references = References(
        fold.embed_pictures(lesson.rows.pixels[rows])[1],
        fold.embed_texts([lesson.texts[row][0] for row in chosen]),
    )
    write_references(task.out.with_name(f"references-{task.out.name}.safetensors"), references)


def write_tokenizer(file: Path, rows: Rows, texts: Path) -> Path:
    """Train a tokenizer on a set's texts, and write tokenizer.json."""
    if not file.exists():
        words = (text for row in column_of(texts, rows.shards, LEARN) for text in row)
        with atomic_write(file) as out:
            out.write(Tokens.train(words, WORDS).to_json().encode())
    return file


# -- training ----------------------------------------------------------------------------------------------------------


def train(task: TrainTask, after: Callable[[Model, TrainingTexts, TrainTask], None] | None = None) -> str:
    """Train one model and save it to task.out; after a kill it is resumed from checkpoints beside it.

    after: called with the trained model before it is saved.
    """
    if not (task.out / "config.json").exists():
        with one_thread():
            _train(task, after)
    return str(task.out)


def _train(task: TrainTask, after: Callable[[Model, TrainingTexts, TrainTask], None] | None) -> None:
    lesson = TrainingTexts.of(task)
    model = build(task, lesson.rows.pixels.shape[1])
    pack_texts(model.system, training=task.device == "cpu")
    chosen = [row for row, texts in enumerate(lesson.texts) if texts and task.inside(lesson.image_keys[row])]
    running = task.out.with_suffix(".run")
    if task.encoded is not None:
        _write_on_tower(model, lesson, task, task.encoded, np.array(chosen, np.int64), running)
    elif task.start is None:
        _see(model, lesson, task, np.array(chosen, np.int64), running)
    else:
        put_tensors(model.system, tensors_of(load_model(task.start).system))
        _write(model, lesson, task, np.array(chosen, np.int64), running)
    if after is not None:
        after(model, lesson, task)
    shutil.rmtree(task.out, ignore_errors=True)  # an incomplete model, after a kill while it was saved
    models.save(model, task.out)
    shutil.rmtree(running, ignore_errors=True)


def build(task: TrainTask, size: int) -> Model:
    """A new model of the task's system, on the task's tower or for pictures of this size."""
    tokens = Tokens.from_json(task.tokenizer.read_text("utf-8"))
    if task.encoded is not None:
        recipe, rows = recipe_of(task.system, on_tower=True), TowerRows.load(task.encoded / TOWER)
        settings = (*recipe.settings, *task.settings)
        return build_on_tower(task.system, tokens, rows, recipe.preset, settings, task.seed)
    known = {field.name for field in fields(registry.find("systems", task.system).Config)}
    sizes = (f"image_size={size}",) if "image_size" in known else ()
    settings = (*sizes, *recipe_of(task.system).settings, *task.settings)
    return models.build(task.system, tokens, "tiny", settings, task.seed)


def _see(model: Model, lesson: TrainingTexts, task: TrainTask, chosen: np.ndarray, running: Path) -> None:
    """Train the whole model on augmented pictures."""
    pictures = AugmentedImages(lesson.rows.pixels, model.pixels.mean, model.pixels.std)
    loader = _loader(model, lesson, pictures, chosen)
    settings = seeing(len(chosen), task.passes, task.seed, task.device)
    loop.fit(model.system, loader, settings, running, device=task.device)
    recalibrate_batch_norm(model.system, _training_views(model, loader, settings))


def _training_views(model: Model, loader: Loader, settings: Training) -> Iterator[None]:
    """One epoch of augmented batches, for recalibrating batch norms."""
    for (batch,) in loader.read(Plan(settings.batch, settings.seed), epoch=0):
        batch = batch.to(model.device)
        if isinstance(model.system, Sees):
            model.system.encode_image(batch)
        else:
            model.system.losses(batch)
        yield


def _write(model: Model, lesson: TrainingTexts, task: TrainTask, chosen: np.ndarray, running: Path) -> None:
    """Train the model without its image tower on cached encodings of the pictures' views; of a large set on a sample."""
    most = CACHED // task.views
    chosen = np.sort(np.random.default_rng(seed_of("looked", task.seed)).permutation(chosen)[:most])
    model.to(task.device).system.eval()
    frozen = _freeze_tower(model, lesson.rows.pixels[:1])
    views = FixedViews(lesson.rows.pixels, lesson.texts, model.pixels, task.seed)
    pictures = CachedImages.by(
        lambda rows, view: rows_of(encode_images(model, views(rows, view)))[:, 0].cpu(),
        chosen,
        len(lesson.rows),
        task.views,
    )
    loader = _loader(model, lesson, pictures, chosen, lambda rows: record_like(frozen, rows))
    settings = writing(len(chosen), task.passes, task.seed, task.rate)
    loop.fit(model.system, loader, settings, running, device=task.device)


def _write_on_tower(
    model: Model, lesson: TrainingTexts, task: TrainTask, encoded: Path, chosen: np.ndarray, running: Path
) -> None:
    """Train a model on pictures that its frozen tower has encoded."""
    pictures = encoded_pictures(encoded, lesson.rows.shards, len(lesson.rows))
    chosen = chosen[pictures.place[chosen] >= 0]
    settings = writing(len(chosen), task.passes, task.seed)
    loop.fit(model.system, _loader(model, lesson, pictures, chosen), settings, running, device=task.device)


def _freeze_tower(model: Model, pixels: np.ndarray) -> Any:
    """Freeze every parameter that the encoding of pictures depends on. Returns the encoding."""
    encoded = encode_pixels(model, pixels)
    read = [parameter for parameter in model.system.parameters() if parameter.requires_grad]
    gradients = torch.autograd.grad(rows_of(encoded).sum(), read, allow_unused=True)
    for parameter, gradient in zip(read, gradients):
        parameter.requires_grad_(gradient is None)
    return encoded


def _loader(
    model: Model,
    lesson: TrainingTexts,
    pictures: AugmentedImages | CachedImages,
    chosen: np.ndarray,
    encoded: Callable[[Tensor], Any] | None = None,
) -> Loader:
    """Loader of training batches. Rows with the same texts count as one picture, so that they are no negatives of each other.
    encoded: wraps cached encodings in the system's own record."""
    table = TextTable.of(model.tokens, lesson.texts, model.config.length)
    same: dict[tuple[str, ...], int] = {}
    ids = np.array([same.setdefault(tuple(texts), len(same)) for texts in lesson.texts], np.int64)
    return pair_loader(pictures, table, chosen, ids, window=0, encoded=encoded)


def seeing(pairs: int, passes: int, seed: int, device: str = "cpu") -> Training:
    """Training settings for learning to see from `pairs` pairs, with `passes` training pairs in total. One thread: the bytes
    then do not depend on the number of models that train at a time, and two threads on a busy machine wait for each other
    at 7 times the CPU time. bf16 where the processor has it: one without computes it up to 16 times slower than fp32."""
    precision: Literal["fp32", "bf16"] = "bf16" if has_bf16(torch.device(device)) else "fp32"
    return _training(pairs, passes, seed, batch=128, lr=2e-3, precision=precision)


def writing(pairs: int, passes: int, seed: int, rate: float = 1e-3) -> Training:
    """Training settings for learning to write: many small steps, in fp32, which is faster for such small matrices."""
    return _training(pairs, passes, seed, batch=32, lr=rate, precision="fp32")


def _training(
    pairs: int, passes: int, seed: int, batch: int, lr: float, precision: Literal["fp32", "bf16"]
) -> Training:
    size = max(1, min(batch, pairs // 2))
    epochs = min(MOST, max(FEWEST, round(passes / max(1, pairs))))
    return Training(
        lr=lr * (size / batch) ** 0.5, min_lr=0.0, batch=size, steps=epochs * max(1, pairs // size), warmup=0.1,
        weight_decay=0.05, betas=(0.9, 0.98), precision=precision, ema=0.99, seed=seed, log_every=50, save_every=SAVE,
        keep_last=1, threads=1,
    )  # fmt: skip


def describe(where: Path) -> dict[str, Any]:
    """The entry of run.json about the judge in a folder: {"model": "self", "way", "folds"}, and what its score is a sum of."""
    known = models.read_json(where / FILE)
    folds = known["folds"]
    facts = {"model": "self", "way": known["by"], "folds": folds if isinstance(folds, int) else len(folds)}
    return facts | {name: known[name] for name in ("texts", "parts") if name in known}
