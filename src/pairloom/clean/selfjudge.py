"""The judge `self`: small MEDs trained on the user's own pairs, cross-fitted, so that none judges a pair it saw.

NOTE for the engineer of this file: this is a plain stand-in by the lead so that clean/run.py can run end to end.
The functions and signatures below are the INTERFACE that clean/run.py, judging.py and prove.py call: keep them (add
keywords with defaults if you must), replace the bodies with your recipe.
`data` is clean/rows.py Rows (pixels uint8 memmap [n S S 3], image_keys, texts, usable, judged(row)); `texts` is the
training texts of every row ([] = the row takes no part); `settings` is clean/plan.py Settings (size, effort, seed,
decoupled); `trusted` a Rows of human-made pairs or None; `tell(step, done, total, bad=0, note="")` adds `done`.
Everything must resume after kill -9 and be deterministic; work only inside `folder`.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

import pairloom
from pairloom import model as models
from pairloom import scale
from pairloom.clean.plan import Settings
from pairloom.clean.rows import Rows
from pairloom.data.loader import Held, Loader, TextTable
from pairloom.data.tokens import Tokens
from pairloom.train import loop
from pairloom.train.settings import Settings as Training

FOLDS = 2


def fold_of(image_key: str) -> int:
    return int(image_key[-8:] or "0", 16) % FOLDS


@dataclass(frozen=True)
class Job:
    work: Path
    shards: tuple[str, ...]
    texts: tuple[tuple[str, ...], ...]
    out: Path
    tokens: str
    fold: int | None  # left out; None: train on everything
    settings: tuple[str, ...]
    effort: float
    seed: int


def _train(job: Job) -> str:
    """Train one model and save it; config.json is written last and is the commit mark."""
    if (job.out / "config.json").exists():
        return str(job.out)
    from pairloom.clean.rows import load

    data = load(job.work, job.shards)
    tokens = Tokens.from_json(job.tokens)
    model = models.build("blip", tokens, "tiny", job.settings, job.seed)
    only = [
        row
        for row, texts in enumerate(job.texts)
        if texts and (job.fold is None or fold_of(data.image_keys[row]) != job.fold)
    ]
    table = TextTable.of(tokens, job.texts, model.config.length)
    pictures = Held(data.pixels, model.pixels.mean, model.pixels.std, crop=0.6)
    loader = Loader(pictures, table, np.array(only))
    batch = min(64, len(only))
    loop.fit(
        model.system,
        loader,
        Training(
            lr=1e-3,
            batch=batch,
            epochs=max(1, round(6 * job.effort)),
            seed=job.seed,
            precision="medium",
            save_every=200,
        ),
        job.out.with_suffix(".run"),
    )
    models.save(model, job.out)
    shutil.rmtree(job.out.with_suffix(".run"), ignore_errors=True)
    return str(job.out)


def shape(size: int) -> tuple[str, ...]:
    return (
        f"image_size={size}",
        "patch=8",
        "stem=conv",
        "image_width=96",
        "image_depth=3",
        "image_heads=4",
        "width=96",
        "depth=3",
        "heads=4",
        "embedding=64",
        "length=24",
        "positions=32",
        "queue=0",
        "momentum=0",
    )


def fit(
    folder: Path,
    data: Rows,
    texts: list[list[str]],
    settings: Settings,
    trusted: Rows | None,
    workers: int,
    tell: Callable[..., None],
) -> None:
    """Train the fold models of a round into folder/folds."""
    tokens = Tokens.train((text for row in texts for text in row), 2000).to_json()
    jobs = [
        Job(
            data.work,
            data.shards,
            tuple(map(tuple, texts)),
            folder / "folds" / str(fold),
            tokens,
            fold,
            shape(settings.size),
            settings.effort,
            settings.seed,
        )
        for fold in range(FOLDS)
    ]
    tell("train judge", 0, len(jobs))
    for _ in scale.run(_train, jobs, workers):
        tell("train judge", 1, len(jobs))


class Judge:
    """Cross-fitted scores of (row, text): each row by the models that did not see its picture."""

    way = "cosine"

    def __init__(self, folder: Path, pixels: np.ndarray, image_keys: Sequence[str]) -> None:
        self.folder, self.pixels, self.image_keys = folder, pixels, image_keys

    @torch.no_grad()
    def score(self, rows: Sequence[int], texts: Sequence[str]) -> np.ndarray:
        scores = np.zeros(len(rows))
        folds = np.array([fold_of(self.image_keys[row]) for row in rows])
        for fold in np.unique(folds):
            model = pairloom.load(self.folder / str(fold)).eval()
            at = np.flatnonzero(folds == fold)
            seen, owner = np.unique(np.array(rows)[at], return_inverse=True)
            images = torch.from_numpy(model.pixels.normalise(np.asarray(self.pixels[seen])))
            from pairloom.data.batch import Batch

            pictures = model.system.embed_image(Batch(images=images[:, None]))
            said = model.system.embed_text(model.batch(texts=[texts[i] for i in at]))
            scores[at] = (pictures[owner] * said).sum(1).double().numpy()
        return scores


def fit_captioner(
    folder: Path,
    decided: Any,
    settings: Settings,
    trusted: Rows | None,
    workers: int,
    tell: Callable[..., None],
) -> Path:
    """Train the captioner of a round on the texts that were kept (decided.texts()); returns its model folder."""
    texts = decided.texts()
    tokens = pairloom.load(folder / "folds" / "0").tokens.to_json()
    data = decided.rows
    job = Job(
        data.work,
        data.shards,
        tuple(map(tuple, texts)),
        folder / "captioner",
        tokens,
        None,
        (*shape(settings.size), "itm=0", "itc=0"),
        settings.effort,
        settings.seed,
    )
    tell("train captioner", 0, 1)
    path = Path(_train(job))
    tell("train captioner", 1, 1)
    return path


def describe(folder: Path) -> dict[str, Any]:
    """What run.json says of the judge: {"model": "self", "way", "folds", ...}."""
    return {"model": "self", "way": Judge.way, "folds": FOLDS}


def publish(work: Path, out: Path) -> dict[str, str]:
    """Copy the last round's models to `out` (judge, captioner); returns name -> folder name."""
    last = sorted(work.glob("round-*"), key=lambda path: int(path.name.split("-")[1]))[-1]
    found = {"judge": last / "folds" / "0", "captioner": last / "captioner"}
    for name, folder in found.items():
        if folder.exists():
            shutil.copytree(folder, out / name, dirs_exist_ok=True)
    return {name: f"models/{name}" for name, folder in found.items() if folder.exists()}


def learn(out: Path, data: Rows, texts: list[list[str]], settings: Settings, seed: int) -> Path:
    """Train one fresh model (all three losses) on all rows that have texts: what `prove` compares. Resumable."""
    tokens = Tokens.train((text for row in texts for text in row), 2000).to_json()
    return Path(
        _train(
            Job(
                data.work,
                data.shards,
                tuple(map(tuple, texts)),
                out,
                tokens,
                None,
                shape(settings.size),
                settings.effort,
                seed,
            )
        )
    )
