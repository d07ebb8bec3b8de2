"""Train one small MED on an audited set, so that it goes on after any kill: what the judge `self`, the captioner and
`prove` have in common.

A model learns to see first (contrast, all of it, under augmentation) and to write second (on what its frozen image
tower made of each picture, once): writing then costs a tenth and takes thousands of small steps, which it needs.
Does not know: folds' scores, thresholds, decisions.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from pairloom import model as models
from pairloom import weights
from pairloom.blocks.convnet import recalibrate_batch_norm
from pairloom.blocks.tensors import put_tensors, tensors_of
from pairloom.clean.rows import Rows, load
from pairloom.clean.views import AugmentedImages
from pairloom.data.batch import Batch
from pairloom.data.cached import CachedImages
from pairloom.data.loader import Loader, TextTable
from pairloom.data.order import Plan
from pairloom.data.pair import seed_of
from pairloom.data.tokens import Tokens
from pairloom.errors import Mistake
from pairloom.model import Model
from pairloom.systems.blip import ImageRows
from pairloom.train import loop
from pairloom.train.settings import Settings as Training

PATCH = 8
WORDS = 2000  # size of the vocabulary
SAVE = 100  # steps between checkpoints
FEWEST = 4  # passes over the set, however large it is
MOST = 60  # and however small
LOOKED = 8192  # pictures that a writer learns from: each keeps 33 kB in memory
SEES = ("itm=0.0", "lm=0.0")  # contrast alone
WRITES = ("itc=0.0", "itm=0.0", "dropout=0.0")  # dropout: docs/log.md
BOTH = ("itm=0.0", "dropout=0.0")


def words_of(texts: list[list[str]]) -> str:
    """The vocabulary of a set, as tokenizer.json."""
    return Tokens.train((text for row in texts for text in row), WORDS).to_json()


def fold_of(image_key: str, folds: int) -> int:
    """The fold of a picture: by content, so that copies of one picture are never on both sides."""
    return int(image_key[-8:] or "0", 16) % folds


@dataclass(frozen=True)
class Job:
    """One model to train.

    texts: of every row, () where it takes no part. fold of folds: left out, -1: nothing is. seen: pairs to learn from.
    start: a model folder that has learnt to see; the job is then to write. settings: `key=value` over the shape.
    """

    work: Path
    shards: tuple[str, ...]
    texts: tuple[tuple[str, ...], ...]
    out: Path
    tokens: str
    seen: int
    seed: int
    settings: tuple[str, ...] = ()
    fold: int = -1
    folds: int = 1
    start: Path | None = None

    def inside(self, image_key: str) -> bool:
        """Whether the model may learn from a picture."""
        return self.fold < 0 or fold_of(image_key, self.folds) != self.fold


def shape(size: int) -> tuple[str, ...]:
    """The MED that a CPU trains in minutes: 1.5 M parameters. Mistake where the stem cannot halve the size."""
    if size % PATCH or size < 4 * PATCH:
        raise Mistake(
            f"size={size} does not fit the judge `self`.",
            f"Its pictures are a multiple of {PATCH} pixels, at least {4 * PATCH}.",
            f"Set size={max(4, round(size / PATCH)) * PATCH}.",
        )
    return (
        f"image_size={size}", f"patch={PATCH}", "stem=residual", "image_width=128", "image_depth=0", "width=128",
        "depth=2", "heads=4", "bag=true", "embedding=128", "length=32", "positions=40", "dropout=0.1", "queue=0",
        "momentum=0",
    )  # fmt: skip


@contextmanager
def one_thread() -> Iterator[None]:
    """Sums of floats depend on how many threads make them: the same bytes in one process and in several."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def train(job: Job, after: Callable[[Model, Rows, Job], None] | None = None) -> str:
    """Train one model and save it into job.out; a kill leaves checkpoints beside it to go on from.

    after: called with the trained model before it is saved.
    """
    if not (job.out / "config.json").exists():
        with one_thread():
            _train(job, after)
    return str(job.out)


