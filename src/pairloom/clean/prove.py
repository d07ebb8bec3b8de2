"""Proof of a cleaning: the same new model is trained on the raw and on the clean pairs, and both are compared on held-out pairs.

It is the CapFilt ablation (BLIP, table 1) on the user's own data: several seeds, paired intervals over pictures and seeds.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from pairloom.clean.captioners import ENCODED, encode_sample, train_to_prove
from pairloom.clean.ledger import KEEP
from pairloom.clean.plan import CleanSettings, already
from pairloom.clean.rows import LEARN, Rows, audit_rows, load, read_part
from pairloom.clean.shard_decisions import read_outcomes
from pairloom.clean.tower_encoding import encoded_pictures, encoded_rows
from pairloom.data.batch import Batch
from pairloom.data.disk import atomic_write
from pairloom.data.shards import Shard, open_set
from pairloom.metrics.captions import evaluate
from pairloom.metrics.compare import difference, holm
from pairloom.metrics.rank import ranks
from pairloom.model import Model
from pairloom.scale import Execution
from pairloom.tasks.caption import caption
from pairloom.tasks.decode import Writing
from pairloom.weights import load as load_model

METRICS = {
    "image_to_text": "R@1, image to text",
    "text_to_image": "R@1, text to image",
    "cider": "CIDEr-D of captions",
}
HELD_OUT = 10  # without a test set, one picture in so many is held out
LEAST = 20  # least numbers of held-out pictures and of training pairs for a comparison


@dataclass(frozen=True)
class HeldOut:
    """Held-out pairs: rows of an audited set and their texts."""

    rows: Rows
    chosen: list[int]
    texts: list[list[str]]

    def images(self, model: Model, encoded: Path | None) -> torch.Tensor:
        """What a model reads of the pictures: normalised pixels [n 3 H W], or the rows [n R W] that its tower has encoded."""
        if encoded is None:
            pixels = np.stack([self.rows.pixels[row] for row in self.chosen])
            return torch.from_numpy(model.pixels.normalise(pixels))
        stored = encoded_pictures(encoded, self.rows.shards, len(self.rows))
        return stored.encoded[torch.from_numpy(stored.place[self.chosen]), 0].float()


@dataclass(frozen=True)
class ProveTask:
    """Task of training and measuring one model. side: "raw" or "clean"; test: the work folder of the test set, where there is
    one. on_tower: the models stand on the pictures that a tower has encoded."""

    side: str
    seed: int
    work: Path
    decisions: Path
    test: Path | None
    settings: CleanSettings
    device: str = "cpu"
    on_tower: bool = False

    @property
    def folder(self) -> Path:
        return self.work / "prove"

    @property
    def result(self) -> Path:
        return self.folder / f"{self.side}-{self.seed}.json"


def prove(
    work: Path, shards: Sequence[Shard], decisions: Path, settings: CleanSettings, execution: Execution,
    tell: Callable[..., None], device: str = "cpu",
) -> dict[str, Any]:  # fmt: skip
    """Compare models trained on raw and on clean pairs. Returns rows of metric, raw, clean, difference with its interval over
    pictures and seeds, and p after Holm's correction; or the reason why there is no comparison.

    decisions: the folder with the decisions of all shards.
    """
    folder, test = work / "prove", None
    encoded = encode_sample(load(work), shards, settings, execution, tell, device)
    if settings.test is not None:
        pairs = open_set(settings.test)
        rows = audit_rows(pairs, folder / "test", settings.size, execution)
        encode_sample(rows, pairs.shards, settings, execution, tell, device, like=encoded)
        test = rows.work
    held = held_out(work, decisions, test)
    if len(held.chosen) < LEAST:
        return {
            "rows": [],
            "seeds": 0,
            "why": f"Only {len(held.chosen)} held-out pictures with a good text; {LEAST} are needed.",
        }
    counts = _write_texts(work, decisions, held if test is not None else None, folder)
    if (few := min(counts.values())) < LEAST:
        why = f"Only {few} training pairs; {LEAST} are needed."
        return {"rows": [], "seeds": 0, "why": why}
    tasks = [
        ProveTask(side, seed, work, decisions, test, settings, device, encoded is not None)
        for seed in range(settings.seeds)
        for side in ("raw", "clean")
    ]
    tell("prove", 0, len(tasks), note=already(task.result for task in tasks))
    for _ in execution.run(measure, tasks):
        tell("prove", 1, len(tasks))
    results = {task.result: json.loads(task.result.read_text()) for task in tasks}
    return {
        "rows": _compare(tasks, results), "seeds": settings.seeds, "held_out": len(held.chosen), "trained_on": counts,
    }  # fmt: skip


def held_out(work: Path, decisions: Path, test: Path | None) -> HeldOut:
    """The held-out pairs: those of the test set without bad faults; without a test set, kept pairs of every tenth picture. On a
    tower they are those that it has encoded."""
    rows = load(work if test is None else test)
    encoded = _encoded(rows.work)
    if test is not None:
        texts = list(rows.column(LEARN))
        chosen = [row for row, each in enumerate(texts) if each and (encoded is None or encoded[row])]
        return HeldOut(rows, chosen, [texts[row] for row in chosen])
    chosen, kept = [], []
    outcomes = (one for shard in rows.shards for one in read_outcomes(decisions / f"{shard}.parquet"))
    for row, (key, outcome) in enumerate(zip(rows.column("image_key"), outcomes)):
        good = [item.judged.text for item in outcome.decisions if item.decision == KEEP]
        if good and _apart(key) and (encoded is None or encoded[row]):
            chosen.append(row)
            kept.append(good)
    return HeldOut(rows, chosen, kept)


def _encoded(work: Path) -> np.ndarray | None:
    """Which rows of a set a tower has encoded; None where there is no tower."""
    folder = work / ENCODED
    return encoded_rows(folder, len(load(work))) if folder.exists() else None


def _apart(image_key: str) -> bool:
    """Whether a picture is held out, without a test set."""
    return int(image_key[:8] or "0", 16) % HELD_OUT == 0


def _write_texts(work: Path, decisions: Path, test: HeldOut | None, folder: Path) -> dict[str, int]:
    """Write the training texts of both sides, without held-out pictures. Returns the number of pairs of each side."""
    known = None if test is None else set(test.rows.column("image_key"))
    counts = {"raw": 0, "clean": 0}
    rows = load(work)
    for shard in rows.shards:
        part = read_part(rows.folder, shard, ["image_key", "usable", "texts", "originals"])
        clean = read_part(decisions, shard, [LEARN]).column(LEARN).to_pylist()
        raw = [
            [old or text for text, old in zip(*each)]  # as the set has them
            for each in zip(part.column("texts").to_pylist(), part.column("originals").to_pylist())
        ]
        free = [
            not (_apart(key) if known is None else key in known)
            for key in part.column("image_key").to_pylist()
        ]
        sides = {
            "raw": [each if fine and may else [] for each, fine, may in zip(raw, part.column("usable").to_pylist(), free)],
            "clean": [each if may else [] for each, may in zip(clean, free)],
        }  # fmt: skip
        for side, texts in sides.items():
            counts[side] += sum(map(bool, texts))
            table = pa.table({LEARN: pa.array(_written(texts), pa.list_(pa.string()))})
            with atomic_write(folder / side / f"{shard}.parquet") as file:
                pq.write_table(table, file)
    return counts


def _written(texts: list[list[str]]) -> list[list[str]]:
    """Remove blank texts."""
    return [[text for text in each if text.strip()] for each in texts]


def measure(task: ProveTask) -> None:
    """Train a new model and measure it on the held-out pairs; the result file is the commit mark."""
    if task.result.exists():
        return
    out, texts = task.folder / f"{task.side}-{task.seed}", task.folder / task.side
    encoded = task.work / ENCODED if task.on_tower else None
    where = train_to_prove(out, load(task.work), texts, task.settings, task.seed, encoded, task.device)
    model = load_model(where).to(task.device).eval()
    held = held_out(task.work, task.decisions, task.test)
    images = held.images(model, encoded and (task.test or task.work) / ENCODED).to(model.device)
    result: dict[str, Any] = {
        **_retrieve(model, images, held.texts),
        "cider": _write(model, images, held.texts),
    }
    with atomic_write(task.result) as file:
        file.write(json.dumps(result).encode())


@torch.no_grad()
def _retrieve(model: Any, images: torch.Tensor, texts: Sequence[Sequence[str]]) -> dict[str, list[float]]:
    """R@1 of each picture and of each text; every text that is equal to one of the picture's counts as right."""
    pictures = torch.cat(
        [model.system.embed_image(Batch(images=part[:, None])) for part in images.split(256)]
    )
    flat = [text for group in texts for text in group]
    owner = np.repeat(np.arange(len(texts)), [len(group) for group in texts])
    embedded = torch.cat(
        [model.system.embed_text(model.batch(texts=flat[at : at + 256])) for at in range(0, len(flat), 256)]
    )
    scores = (pictures @ embedded.T).cpu().numpy()
    right = np.array([[text in set(group) for text in flat] for group in texts])
    texts_hit = ranks(scores.T, right.T).hits(1)
    by_picture = np.bincount(owner, texts_hit) / np.bincount(owner)
    return {"image_to_text": ranks(scores, right).hits(1).tolist(), "text_to_image": by_picture.tolist()}


def _write(model: Any, images: torch.Tensor, texts: Sequence[Sequence[str]]) -> list[float]:
    """CIDEr-D of a beam-search caption of each picture, with document frequencies of the held-out references."""
    writing = Writing("beam", beams=3, max_length=model.config.length, min_length=3)
    captions: dict[str, str] = {}
    for start in range(0, len(images), 128):
        for at, written in enumerate(caption(model, images[start : start + 128], writing), start):
            captions[str(at)] = written[0].text or "nothing"
    report = evaluate(captions, {str(at): list(group) for at, group in enumerate(texts)}, with_java=False)
    return [float(value) for value in report.scores["CIDEr-D"].each.tolist()]


def _compare(tasks: Sequence[ProveTask], results: dict[Path, dict[str, list[float]]]) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for name, label in METRICS.items():
        sides = {
            side: np.array([results[task.result][name] for task in tasks if task.side == side])
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
    """Two-sided sign-flip permutation test over pictures (means over seeds), with a fixed seed: p."""
    means = gains.mean(0)
    flips = np.random.default_rng(0).choice([-1.0, 1.0], size=(draws, len(means)))
    return float(((np.abs(flips @ means) >= abs(means.sum()) - 1e-12).sum() + 1) / (draws + 1))
