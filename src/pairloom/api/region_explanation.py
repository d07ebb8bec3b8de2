"""Boxes that account for a text or for an answer, drawn on the picture, and the boxes that a text refers to.

R regions.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from numpy.typing import NDArray
from PIL import Image

from pairloom.api import figure
from pairloom.api.explanation import ExplanationFigure
from pairloom.api.figure import Panel
from pairloom.api.inputs import open_picture
from pairloom.api.region_source import open_regions_of
from pairloom.data.detected import Detected
from pairloom.errors import Mistake
from pairloom.model import Model
from pairloom.tasks.explain import Faithfulness
from pairloom.tasks.explain_regions import ANSWER, demand_regions, explain_regions, faithfulness, refer

DRAWN = 5  # boxes that a figure shows


@dataclass(frozen=True)
class ReferredBox:
    """A box and how well a text fits it, or how much the answer rests on it. box: left, top, right, bottom as shares of the picture's
    sides; region: its number among the picture's regions."""

    box: tuple[float, float, float, float]
    score: float
    region: int

    def __str__(self) -> str:
        return " ".join(f"{side:.3f}" for side in self.box)


@dataclass(frozen=True, eq=False)
class BoxExplanation(ExplanationFigure):
    """weights [R]: how far the score falls without a region; boxes [R 4]. answer: to a question, else empty. by: the score that is
    explained, score: its value. faithfulness: what the score does when boxes are hidden."""

    text: str
    answer: str
    weights: NDArray[Any] = field(repr=False)
    boxes: NDArray[Any] = field(repr=False)
    by: str
    score: float
    faithfulness: tuple[Faithfulness, ...]
    view: Image.Image = field(repr=False)

    way = "occlusion"
    columns = ["hidden", "the best boxes", "random boxes", "sd", "random ones that left more"]
    parts = "boxes"

    @property
    def best(self) -> list[ReferredBox]:
        """The regions that count, those that count most first."""
        return _ordered(self.boxes, self.weights)

    @property
    def note(self) -> str:
        answer = f"answer: {self.answer}; " if self.answer else ""
        return f"{answer}{self.by} {self.score:.4f}, explained by its boxes"

    def to_dict(self) -> dict[str, Any]:
        """All of it as plain values."""
        plain = {name: getattr(self, name) for name in ("text", "answer", "way", "by", "score")}
        tests = [vars(one) for one in self.faithfulness]
        return {**plain, "boxes": [vars(one) for one in self.best], "faithfulness": tests}

    def _panels(self) -> list[Panel]:
        shown = [(one.box, f"{one.score:+.2f}") for one in self.best if one.score > 0][:DRAWN]
        return [
            ("", figure.boxed(self.view, [])),
            (self.answer or "(all of it)", figure.boxed(self.view, shown)),
        ]


def explain_boxes(
    model: Model, image: Any, text: str, way: str, by: str, checks: int, seed: int
) -> BoxExplanation:
    """Explain a text, or the answer to a question, by the boxes of a picture; test it `checks` times."""
    demand_regions(model)
    if not text:
        raise Mistake(
            "There is nothing to explain.", "A model of regions explains a text or a question.", "Give one."
        )
    if way not in ("", BoxExplanation.way):
        raise Mistake(f"Boxes cannot be explained by {way}.", "They are hidden in turn.", "Leave out --way.")
    if checks < 0:
        raise Mistake(f"--checks {checks} is no number of choices.", "", "Give 20, or 0 for no test.")
    (detected,) = open_regions_of(model, image)
    result = explain_regions(model, detected, text, by)
    tests = faithfulness(model, detected, result, times=checks, seed=seed) if checks else []
    return BoxExplanation(
        text, result.answer, result.weights.numpy(), result.boxes.numpy(), result.by, result.score, tuple(tests),
        _view(image),
    )  # fmt: skip


def referred_boxes(model: Model, image: Any, text: str) -> list[ReferredBox]:
    """The regions that a text refers to, best first; of a question those that its answer rests on, most first."""
    demand_regions(model)
    if not text:
        raise Mistake("There is no text.", "It says which boxes are meant.", 'Give one: "the red ball".')
    (detected,) = open_regions_of(model, image)
    result = refer(model, detected, text)
    if result.by == ANSWER:
        result = explain_regions(model, detected, text, ANSWER)
    return _ordered(result.boxes.numpy(), result.weights.numpy())


def _ordered(boxes: NDArray[Any], weights: NDArray[Any]) -> list[ReferredBox]:
    order = (-weights).argsort(kind="stable")
    return [ReferredBox(tuple(boxes[at].tolist()), float(weights[at]), int(at)) for at in order]


def _view(image: Any) -> Image.Image:
    """The picture, where it is at hand; grey where only its regions are."""
    if isinstance(image, Detected) or (isinstance(image, (str, Path)) and not Path(image).is_file()):
        return Image.new("RGB", (figure.SIDE, figure.SIDE), "lightgrey")
    return open_picture(image)