def _train(job: Job, after: Callable[[Model, Rows, Job], None] | None) -> None:
    data = load(job.work, job.shards)
    tokens = Tokens.from_json(job.tokens)
    model = models.build("blip", tokens, "tiny", (*shape(data.pixels.shape[1]), *job.settings), job.seed)
    only = [row for row, texts in enumerate(job.texts) if texts and job.inside(data.image_keys[row])]
    running = job.out.with_suffix(".run")
    if job.start is None:
        _see(model, data, job, np.array(only, np.int64), running)
    else:
        put_tensors(model.system, tensors_of(weights.load(job.start).system))
        _write(model, data, job, np.array(only, np.int64), running)
    if after is not None:
        after(model, data, job)
    shutil.rmtree(job.out, ignore_errors=True)  # half a model, of a kill in this very moment
    models.save(model, job.out)
    shutil.rmtree(running, ignore_errors=True)


def _see(model: Model, data: Rows, job: Job, only: np.ndarray, running: Path) -> None:
    """All of the model, under augmentation."""
    loader = _loader(model, job, AugmentedImages(data.pixels, model.pixels.mean, model.pixels.std), only)
    settings = seeing(len(only), job.seen, job.seed)
    loop.fit(model.system, loader, settings, running)
    recalibrate_batch_norm(model.system, _looks(model, loader, settings))


def _looks(model: Model, loader: Loader, settings: Training) -> Iterator[None]:
    """One pass of the image tower over the training views."""
    for (batch,) in loader.read(Plan(settings.batch, settings.seed), epoch=0):
        model.system.encode_image(batch)
        yield


def _write(model: Model, data: Rows, job: Job, only: np.ndarray, running: Path) -> None:
    """The text tower, over pictures that the image tower looked at once. A sample of a large set."""
    chosen = np.random.default_rng(seed_of("looked", job.seed)).permutation(only)[:LOOKED]
    model.system.eval().towers.image.requires_grad_(False)
    chosen = np.sort(chosen)

    def encode_image(rows: np.ndarray, view: int) -> Tensor:
        images = torch.from_numpy(model.pixels.normalise(np.asarray(data.pixels[rows])))
        seen: Tensor = model.system.encode_image(Batch(images=images[:, None])).encoded.rows[:, 0]
        return seen

    loader = _loader(model, job, CachedImages.by(encode_image, chosen, len(data)), chosen)
    loop.fit(model.system, Rememberer(loader), writing(len(chosen), job.seen, job.seed), running)


def _loader(model: Model, job: Job, pictures: AugmentedImages | CachedImages, only: np.ndarray) -> Loader:
    """Rows with the very same texts count as one picture: they are no negatives of each other."""
    table = TextTable.of(model.tokens, job.texts, model.config.length)
    same: dict[tuple[str, ...], int] = {}
    ids = np.array([same.setdefault(texts, len(same)) for texts in job.texts], np.int64)
    return Loader(pictures, table, only, ids, window=0)


@dataclass(frozen=True)
class Rememberer:
    """A loader over Looked, whose batches carry what was seen in place of pictures."""

    loader: Loader

    def steps(self, plan: Plan) -> int:
        return self.loader.steps(plan)

    def identity(self) -> str:
        return self.loader.identity()

    def read(self, plan: Plan, epoch: int, step: int = 0) -> Iterator[list[Batch]]:
        for parts in self.loader.read(plan, epoch, step):
            yield [replace(part, images=None, encoded=ImageRows(_rows(part))) for part in parts]


def _rows(batch: Batch) -> Tensor:
    assert batch.images is not None
    return batch.images


def seeing(pairs: int, seen: int, seed: int) -> Training:
    """Settings for learning to see from `pairs` pairs, `seen` of them repeats counted. One thread: the bytes do not depend
    on how many models train at a time, and two threads on a busy machine waited for each other at 7 times the CPU."""
    return _training(pairs, seen, seed, batch=128, lr=2e-3, precision="bf16")


def writing(pairs: int, seen: int, seed: int) -> Training:
    """Settings for learning to write: many small steps, in fp32, which is the faster for matrices so small."""
    return _training(pairs, seen, seed, batch=32, lr=1e-3, precision="fp32")


def _training(
    pairs: int, seen: int, seed: int, batch: int, lr: float, precision: Literal["fp32", "bf16"]
) -> Training:
    size = max(1, min(batch, pairs // 2))
    epochs = min(MOST, max(FEWEST, round(seen / max(1, pairs))))
    return Training(
        lr=lr * (size / batch) ** 0.5, min_lr=0.0, batch=size, steps=epochs * max(1, pairs // size), warmup=0.1,
        weight_decay=0.05, betas=(0.9, 0.98), precision=precision, ema=0.99, seed=seed, log_every=50, save_every=SAVE,
        keep_last=1, threads=1,
    )  # fmt: skip
