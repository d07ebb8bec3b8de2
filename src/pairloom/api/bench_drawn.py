"""The benchmark of painters: models draw a set's texts, or prompts of the drawn world, and what they drew is measured."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pairloom.api.front import load
from pairloom.api.inputs import open_picture
from pairloom.bench import painters as painting
from pairloom.bench.painters import NAME, PainterMeasure, SceneReader, held_out_accuracy, load_reader
from pairloom.data.disk import atomic_write, json_bytes, taken
from pairloom.data.pair import seed_of
from pairloom.data.pixels import Unreadable, open_image
from pairloom.data.shards import open_set
from pairloom.errors import Mistake
from pairloom.verbs import demand
from pairloom.world import caption, picture, sample

PROMPTS = 200  # without --limit
AGAIN = 32  # prompts that are drawn twice, for diversity
Embed = Callable[[Sequence[Image.Image]], NDArray[Any]]


@dataclass(frozen=True)
class PromptSet:
    """Prompts, the true picture of each, and its other texts. world: whether they are of the drawn world."""

    prompts: list[str]
    real: list[Image.Image]
    references: list[list[str]]
    world: bool


@dataclass(frozen=True)
class PainterRun:
    """results: what results.json holds; out: the folder of the run."""

    results: dict[str, Any] = field(repr=False)
    out: Path

    @property
    def complete(self) -> bool:
        """Whether every prompt was drawn by every painter."""
        return not any(one["problems"] for one in self.results["painters"].values())

    def brief(self) -> dict[str, Any]:
        """The results."""
        return self.results

    def table(self) -> tuple[list[str], list[list[Any]]]:
        """Columns and rows of all numbers with their intervals."""

        def number(value: float | None) -> str:
            return "" if value is None else f"{value:.3f}"

        rows = [
            [
                one["name"] + " (lower is better)" * one["lower"], one["by"], painter,
                f"{one['value']:.3f} [{one['low']:.3f}, {one['high']:.3f}]", number(one["chance"]), number(one["best"]),
                one["drawn"], one["real"] or "",
            ]
            for painter, entry in self.results["painters"].items()
            for one in entry["measures"]
        ]  # fmt: skip
        return ["measure", "by", "painter", "value", "chance", "true pictures", "drawn", "real"], rows

    def remarks(self) -> list[str]:
        """How far the reader can be trusted, what could not be drawn, what was not measured, where the rest lies."""
        lines = list(self.results["notes"])
        for painter, entry in self.results["painters"].items():
            if entry["reader"]:
                shares = ", ".join(f"{sort} {share:.3f}" for sort, share in entry["reader"].items())
                lines.append(
                    f"{painter}: the scene reader's accuracy on held-out scenes of that size: {shares}"
                )
            lines += [f"{painter}: {row['text'][:60]}: {row['problem']}" for row in entry["problems"][:5]]
        return [
            *lines,
            f"pictures and contact sheets in {self.out}/pictures, written to {self.out}/results.json",
        ]


def bench_drawn(
    models: Sequence[str], out: Path, *, data: Path | None = None, judge: Path | str | None = None,
    features: str = "", training: Path | None = None, limit: int = 0, seed: int = 0, device: str = "auto",
    tell: Callable[..., None] = lambda *arguments, **more: None,
) -> PainterRun:  # fmt: skip
    """Let each model draw the prompts, and measure.

    data: a set of pairs, whose first texts are the prompts; None: prompts of the drawn world. judge: a model that scores pairs. features: an
    image tower (docs/towers.md); the installed one without. training: the set that the painters have learnt from. Mistake
    for what does not fit.
    """
    results = out / "results.json"
    if results.exists() and "painters" not in json.loads(results.read_bytes()):
        raise taken(results)
    count = limit or PROMPTS
    prompts = world_prompts(count, seed) if data is None else set_prompts(data, count)
    sources, notes = _sources(prompts.world, features, device)
    learnt = [] if training is None else set_prompts(training, max(4 * len(prompts.prompts), 400)).real
    if learnt and not sources:
        raise Mistake("--training needs features.", "No image tower is installed.", "Add --features TOWER.")
    scorer = None if judge is None else load(judge, device)
    painters: dict[str, Any] = {}
    for where in models:
        name = Path(where).name if Path(where).name not in painters else where
        painters[name] = _painter(load(where, device), name, out, prompts, sources, learnt, (str(judge), scorer), tell)  # fmt: skip
    facts = {
        "data": "drawn world" if data is None else str(data),
        "prompts": len(prompts.prompts),
        "seed": seed,
    }
    document = {"bench": facts, "notes": notes, "painters": painters}
    with atomic_write(results, replace=True) as stream:
        stream.write(json_bytes(document))
    return PainterRun(document, out)


def world_prompts(count: int, seed: int) -> PromptSet:
    """Captions of scenes of the level "simple", with their pictures."""
    scenes = [sample(seed_of("bench", NAME, seed, at), "simple") for at in range(count)]
    return PromptSet([caption(scene) for scene in scenes], [picture(scene, 64) for scene in scenes], [], True)


def set_prompts(data: Path, limit: int) -> PromptSet:
    """The first text of each readable pair, at most `limit` evenly spread over the set. Mistake where there are fewer than two."""
    pairs = [pair for pair in open_set(data).pairs() if pair.texts and not pair.problem]
    if limit < len(pairs):
        pairs = [pairs[at * len(pairs) // limit] for at in range(limit)]
    chosen: dict[str, tuple[Image.Image, list[str]]] = {}
    for pair in pairs:
        first, *others = [text.text for text in pair.texts]
        try:
            chosen.setdefault(first, (open_image(pair.image.read()), others))
        except (OSError, Unreadable):
            continue
    if len(chosen) < 2:
        raise Mistake(f"{data} has no two pairs with a text and a readable picture.", "", "Name another set.")
    real, references = zip(*chosen.values())
    return PromptSet(list(chosen), list(real), list(references), False)


def _sources(world: bool, features: str, device: str) -> tuple[dict[str, tuple[Embed, SceneReader | None]], list[str]]:  # fmt: skip
    """What gives features, by name: the scene reader for the drawn world, and an image tower; and notes on what there is not."""
    sources: dict[str, tuple[Embed, SceneReader | None]] = {}
    if world:
        reader = load_reader()
        sources["scene reader"] = (reader.features, reader)
    from pairloom.towers import load_image_tower, published_towers

    where = features or ("" if world else published_towers()[0] or "")
    if not where:
        missing = "no image tower is installed: no Fréchet distance, precision and recall (docs/towers.md)"
        return sources, [] if world else [missing]
    tower = load_image_tower(where, "cpu" if device == "auto" else device)

    def embed(images: Sequence[Image.Image]) -> NDArray[Any]:
        return tower.pooled(np.stack([tower.prepare(image) for image in images]))

    sources[f"{tower.name} ({tower.identity[:8]})"] = (embed, None)
    return sources, []


def _painter(
    model: Any, name: str, out: Path, prompts: PromptSet, sources: dict[str, tuple[Embed, SceneReader | None]],
    learnt: list[Image.Image], judge: tuple[str, Any], tell: Callable[..., None],
) -> dict[str, Any]:  # fmt: skip
    """Drawings of a painter and their measures."""
    demand(model.system, "draw")
    folder = out / "pictures" / name.replace("/", "_")
    twice, _ = _draw(model, prompts.prompts[:AGAIN], folder, 2, tell, f"drawing by {name}, twice")
    drawn, problems = _draw(model, prompts.prompts, folder, 1, tell, f"drawing by {name}")
    at = [number for number, text in enumerate(prompts.prompts) if text in drawn]
    if len(at) < 2:
        first = problems[0]["problem"] if problems else ""
        raise Mistake(f"{name} has drawn fewer than two of the prompts.", first, "Give other prompts.")
    texts, real = [prompts.prompts[one] for one in at], [prompts.real[one] for one in at]
    images = [drawn[text][0] for text in texts]
    measures: list[PainterMeasure] = []
    accuracy: dict[str, float] = {}
    for by, (embed, reader) in sources.items():
        own, true = embed(images), embed(real)
        if reader is not None:
            accuracy = held_out_accuracy(reader, min(images[0].size))
            measures += painting.fact_measures(reader, texts, images, real)
            measures.append(
                painting.inception_measure(by, reader.kind_shares(images), reader.kind_shares(real))
            )
        measures += painting.feature_measures(by, true, own)
        groups = [embed(each) for each in twice.values() if len(each) > 1]
        measures += [painting.diversity_measure(by, groups)] if groups else []
        measures += [painting.copy_measure(by, embed(learnt), own, true)] if learnt else []
    where, scorer = judge
    if scorer is not None:
        references = [prompts.references[one] for one in at] if prompts.references else []
        measures += painting.judge_measures(Path(where).name, scorer, texts, images, real, references)
    rows = [{**asdict(one), "value": one.interval.value, "low": one.interval.low, "high": one.interval.high} for one in measures]  # fmt: skip
    for row in rows:
        del row["interval"]
    return {"measures": rows, "reader": accuracy, "problems": problems, "pictures": str(folder)}


def _draw(
    model: Any, texts: list[str], folder: Path, several: int, tell: Callable[..., None], step: str
) -> tuple[dict[str, list[Image.Image]], list[dict[str, Any]]]:
    """Pictures of each text, and the rows of those that could not be drawn. What an earlier run has drawn is read."""
    from pairloom.api.drawing import DrawingOptions
    from pairloom.api.drawn_files import DrawnFiles
    from pairloom.data.prompts import Prompt

    files = DrawnFiles(
        model, [Prompt(text) for text in texts], folder, DrawingOptions.checked(model, several=several)
    )
    tell(step, 0, files.left)
    for row in files:
        tell(step, 1, files.left, bad=int("problem" in row))
    drawn: dict[str, list[Image.Image]] = {}
    for row in files.rows:
        if "picture" in row:
            drawn.setdefault(row["text"], []).append(open_picture(row["picture"]))
    return drawn, [row for row in files.rows if "problem" in row]
