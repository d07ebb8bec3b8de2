"""The judge `self`: small MEDs trained on the user's own pairs, cross-fitted, so that none judges a pair it saw.

What it takes to learn from a thousand noisy pairs (docs/log.md has what did not help): a residual stem below the
image tower, strong views, contrast alone, an average of the weights, and a score that asks how much better a text fits
a picture than other texts do, and the picture the text than other pictures.
Does not know: thresholds, decisions, the files of the set.

R references, E shared embedding.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save
from torch import Tensor

import pairloom
from pairloom import model as models
from pairloom import scale
from pairloom.blocks.convnet import settle_norms
from pairloom.blocks.tensors import put_tensors, tensors_of
from pairloom.clean.plan import Settings
from pairloom.clean.rows import Rows, load
from pairloom.clean.views import Views, judging_views
from pairloom.data.batch import Batch
from pairloom.data.disk import atomic_write
from pairloom.data.loader import SIDES, Loader, TextTable
from pairloom.data.order import Plan
from pairloom.data.pair import seed_of
from pairloom.data.tokens import Tokens
from pairloom.errors import Mistake
from pairloom.model import Model
from pairloom.train import loop
from pairloom.train.settings import Settings as Training

Tell = Callable[..., None]
PATCH = 8
WORDS = 2000  # size of the vocabulary
BATCH = 128
SAVE = 100  # steps between checkpoints
REFERENCES = 512  # texts and pictures that a score is held against
SEEN = 50_000  # pairs that a judge learns from, repeats counted
WRITER = 40_000  # the same for a captioner
PROOF = 24_000  # the same for the models that `prove` compares
FEWEST = 4  # passes over the set, however large it is
MOST = 60  # and however small
ALONE = ("itm=0.0", "lm=0.0")  # contrast only
WRITES = ("itc=0.0", "itm=0.0")
PROVES = ("itm=0.0",)  # what `prove` measures is retrieval by cosine, and writing


def folds_for(pairs: int) -> int:
    """How many models share the judging: a small set cannot spare half of itself."""
    return 4 if pairs < 3000 else 2


def fold_of(image_key: str, folds: int) -> int:
    """The fold of a picture: by content, so that copies of one picture are never on both sides."""
    return int(image_key[-8:] or "0", 16) % folds


@dataclass(frozen=True)
class Job:
    """One model to train.

    texts: of every row, () where it takes no part. fold of folds: left out, -1: nothing is. seen: pairs to learn from.
    start: a model folder whose weights it begins with. settings: `key=value` over the shape.
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


# -- training ----------------------------------------------------------------------------------------------------------


def train(job: Job) -> str:
    """Train one model and save it into job.out; a kill leaves checkpoints beside it to go on from."""
    if (job.out / "config.json").exists():
        return str(job.out)
    data = load(job.work, job.shards)
    tokens = Tokens.from_json(job.tokens)
    model = models.build("blip", tokens, "tiny", (*shape(data.pixels.shape[1]), *job.settings), job.seed)
    if job.start is not None:
        put_tensors(model.system, tensors_of(pairloom.load(job.start).system))
    only = [row for row, texts in enumerate(job.texts) if texts and job.inside(data.image_keys[row])]
    loader = _loader(model, data, job, np.array(only, np.int64))
    running = job.out.with_suffix(".run")
    settings = training(len(only), job.seen, job.seed)
    loop.fit(model.system, loader, settings, running)
    settle_norms(model.system, _looks(model, loader, settings))
    if job.fold >= 0:
        _write_references(model, data, job)
    shutil.rmtree(job.out, ignore_errors=True)  # half a model, of a kill in this very moment
    models.save(model, job.out)
    shutil.rmtree(running, ignore_errors=True)
    return str(job.out)


def _loader(model: Model, data: Rows, job: Job, only: np.ndarray) -> Loader:
    """Rows with the very same texts count as one picture: they are no negatives of each other."""
    table = TextTable.of(model.tokens, job.texts, model.config.length)
    same: dict[tuple[str, ...], int] = {}
    ids = np.array([same.setdefault(texts, len(same)) for texts in job.texts], np.int64)
    pictures = Views(data.pixels, model.pixels.mean, model.pixels.std)
    return Loader(pictures, table, only, ids, window=0)


