"""Self judge: small models trained on the user's own pairs, cross-fitted, so that none judges a pair it saw.

What it takes to learn from a thousand noisy pairs (docs/log.md has what did not help): a residual stem below the
image tower, a bag of words beside the text tower, strong views, contrast alone, an average of the weights. That is
`RECIPES["blip"]`; any other system that embeds or matches is trained by the same plan at its preset `tiny`.

A model learns to see first (under augmentation) and to write second (on what its frozen image tower makes of each
picture, once): writing then costs a tenth and takes thousands of small steps, which it needs. Captioner and proof are
trained here too. All training goes on after any kill. Does not know: thresholds, decisions, how a judge scores.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from pairloom import model as models
from pairloom import registry
from pairloom.blocks.convnet import recalibrate_batch_norm
from pairloom.blocks.tensors import put_tensors, tensors_of
from pairloom.clean.folds import JudgeFold, References, fold_of, one_thread, write_references
from pairloom.clean.judges import FILE, Judge, write_description
from pairloom.clean.plan import CleanSettings, already
from pairloom.clean.rows import LEARN, Rows, column_of, load
from pairloom.clean.views import AugmentedImages
from pairloom.data.batch import Batch
from pairloom.data.cached import CachedImages
from pairloom.data.disk import atomic_write
from pairloom.data.loader import Loader, TextTable, pair_loader
from pairloom.data.order import Plan
from pairloom.data.pair import seed_of
from pairloom.data.tokens import Tokens
from pairloom.errors import Mistake
from pairloom.model import Model
from pairloom.scale import Execution
from pairloom.train import loop
from pairloom.train.settings import Settings as Training
from pairloom.verbs import Sees, able, demand_way
from pairloom.weights import load as load_model

Tell = Callable[..., None]
PATCH = 8
WORDS = 2000  # size of the vocabulary
SAVE = 100  # steps between checkpoints
FEWEST, MOST = 4, 60  # passes over the set, however large or small it is
CACHED = 8192  # pictures that a writer learns from: each keeps 33 kB in memory
REFERENCES = 512  # texts and pictures that a score is held against
JUDGE, CAPTIONER = 50_000, 64_000  # pairs that each learns from, repeats counted
PROOF = 14_000, 20_000  # the same for the models that `prove` compares: to see, to write
PAIRS = 50  # fewer teach nothing


@dataclass(frozen=True)
class Recipe:
    """How a system becomes a self judge. settings: of its Config, as `key=value`; the groups below are laid over them.

    judge: to learn to tell pairs apart; captioner: to learn to write, from a judge; both: to learn both at once.
    """

    settings: tuple[str, ...] = ()
    judge: tuple[str, ...] = ()
    captioner: tuple[str, ...] = ()
    both: tuple[str, ...] = ()


RECIPES = {
    "blip": Recipe(
        (
            f"patch={PATCH}", "stem=residual", "image_width=128", "image_depth=0", "width=128", "depth=2", "heads=4",
            "bag=true", "embedding=128", "length=32", "positions=40", "dropout=0.1", "queue=0", "momentum=0",
        ),
        judge=("itm=0.0", "lm=0.0"),  # contrast alone
        captioner=("itc=0.0", "itm=0.0", "dropout=0.0"),  # dropout: docs/log.md
        both=("itm=0.0", "dropout=0.0"),
    )
}  # fmt: skip


def recipe_of(system: str) -> Recipe:
    """The recipe of a system; without one of its own its preset `tiny` is trained as it stands."""
    return RECIPES.get(system, Recipe())


def demand_size(size: int) -> None:
    """Mistake where the judge's stem cannot halve the pictures' side."""
    if size % PATCH or size < 4 * PATCH:
        raise Mistake(
            f"size={size} does not fit the judge `self`.",
            f"Its pictures are a multiple of {PATCH} pixels, at least {4 * PATCH}.",
            f"Set size={max(4, round(size / PATCH)) * PATCH}.",
        )


def demand_judge(system: str, size: int) -> None:
    """Mistake, before any work, where a system cannot be a self judge of pictures of that side."""
    demand_size(size)
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
    """How many models share the judging: a small set cannot spare half of itself."""
    return 4 if pairs < 3000 else 2


@dataclass(frozen=True)
class TrainTask:
    """One model to train on an audited set.

    texts: the folder of parts whose column LEARN has the texts of every row. passes: pairs to learn from, repeats
    counted. settings: `key=value` over the recipe's. fold of folds: left out, -1: nothing is. start: a model folder that
    has learnt to see; the task is then to write.
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

    def inside(self, image_key: str) -> bool:
        """Whether the model may learn from a picture."""
        return self.fold < 0 or fold_of(image_key, self.folds) != self.fold


