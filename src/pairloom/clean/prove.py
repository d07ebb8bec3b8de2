"""Prove: train the same new model on the raw and on the clean pairs, and compare them on held-out pairs.

It is the CapFilt ablation (BLIP, table 1) on the user's own data: several seeds, paired intervals over pictures and
seeds. Does not know: how the clean texts came about.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from pairloom import scale
from pairloom.clean import rows as audited
from pairloom.clean import selfjudge
from pairloom.clean.check import check
from pairloom.clean.deciding import Deciding
from pairloom.clean.ledger import KEEP
from pairloom.clean.plan import Settings, already
from pairloom.data.batch import Batch
from pairloom.data.disk import atomic_write
from pairloom.data.shards import open_set
from pairloom.metrics.captions import evaluate
from pairloom.metrics.compare import difference, holm
from pairloom.metrics.rank import ranks
from pairloom.tasks.caption import caption
from pairloom.tasks.decode import Writing
from pairloom.weights import load

METRICS = {
    "image_to_text": "R@1, image to text",
    "text_to_image": "R@1, text to image",
    "cider": "CIDEr-D of captions",
}
HELD_OUT = 10  # one picture in so many is held out where no test set is given
LEAST = 20  # held-out pictures, or pairs to learn from, below which nothing is compared


@dataclass(frozen=True)
class HeldOut:
    """Held-out pairs: rows of an audited set and their texts."""

    work: Path
    shards: tuple[str, ...]
    rows: tuple[int, ...]
    texts: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Job:
    """One model to train and measure."""

    side: str
    seed: int
    work: Path
    shards: tuple[str, ...]
    texts: list[list[str]]
    held: HeldOut
    folder: Path
    settings: Settings

    @property
    def result(self) -> Path:
        return self.folder / f"{self.side}-{self.seed}.json"


def prove(
    folder: Path, decided: Deciding, settings: Settings, workers: int, tell: Callable[..., None]
) -> dict[str, Any]:
    """rows: metric, raw, clean, difference with its interval over pictures and seeds, and p after Holm's correction."""
    held, free = _held(folder, decided, settings, workers)
    if len(held.rows) < LEAST:
        return {
            "rows": [],
            "seeds": 0,
            "why": f"Only {len(held.rows)} held-out pictures with a good text; {LEAST} are needed.",
        }
    raw = [
        list(texts) if decided.rows.usable[row] and free[row] else []
        for row, texts in enumerate(decided.rows.texts)
    ]
    clean = [texts if free[row] else [] for row, texts in enumerate(decided.texts())]
    if (few := min(sum(map(bool, raw)), sum(map(bool, clean)))) < LEAST:
        why = f"Only {few} pairs to learn from; {LEAST} are needed."
        return {"rows": [], "seeds": 0, "why": why}
    jobs = [
        Job(side, seed, decided.rows.work, decided.rows.shards, [[text for text in given if text.strip()] for given in texts], held, folder, settings)
        for seed in range(settings.seeds)
        for side, texts in (("raw", raw), ("clean", clean))
    ]  # fmt: skip
    tell("prove", 0, len(jobs), note=already(job.result for job in jobs))
    for _ in scale.run(measure, jobs, workers):
        tell("prove", 1, len(jobs))
    found = {job.result: json.loads(job.result.read_text()) for job in jobs}
    return {
        "rows": _compare(jobs, found), "seeds": settings.seeds, "held_out": len(held.rows),
        "trained_on": {"raw": sum(map(bool, raw)), "clean": sum(map(bool, clean))},
    }  # fmt: skip


def _held(folder: Path, decided: Deciding, settings: Settings, workers: int) -> tuple[HeldOut, list[bool]]:
    """The held-out pairs, and which rows of the set may be trained on."""
    data = decided.rows
    if settings.test is not None:
        found = open_set(settings.test)
        (folder / "test" / "audit").mkdir(parents=True, exist_ok=True)
        names = [shard.name for shard in found.shards]
        audited.gather(
            folder / "test", names, check(found, workers, keep=folder / "test" / "audit", size=settings.size)
        )
        test = audited.load(folder / "test", names)
        rows = [row for row in range(len(test)) if test.judged(row)]
        texts = tuple(tuple(test.texts[row][at] for at in test.judged(row)) for row in rows)
        known = set(test.image_keys)
        return HeldOut(test.work, test.shards, tuple(rows), texts), [
            key not in known for key in data.image_keys
        ]
    apart = [int(key[:8] or "0", 16) % HELD_OUT == 0 for key in data.image_keys]
    rows, kept = [], []
    for row in np.flatnonzero(apart).tolist():
        good = tuple(item.judged.text for item in decided.outcome(row).decisions if item.decision == KEEP)
        if good:
            rows.append(row)
            kept.append(good)
    return HeldOut(data.work, data.shards, tuple(rows), tuple(kept)), [not out for out in apart]