def training(pairs: int, seen: int, seed: int) -> Training:
    """Settings for learning from `pairs` pairs, `seen` of them repeats counted. One thread: the bytes do not depend on how
    many models train at a time, and two threads that wait for each other on a busy machine took 7 times the CPU."""
    batch = max(1, min(BATCH, pairs // 2))
    epochs = min(MOST, max(FEWEST, round(seen / max(1, pairs))))
    steps = epochs * max(1, pairs // batch)
    return Training(
        lr=2e-3 * (batch / BATCH) ** 0.5, min_lr=0.0, batch=batch, steps=steps, warmup=0.1, weight_decay=0.05,
        betas=(0.9, 0.98), precision="bf16", ema=0.99, seed=seed, log_every=50, save_every=SAVE, keep=1, threads=1,
    )  # fmt: skip


def _looks(model: Model, loader: Loader, settings: Training) -> Iterator[None]:
    """One pass of the image tower over the training views."""
    plan = Plan(settings.batch, settings.seed)
    for (batch,) in loader.read(plan, epoch=0):
        model.system.see(batch)
        yield


def fit(
    folder: Path, data: Rows, texts: list[list[str]], settings: Settings, trusted: Rows | None, workers: int, tell: Tell
) -> None:  # fmt: skip
    """Train the fold models of a round into folder/folds/0, 1, ... Finished ones are kept; the rest goes on."""
    tokens = Tokens.train((text for row in texts for text in row), WORDS).to_json()
    folds = folds_for(sum(map(bool, texts)))
    given = tuple(map(tuple, texts))
    jobs = [
        Job(data.work, data.shards, given, folder / "folds" / str(fold), tokens, round(SEEN * settings.effort),
            seed_of("fold", settings.seed, fold) % 2**31, ALONE, fold, folds)
        for fold in range(folds)
    ]  # fmt: skip
    tell("train judge", 0, len(jobs))
    for _ in scale.run(train, jobs, workers):
        tell("train judge", 1, len(jobs))


# -- judging -----------------------------------------------------------------------------------------------------------


@torch.no_grad()
def embed_pictures(
    model: Model, pixels: np.ndarray, rows: Sequence[int] | np.ndarray
) -> tuple[Tensor, Tensor]:
    """[R E] each: the pictures as they are, and their average with the mirrored view (for texts without a side)."""
    straight, both = [], []
    for start in range(0, len(rows), BATCH):
        images = torch.from_numpy(model.pixels.normalise(np.asarray(pixels[rows[start : start + BATCH]])))
        views = [images, *judging_views(images, False)]
        found = [model.system.embed_image(Batch(images=view[:, None])) for view in views]
        straight.append(found[0])
        both.append(F.normalize(torch.stack(found).mean(0), dim=-1))
    return torch.cat(straight), torch.cat(both)


@torch.no_grad()
def embed_texts(model: Model, texts: Sequence[str]) -> Tensor:
    """[R E]."""
    groups = [texts[start : start + 4 * BATCH] for start in range(0, len(texts), 4 * BATCH)]
    return torch.cat([model.system.embed_text(model.batch(texts=group)) for group in groups])


def _write_references(model: Model, data: Rows, job: Job) -> None:
    """What scores are held against: texts of the set as often as they occur, and pictures the model never saw."""
    taking = [row for row, texts in enumerate(job.texts) if texts]
    unseen = [row for row in taking if not job.inside(data.image_keys[row])] or taking
    draw = np.random.default_rng(seed_of("references", job.seed))
    rows = np.sort(draw.permutation(unseen)[:REFERENCES])
    chosen = np.sort(draw.permutation(taking)[:REFERENCES]).tolist()
    said = [job.texts[row][0] for row in chosen]
    tensors = {"images": embed_pictures(model, data.pixels, rows)[1], "texts": embed_texts(model, said)}
    job.out.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(_references(job.out), replace=True) as file:
        file.write(save(tensors))


def _references(fold: Path) -> Path:
    return fold.with_name(f"references-{fold.name}.safetensors")


class Judge:
    """Cross-fitted scores of (row, text): each row by a model that did not see its picture.

    score = s - (log mean exp s over reference texts + log mean exp s over reference pictures) / 2, s = cosine /
    temperature: pointwise mutual information where the softmax is calibrated, averaged over both directions of ITC.
    """

    way = "cosine"

    def __init__(self, folder: Path, pixels: np.ndarray, image_keys: Sequence[str]) -> None:
        self.folder, self.pixels, self.image_keys = folder, pixels, image_keys
        self.folds = len(list(folder.glob("*/config.json")))

    def score(self, rows: Sequence[int], texts: Sequence[str]) -> np.ndarray:
        """[n] float64 for n (row, text) requests."""
        scores = np.zeros(len(rows))
        folds = np.array([fold_of(self.image_keys[row], self.folds) for row in rows])
        for fold in np.unique(folds):
            at = np.flatnonzero(folds == fold)
            asked = np.asarray(rows)[at], [texts[place] for place in at.tolist()]
            scores[at] = self._fold(self.folder / str(fold), *asked)
        return scores

    @torch.no_grad()
    def _fold(self, where: Path, rows: np.ndarray, texts: list[str]) -> np.ndarray:
        model, references = pairloom.load(where).eval(), load_file(_references(where))
        seen, owner = np.unique(rows, return_inverse=True)
        said = sorted(set(texts))
        place = {text: index for index, text in enumerate(said)}
        told = torch.tensor([place[text] for text in texts])
        straight, both = embed_pictures(model, self.pixels, seen)
        words = embed_texts(model, said)
        sided = torch.tensor([bool(SIDES.search(text)) for text in texts])[:, None]
        pictures = torch.where(sided, straight[owner], both[owner])
        temperature = model.system.temperature
        of_picture = _log_mean_exp(both @ references["texts"].T / temperature)
        of_text = _log_mean_exp(words @ references["images"].T / temperature)
        fit = (pictures * words[told]).sum(1) / temperature
        found: np.ndarray = (fit - (of_picture[owner] + of_text[told]) / 2).double().numpy()
        return found


def _log_mean_exp(scores: Tensor) -> Tensor:
    return scores.logsumexp(1) - np.log(scores.shape[1])


# -- writing and proving -----------------------------------------------------------------------------------------------


def fit_captioner(
    folder: Path, decided: Any, settings: Settings, trusted: Rows | None, workers: int, tell: Tell
) -> Path:
    """Fine-tune a judge of the round into the captioner (LM alone) on the texts that were kept, or on trusted ones.

    decided.texts() -> the texts of every row. With `decoupled` off it learns all three losses. Returns its folder.
    """
    data = decided.rows if trusted is None else trusted
    texts = decided.texts() if trusted is None else trusted.texts
    first = folder / "folds" / "0"
    losses = WRITES if settings.decoupled else ()
    job = Job(
        data.work, data.shards, tuple(map(tuple, texts)), folder / "captioner", pairloom.load(first).tokens.to_json(),
        round(WRITER * settings.effort), settings.seed, losses, start=first,
    )  # fmt: skip
    tell("train captioner", 0, 1)
    path = Path(train(job))
    tell("train captioner", 1, 1)
    return path


def learn(out: Path, data: Rows, texts: list[list[str]], settings: Settings, seed: int) -> Path:
    """Train one fresh model (contrast and writing) on all rows that have texts: what `prove` compares. Resumable."""
    tokens = Tokens.train((text for row in texts for text in row), WORDS).to_json()
    seen = round(PROOF * settings.effort)
    return Path(train(Job(data.work, data.shards, tuple(map(tuple, texts)), out, tokens, seen, seed, PROVES)))


def describe(folder: Path) -> dict[str, Any]:
    """What run.json says of the judge: {"model": "self", "way", "folds"}."""
    return {"model": "self", "way": Judge.way, "folds": len(list((folder / "folds").glob("*/config.json")))}


def publish(work: Path, out: Path) -> dict[str, str]:
    """Copy the last round's models to `out` (judge, captioner); returns name -> folder name."""
    last = sorted(work.glob("round-*"), key=lambda path: int(path.name.split("-")[1]))[-1]
    found = {"judge": last / "folds" / "0", "captioner": last / "captioner"}
    for name, folder in found.items():
        if folder.exists():
            shutil.copytree(folder, out / name, dirs_exist_ok=True)
    return {name: f"models/{name}" for name, folder in found.items() if folder.exists()}