@dataclass(frozen=True)
class TrainingTexts:
    """What a task learns from, in memory while it trains: the set's rows, the texts and the picture key of each."""

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
    """Train the fold models of a round into folder/folds/0, 1, ... and describe them as a judge, whose folder is returned.

    Finished folds are kept; the rest goes on. Of fewer than 50 pairs nothing can be learnt: no model is trained, and the
    judge then gives every text the same score.
    """
    where = folder / "folds"
    pairs = sum(map(bool, column_of(texts, rows.shards, LEARN)))
    folds = folds_for(pairs) if pairs >= PAIRS else 0
    if folds:
        tokenizer = write_tokenizer(folder / "tokenizer.json", rows, texts)
        recipe = recipe_of(settings.self_system)
        tasks = [
            TrainTask(rows.work, texts, where / str(fold), tokenizer, round(JUDGE * settings.effort),
                      seed_of("fold", settings.seed, fold) % 2**31, settings.self_system, recipe.judge, fold, folds, device=device)
            for fold in range(folds)
        ]  # fmt: skip
        tell("train judge", 0, len(tasks), note=already(task.out / "config.json" for task in tasks))
        for _ in execution.run(train_fold, tasks):
            tell("train judge", 1, len(tasks))
    files = [f"references-{fold}.safetensors" for fold in range(folds)]
    references = [file if (where / file).exists() else None for file in files]
    by = "cosine" if not folds or references[0] else demand_way(load_model(where / "0").system)
    write_description(
        where, Judge((), by, "self", settings.size), [str(fold) for fold in range(folds)], references
    )
    return where


def train_fold(task: TrainTask) -> str:
    """Train one judge, and note what its scores are held against before it counts as finished."""
    return train(task, _write_references)


def _write_references(model: Model, lesson: TrainingTexts, task: TrainTask) -> None:
    """Texts of the set as often as they occur, and pictures that the model never saw."""
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
    """The vocabulary of a set's texts, as tokenizer.json."""
    if not file.exists():
        words = (text for row in column_of(texts, rows.shards, LEARN) for text in row)
        with atomic_write(file) as out:
            out.write(Tokens.train(words, WORDS).to_json().encode())
    return file


# -- writing and proving -----------------------------------------------------------------------------------------------


def train_captioner(
    folder: Path, rows: Rows, texts: Path, settings: CleanSettings, tell: Tell, device: str = "cpu"
) -> Path | None:
    """Teach a judge of the round to write these texts, its image tower frozen. With `decoupled` off it learns all its
    losses. Returns its folder; None where its system cannot write."""
    first = folder / "folds" / "0"
    task = TrainTask(
        rows.work, texts, folder / "captioner", first / "tokenizer.json", round(CAPTIONER * settings.effort), settings.seed,
        settings.self_system, recipe_of(settings.self_system).captioner if settings.decoupled else (), start=first, device=device,
    )  # fmt: skip
    if not able(build(task, settings.size).system, "caption"):
        return None
    tell("train captioner", 0, 1, note=already([task.out / "config.json"]))
    path = Path(train(task))
    tell("train captioner", 1, 1)
    return path


def train_to_prove(
    out: Path, rows: Rows, texts: Path, settings: CleanSettings, seed: int, device: str = "cpu"
) -> Path:
    """Train one fresh model on all rows that have texts, to see and then to write: what `prove` compares. Resumable."""
    recipe, system = RECIPES["blip"], "blip"
    tokenizer = write_tokenizer(out.with_name(f"{out.name}-tokenizer.json"), rows, texts)
    first = out.with_name(f"{out.name}-sees")
    to_see, to_write = (round(passes * settings.effort) for passes in PROOF)
    train(TrainTask(rows.work, texts, first, tokenizer, to_see, seed, system, recipe.judge, device=device))
    task = TrainTask(
        rows.work, texts, out, tokenizer, to_write, seed, system, recipe.both, start=first, device=device
    )
    return Path(train(task))


# -- training ----------------------------------------------------------------------------------------------------------


def train(task: TrainTask, after: Callable[[Model, TrainingTexts, TrainTask], None] | None = None) -> str:
    """Train one model and save it into task.out; a kill leaves checkpoints beside it to go on from.

    after: called with the trained model before it is saved.
    """
    if not (task.out / "config.json").exists():
        with one_thread():
            _train(task, after)
    return str(task.out)


def _train(task: TrainTask, after: Callable[[Model, TrainingTexts, TrainTask], None] | None) -> None:
    lesson = TrainingTexts.of(task)
    model = build(task, lesson.rows.pixels.shape[1])
    chosen = [row for row, texts in enumerate(lesson.texts) if texts and task.inside(lesson.image_keys[row])]
    running = task.out.with_suffix(".run")
    if task.start is None:
        _see(model, lesson, task, np.array(chosen, np.int64), running)
    else:
        put_tensors(model.system, tensors_of(load_model(task.start).system))
        _write(model, lesson, task, np.array(chosen, np.int64), running)
    if after is not None:
        after(model, lesson, task)
    shutil.rmtree(task.out, ignore_errors=True)  # half a model, of a kill in this very moment
    models.save(model, task.out)
    shutil.rmtree(running, ignore_errors=True)


