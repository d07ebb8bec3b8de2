"""Training of the model `ridge`: it is solved in closed form, so that a run has no steps, no checkpoints and no resuming.

The features of all pictures are in memory: 9 kB for each with the towers of `pip install "pairloom[towers]"`, 6 kB without.

Does not know: the command line, how features are computed and compared.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from PIL import Image

from pairloom.data.ahead import ahead
from pairloom.data.disk import check_output
from pairloom.data.index import ImageIndex
from pairloom.data.pixels import Unreadable, open_image, squashed
from pairloom.data.shards import open_set
from pairloom.errors import Mistake
from pairloom.model import claim, save
from pairloom.regression.features import Encoders
from pairloom.regression.fitting import PairFeatures, fit_model
from pairloom.regression.pixels import EXACT, TwoViews
from pairloom.regression.ridge_model import NAME, System, model_of, picture_features
from pairloom.runtime.devices import resolve_device
from pairloom.towers import NONE, load_image_tower, load_text_tower, wanted_towers
from pairloom.towers.handmade import SAMPLE, HandmadeFeatures
from pairloom.train import run_folder
from pairloom.train.order import TrainRequest
from pairloom.train.run import Report, TrainResult
from pairloom.train.run import train as train_by_steps
from pairloom.train.settings import Settings

SMALL, SEED = 64, 0  # pixels a side for hand-made features
PAIRS = 50  # least pictures
GROUP = 64  # pictures that are encoded together
USED = {"system", "data", "out", "workers", "device", "restart", "dry_run"}


@dataclass(frozen=True)
class TowerNames:
    """Names or paths of the pretrained towers of pictures and of texts (docs/towers.md); "none": none; None: an installed
    one, where there is one."""

    image: str | None = None
    text: str | None = None


def train(
    request: TrainRequest, towers: TowerNames = TowerNames(), report: Report | None = None
) -> TrainResult:
    """Train the model of a request, in closed form or by steps. Mistake for everything that does not fit, before any work."""
    if request.name == NAME:
        fitted = fit_request(request, towers, report)
        return TrainResult(
            request.out, 0, Settings(), fitted.facts, fitted.metrics, unreadable=fitted.unreadable
        )
    if towers.text is not None:
        raise Mistake(
            f"A {request.name} has no pretrained text tower.",
            "That is for `pairloom train ridge`.",
            "Leave out --text-tower.",
        )
    tower = None if towers.image == NONE else towers.image
    if tower is not None:
        load_image_tower(tower, resolve_device(request.device))
    return train_by_steps(replace(request, tower=tower), report)


@dataclass(frozen=True)
class ClosedFormResult:
    """Result of a fit. facts: about the model and the set. metrics: of cross-validated retrieval. unreadable: picture ->
    reason."""

    facts: dict[str, Any]
    metrics: dict[str, float]
    unreadable: dict[str, str]


def fit_request(request: TrainRequest, towers: TowerNames, tell: Report | None = None) -> ClosedFormResult:
    """Fit a ridge model to the set of a request, and write its folder. Mistake for what such a model does not have."""
    demand_closed_form(request)
    if not request.data.exists():
        raise Mistake(
            f"There is nothing at {request.data}.", "The path does not exist.", "Check the spelling."
        )
    check_output(request.out, request.data)
    device = resolve_device(request.device)
    image_tower, text_tower = wanted_towers(towers.image, towers.text)
    if image_tower is not None:
        load_image_tower(image_tower, device)
    if text_tower is not None:
        load_text_tower(text_tower, device)
    index = ImageIndex.of(open_set(request.data).pairs())
    facts = {
        "system": NAME, "image_tower": image_tower, "text_tower": text_tower, "pictures": len(index),
        "skipped": dict(index.skipped),
    }  # fmt: skip
    if request.dry_run:
        return ClosedFormResult(facts, {}, {})
    if request.restart:
        run_folder.restart(request.out)
    claim(request.out)
    run_folder.demand_room(request.out)
    if (request.out / "config.json").exists():
        raise Mistake(f"{request.out} holds a model already.", "", "Name a new folder, or add --restart.")
    run_folder.sign(request.out, {**facts, "data": str(request.data)})
    encoders = Encoders(
        HandmadeFeatures.learn(_small(index, request.workers)), image_tower, text_tower, device
    )
    pairs, unreadable = _features(index, encoders, request.workers, tell)
    fitted = fit_model(pairs, SEED)
    system = System(encoders, fitted.space, fitted.joint, SMALL)
    about = {
        "data": f"{len(pairs.pictures):,} pictures of {request.data.name}, {len(pairs.texts):,} distinct texts",
        "image tower": image_tower or NONE, "text tower": text_tower or NONE, "metrics": fitted.metrics,
    }  # fmt: skip
    save(model_of(system, about), request.out)
    return ClosedFormResult(facts, fitted.metrics, unreadable)


def demand_closed_form(request: TrainRequest) -> None:
    """Raise Mistake for options of training by steps."""
    changed = [
        field.name
        for field in fields(request)
        if field.name not in USED and getattr(request, field.name) != field.default
    ]
    if changed:
        raise Mistake(
            f"A {NAME} has no {', '.join(changed)}.",
            "It is solved in closed form, on all pictures; it has no steps, no tokenizer and nothing to start from.",
            "Leave it out.",
        )


def _small(index: ImageIndex, workers: int) -> np.ndarray:
    """Small pictures of a sample, for the dictionary of hand-made features."""
    rows = np.sort(np.random.default_rng(SEED).permutation(len(index))[:SAMPLE]).tolist()
    pictures = [
        squashed(image, SMALL) for _, image, _ in _pictures(index, rows, EXACT * SMALL, workers) if image
    ]
    return np.stack(pictures) if pictures else np.zeros((1, SMALL, SMALL, 3), np.uint8)


def _pictures(
    index: ImageIndex, rows: list[int], least: int, workers: int
) -> Iterator[tuple[int, Image.Image | None, str]]:
    """(row, picture, why it cannot be read) of rows, decoded ahead."""

    def look(row: int) -> tuple[int, Image.Image | None, str]:
        try:
            return row, open_image(index.read(row), shrink_to=least), ""
        except (OSError, Unreadable) as error:
            return row, None, str(error)

    return ahead(look, rows, max(1, workers))


def _features(
    index: ImageIndex, encoders: Encoders, workers: int, tell: Report | None
) -> tuple[PairFeatures, dict[str, str]]:
    """Raw features of all readable pictures and their texts, and why the others cannot be read."""
    views = TwoViews.of(SMALL, encoders.images.preparation if encoders.images else None)
    readable, raw, unreadable = list[int](), [], dict[str, str]()
    waiting = list[np.ndarray]()

    def encode() -> None:
        if waiting:
            raw.append(picture_features(encoders, views, np.stack(waiting)))
        waiting.clear()

    if tell is not None:
        tell(0, len(index), {}, 0)
    for row, image, why in _pictures(index, list(range(len(index))), EXACT * views.size, workers):
        if image is None:
            unreadable[str(index.path(row))] = why
        else:
            readable.append(row)
            waiting.append(views.to_uint8(image))
        if len(waiting) == GROUP:
            encode()
        if tell is not None:
            tell(row + 1, len(index), {}, len(unreadable))
    encode()
    if len(readable) < PAIRS:
        raise Mistake(
            f"There are {len(readable)} pictures to learn from.",
            f"{len(unreadable)} cannot be read: {dict(list(unreadable.items())[:3])}." if unreadable else "",
            f"A {NAME} needs {PAIRS} or more.",
        )
    words = list(index.words())
    of_picture = [words[row] for row in readable]
    texts = sorted({text for each in of_picture for text in each})
    ids = np.unique(index.ids()[readable], return_inverse=True)[1]
    return PairFeatures(
        encoders, np.concatenate(raw), texts, encoders.sentences(texts), of_picture, ids
    ), unreadable