def measure(job: Job) -> None:
    """Train a fresh model and measure it on the held-out pairs; the result file is the commit mark."""
    if job.result.exists():
        return
    data = audited.load(job.work, job.shards)
    where = selfjudge.learn(job.folder / f"{job.side}-{job.seed}", data, job.texts, job.settings, job.seed)
    model = load(where).eval()
    test = audited.load(job.held.work, job.held.shards)
    images = torch.from_numpy(model.pixels.normalise(np.stack([test.pixels[row] for row in job.held.rows])))
    result: dict[str, Any] = {
        **_retrieve(model, images, job.held.texts),
        "cider": _write(model, images, job.held.texts),
    }
    with atomic_write(job.result) as file:
        file.write(json.dumps(result).encode())


@torch.no_grad()
def _retrieve(model: Any, images: torch.Tensor, texts: Sequence[Sequence[str]]) -> dict[str, list[float]]:
    """Hits at 1 for each picture and for each text; every text that a picture has, to the letter, is a right answer."""
    pictures = torch.cat(
        [model.system.embed_image(Batch(images=part[:, None])) for part in images.split(256)]
    )
    flat = [text for group in texts for text in group]
    owner = np.repeat(np.arange(len(texts)), [len(group) for group in texts])
    said = torch.cat(
        [model.system.embed_text(model.batch(texts=flat[at : at + 256])) for at in range(0, len(flat), 256)]
    )
    scores = (pictures @ said.T).numpy()
    right = np.array([[text in set(group) for text in flat] for group in texts])
    texts_hit = ranks(scores.T, right.T).hits(1)
    by_picture = np.bincount(owner, texts_hit) / np.bincount(owner)
    return {"image_to_text": ranks(scores, right).hits(1).tolist(), "text_to_image": by_picture.tolist()}


def _write(model: Any, images: torch.Tensor, texts: Sequence[Sequence[str]]) -> list[float]:
    """CIDEr-D of each picture's beam-searched caption, document frequencies from the held-out references."""
    writing = Writing("beam", beams=3, max_length=model.config.length, min_length=3)
    said: dict[str, str] = {}
    for start in range(0, len(images), 128):
        for at, found in enumerate(caption(model, images[start : start + 128], writing), start):
            said[str(at)] = found[0].text or "nothing"
    report = evaluate(said, {str(at): list(group) for at, group in enumerate(texts)}, with_java=False)
    return [float(value) for value in report.scores["CIDEr-D"].each.tolist()]


def _compare(jobs: Sequence[Job], found: dict[Path, dict[str, list[float]]]) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for name, label in METRICS.items():
        sides = {
            side: np.array([found[job.result][name] for job in jobs if job.side == side])
            for side in ("raw", "clean")
        }
        gain = difference(sides["clean"], sides["raw"])
        rows.append({
            "metric": label, "raw": float(sides["raw"].mean()), "clean": float(sides["clean"].mean()),
            "difference": gain.value, "low": gain.low, "high": gain.high, "p": _sign(sides["clean"] - sides["raw"]),
        })  # fmt: skip
    for row, p in zip(rows, holm([row["p"] for row in rows])):
        row["p"] = p
    return rows


def _sign(gains: np.ndarray, draws: int = 10_000) -> float:
    """Two-sided sign-flip permutation test over pictures (means over seeds), seeded."""
    means = gains.mean(0)
    flips = np.random.default_rng(0).choice([-1.0, 1.0], size=(draws, len(means)))
    return float(((np.abs(flips @ means) >= abs(means.sum()) - 1e-12).sum() + 1) / (draws + 1))