def build(task: TrainTask, size: int) -> Model:
    """A fresh model of the task's system, for pictures of that side."""
    tokens = Tokens.from_json(task.tokenizer.read_text("utf-8"))
    known = {field.name for field in fields(registry.find("systems", task.system).Config)}
    sizes = (f"image_size={size}",) if "image_size" in known else ()
    settings = (*sizes, *recipe_of(task.system).settings, *task.settings)
    return models.build(task.system, tokens, "tiny", settings, task.seed)


def _see(model: Model, lesson: TrainingTexts, task: TrainTask, chosen: np.ndarray, running: Path) -> None:
    """All of the model, under augmentation."""
    pictures = AugmentedImages(lesson.rows.pixels, model.pixels.mean, model.pixels.std)
    loader = _loader(model, lesson, pictures, chosen)
    settings = seeing(len(chosen), task.passes, task.seed)
    loop.fit(model.system, loader, settings, running, device=task.device)
    recalibrate_batch_norm(model.system, _training_views(model, loader, settings))


def _training_views(model: Model, loader: Loader, settings: Training) -> Iterator[None]:
    """One pass over the training views."""
    for (batch,) in loader.read(Plan(settings.batch, settings.seed), epoch=0):
        batch = batch.to(model.device)
        if isinstance(model.system, Sees):
            model.system.encode_image(batch)
        else:
            model.system.losses(batch)
        yield


def _write(model: Model, lesson: TrainingTexts, task: TrainTask, chosen: np.ndarray, running: Path) -> None:
    """The rest of the model, over what its image tower makes of each picture, once. A sample of a large set."""
    chosen = np.sort(np.random.default_rng(seed_of("looked", task.seed)).permutation(chosen)[:CACHED])
    model.to(task.device).system.eval()
    kind = _freeze_tower(model, lesson.rows.pixels[:1])

    def encode(rows: np.ndarray, view: int) -> Tensor:
        return _rows_of(_encoded(model, lesson.rows.pixels[rows]))[:, 0].cpu()

    record: Callable[[Tensor], Any] = kind if is_dataclass(kind) else lambda rows: rows
    loader = _loader(model, lesson, CachedImages.by(encode, chosen, len(lesson.rows)), chosen, record)
    settings = writing(len(chosen), task.passes, task.seed)
    loop.fit(model.system, loader, settings, running, device=task.device)


def _encoded(model: Model, pixels: np.ndarray) -> Any:
    """What the system makes of pictures before it reads a text."""
    images = torch.from_numpy(model.pixels.normalise(np.asarray(pixels))).to(model.device)
    return model.system.encode_image(Batch(images=images[:, None])).encoded


def _rows_of(encoded: Any) -> Tensor:
    """The tensor [I N ...] of encoded pictures: the record itself, or its first field."""
    tensor: Tensor = getattr(encoded, fields(encoded)[0].name) if is_dataclass(encoded) else encoded
    return tensor


def _freeze_tower(model: Model, pixels: np.ndarray) -> type:
    """Freeze every parameter that encoding pictures depends on. Returns the type of encoded pictures."""
    encoded = _encoded(model, pixels)
    read = [parameter for parameter in model.system.parameters() if parameter.requires_grad]
    gradients = torch.autograd.grad(_rows_of(encoded).sum(), read, allow_unused=True)
    for parameter, gradient in zip(read, gradients):
        parameter.requires_grad_(gradient is None)
    return type(encoded)


def _loader(
    model: Model,
    lesson: TrainingTexts,
    pictures: AugmentedImages | CachedImages,
    chosen: np.ndarray,
    encoded: Callable[[Tensor], Any] | None = None,
) -> Loader:
    """Rows with the very same texts count as one picture: they are no negatives of each other. encoded: the record of a
    system's own, around cached encodings."""
    table = TextTable.of(model.tokens, lesson.texts, model.config.length)
    same: dict[tuple[str, ...], int] = {}
    ids = np.array([same.setdefault(tuple(texts), len(same)) for texts in lesson.texts], np.int64)
    return pair_loader(pictures, table, chosen, ids, window=0, encoded=encoded)


def seeing(pairs: int, passes: int, seed: int) -> Training:
    """CleanSettings for learning to see from `pairs` pairs, `passes` of them repeats counted. One thread: the bytes do not depend
    on how many models train at a time, and two threads on a busy machine waited for each other at 7 times the CPU."""
    return _training(pairs, passes, seed, batch=128, lr=2e-3, precision="bf16")


def writing(pairs: int, passes: int, seed: int) -> Training:
    """CleanSettings for learning to write: many small steps, in fp32, which is the faster for matrices so small."""
    return _training(pairs, passes, seed, batch=32, lr=1e-3, precision="fp32")


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
    """What run.json says of the judge whose folder this is: {"model": "self", "way", "folds"}."""
    known = models.read_json(where / FILE)
    return {"model": "self", "way": known["by"], "folds": len(known["folds"])}
