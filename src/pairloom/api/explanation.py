"""An explanation with its picture: the map of every word, the test of the map, and the figure of both.

W words, U V cells of the picture down and across.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from numpy.typing import NDArray
from PIL import Image

from pairloom import verbs
from pairloom.api import figure
from pairloom.api.figure import Panel
from pairloom.data.disk import atomic_write
from pairloom.errors import Mistake
from pairloom.tasks.explain import (
    Explaining,
    Faithfulness,
    demand_explainable,
    explain,
    faithfulness,
    written,
)

if TYPE_CHECKING:
    from pairloom.model import Model

Floats = NDArray[Any]
COLUMNS = ["painted over", "the map's cells", "random cells", "sd", "random ones that left more"]


class ExplanationFigure:
    """An explanation that is shown and saved as a figure, with the rows of its test below."""

    columns: ClassVar[list[str]]  # of `rows`
    parts: ClassVar[str]  # what is taken away in the test
    text: str
    by: str
    faithfulness: tuple[Faithfulness, ...]

    @property
    def note(self) -> str:
        """How the explanation came about."""
        raise NotImplementedError

    def _panels(self) -> list[Panel]:
        raise NotImplementedError

    @property
    def rows(self) -> list[list[str]]:
        """The test as text, a row for each share of the parts: see `columns`."""
        return [
            [
                f"{one.share:.0%}",
                *(f"{value:.4f}" for value in (one.first, one.random, one.deviation)),
                f"{one.rank:.0%}",
            ]
            for one in self.faithfulness
        ]

    def figure(self) -> Image.Image:
        """One picture with all panels."""
        return figure.sheet(self._panels(), f"{self.text}   [{self.note}]")

    def save(self, path: Path | str, restart: bool = False) -> Path:
        """Write the figure as .png or .html. Mistake for another ending, and where the file exists already."""
        path = demand_figure(Path(path), restart)
        if path.suffix.lower() == ".png":
            data = figure.png(self.figure())
        else:
            data = self._repr_html_().encode()
        with atomic_write(path, replace=restart) as file:
            file.write(data)
        return path

    def _repr_html_(self) -> str:
        return figure.page(self._panels(), self.text, self.note, self.columns, self.rows)


@dataclass(frozen=True, eq=False)
class PictureExplanation(ExplanationFigure):
    """maps [W U V], one a word, and whole [U V] of the text in all; larger is more. way: how they were computed; by: the
    score that is explained, score: its value. faithfulness: what the score does when cells are painted over."""

    text: str
    words: tuple[str, ...]
    maps: Floats = field(repr=False)
    whole: Floats = field(repr=False)
    way: str
    by: str
    score: float
    faithfulness: tuple[Faithfulness, ...]
    view: Floats = field(repr=False)  # [H H 3], the picture as the model sees it

    columns = COLUMNS
    parts = "cells"

    @property
    def note(self) -> str:
        return f"{self.by} {self.score:.4f}, explained by {self.way}"

    def to_dict(self) -> dict[str, Any]:
        """All of it as plain values, maps too."""
        names = ("text", "way", "by", "score", "words", "maps", "whole")
        plain = {name: getattr(self, name) for name in names}
        plain |= {"words": list(self.words), "maps": self.maps.tolist(), "whole": self.whole.tolist()}
        return {**plain, "faithfulness": [vars(one) for one in self.faithfulness]}

    def _panels(self) -> list[Panel]:
        return figure.panels(self.view, self.words, self.maps, self.whole)


def demand_figure(path: Path, restart: bool = False, picture: Path | None = None) -> Path:
    """Mistake where no figure can be written there. picture: the file that is explained."""
    if picture is not None and path.resolve() == picture.resolve():
        raise Mistake(
            f"{path} is the picture itself.", "Nothing of yours is overwritten.", "Name another file."
        )
    if path.suffix.lower() not in (".png", ".html"):
        raise Mistake(
            f"{path} is neither a picture nor a page.", "", "Name a file that ends in .png or .html."
        )
    if path.exists() and not restart:
        raise Mistake(
            f"{path} exists already.", "Nothing is overwritten.", "Name another file, or --restart."
        )
    return path


def explain_picture(
    model: Model, image: Image.Image, text: str, way: str, by: str, checks: int, seed: int
) -> PictureExplanation:
    """Explain a text of a picture, or without a text the one that the model writes; test the map `checks` times."""
    if checks < 0:
        raise Mistake(f"--checks {checks} is no number of choices.", "", "Give 20, or 0 for no test.")
    demand_explainable(model)
    by = verbs.demand_way(model.system, by) if by else ""
    pixels = model.pictures([image])[0]
    wanted = text or written(model, pixels)
    by = by or ("" if text else "likelihood")
    result = explain(model, pixels, wanted, Explaining(way or None, by or None))
    tests = faithfulness(model, pixels, result, times=checks, seed=seed) if checks else []
    return PictureExplanation(
        result.text, result.words, result.maps.numpy(), result.whole.numpy(), result.way, result.by, result.score,
        tuple(tests), model.pixels.to_uint8(image),
    )  # fmt: skip
