"""The judge `self`: small MEDs trained on the user's own pairs, cross-fitted, so that none judges a pair it saw.

What it takes to learn from a thousand noisy pairs (docs/log.md has what did not help): a residual stem below the
image tower, a bag of words beside the text tower, strong views, contrast alone, an average of the weights, and a score
that asks how much better a text fits a picture than other texts do, and the picture the text than other pictures.
Does not know: thresholds, decisions, the files of the set, how a model is trained (learning.py).

R references, E shared embedding.
"""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save
from torch import Tensor

from pairloom import scale
from pairloom.clean.learning import BOTH, SEES, WRITES, Job, fold_of, one_thread, train, words_of
from pairloom.clean.plan import Settings, already
from pairloom.clean.rows import Rows
from pairloom.data.batch import Batch
from pairloom.data.disk import atomic_write
from pairloom.data.loader import SIDES
from pairloom.data.pair import seed_of
from pairloom.model import Model
from pairloom.weights import load

Tell = Callable[..., None]
ROWS = 128  # pictures looked at together
REFERENCES = 512  # texts and pictures that a score is held against
SEEN = 50_000  # pairs that a judge learns from, repeats counted
WRITER = 64_000  # the same for the captioner
PAIRS = 50  # fewer teach nothing
PROOF = 14_000, 20_000  # the same for the models that `prove` compares: to see, to write


def folds_for(pairs: int) -> int:
    """How many models share the judging: a small set cannot spare half of itself."""
    return 4 if pairs < 3000 else 2


def fit(
    folder: Path, data: Rows, texts: list[list[str]], settings: Settings, trusted: Rows | None, workers: int, tell: Tell
) -> None:  # fmt: skip
    """Train the fold models of a round into folder/folds/0, 1, ... Finished ones are kept; the rest goes on.

    Of fewer than 50 pairs nothing can be learnt: no model is trained, and the judge then gives every text the same score.
    """
    pairs = sum(map(bool, texts))
    if pairs < PAIRS:
        return
    tokens, folds = words_of(texts), folds_for(pairs)
    given = tuple(map(tuple, texts))
    jobs = [
        Job(data.work, data.shards, given, folder / "folds" / str(fold), tokens, round(SEEN * settings.effort),
            seed_of("fold", settings.seed, fold) % 2**31, SEES, fold, folds)
        for fold in range(folds)
    ]  # fmt: skip
    tell("train judge", 0, len(jobs), note=already(job.out / "config.json" for job in jobs))
    for _ in scale.run(train_fold, jobs, workers):
        tell("train judge", 1, len(jobs))


def train_fold(job: Job) -> str:
    """Train one judge, and note what its scores are held against before it counts as finished."""
    return train(job, _write_references)


# -- judging -----------------------------------------------------------------------------------------------------------


@torch.no_grad()
def embed_pictures(
    model: Model, pixels: np.ndarray, rows: Sequence[int] | np.ndarray
) -> tuple[Tensor, Tensor]:
    """[R E] each: the pictures as they are, and their average with the mirrored view (for texts without a side)."""
    straight, both = [], []
    for start in range(0, len(rows), ROWS):
        images = torch.from_numpy(model.pixels.normalise(np.asarray(pixels[rows[start : start + ROWS]])))
        found = [model.system.embed_image(Batch(images=view[:, None])) for view in (images, images.flip(3))]
        straight.append(found[0])
        both.append(F.normalize(torch.stack(found).mean(0), dim=-1))
    return torch.cat(straight), torch.cat(both)


@torch.no_grad()
def embed_texts(model: Model, texts: Sequence[str]) -> Tensor:
    """[R E]."""
    groups = [texts[start : start + 4 * ROWS] for start in range(0, len(texts), 4 * ROWS)]
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
        """[n] float64 for n (row, text) requests. All 0 where the set was too small to learn from."""
        scores = np.zeros(len(rows))
        if not self.folds:
            return scores
        folds = np.array([fold_of(self.image_keys[row], self.folds) for row in rows])
        for fold in np.unique(folds):
            at = np.flatnonzero(folds == fold)
            asked = np.asarray(rows)[at], [texts[place] for place in at.tolist()]
            with one_thread():
                scores[at] = self._fold(self.folder / str(fold), *asked)
        return scores

    @torch.no_grad()
    def _fold(self, where: Path, rows: np.ndarray, texts: list[str]) -> np.ndarray:
        model, references = load(where).eval(), load_file(_references(where))
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
    return scores.logsumexp(1) - math.log(scores.shape[1])


# -- writing and proving -----------------------------------------------------------------------------------------------


def fit_captioner(
    folder: Path, decided: Any, settings: Settings, trusted: Rows | None, workers: int, tell: Tell
) -> Path:
    """Teach a judge of the round to write: LM on the texts that were kept, or on trusted ones, its image tower frozen.

    decided.texts() -> the texts of every row. With `decoupled` off it learns all three losses. Returns its folder.
    """
    data, texts = decided.rows, decided.texts()
    if trusted is not None:
        data = trusted
        texts = [[data.texts[row][at] for at in data.judged(row)] for row in range(len(data))]
    first = folder / "folds" / "0"
    job = Job(
        data.work, data.shards, tuple(map(tuple, texts)), folder / "captioner", load(first).tokens.to_json(),
        round(WRITER * settings.effort), settings.seed, WRITES if settings.decoupled else (), start=first,
    )  # fmt: skip
    tell("train captioner", 0, 1, note=already([job.out / "config.json"]))
    path = Path(train(job))
    tell("train captioner", 1, 1)
    return path


def learn(out: Path, data: Rows, texts: list[list[str]], settings: Settings, seed: int) -> Path:
    """Train one fresh model on all rows that have texts, to see and then to write: what `prove` compares. Resumable."""
    tokens, given = words_of(texts), tuple(map(tuple, texts))
    sees, writes = (round(seen * settings.effort) for seen in PROOF)
    first = out.with_name(f"{out.name}-sees")
    train(Job(data.work, data.shards, given, first, tokens, sees, seed, SEES))
    return Path(train(Job(data.work, data.shards, given, out, tokens, writes, seed, BOTH, start=first)))


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
