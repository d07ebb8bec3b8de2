"""Results of a Model: small frozen records of numbers, texts and PIL images, never of tensors.

N pictures, M texts, E shared embedding.
"""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import numpy
from numpy.typing import NDArray
from PIL import Image

from pairloom.data.cut import CutTexts

Floats: TypeAlias = NDArray[Any]


@dataclass(frozen=True, eq=False)
class Scores:
    """How well texts fit pictures; higher is better. values: [M] for one picture, [N M] for a list of them.

    by: how the scores are computed ("match head", "cosine", ...). cut: texts that are longer than the model reads.
    """

    values: Floats
    by: str
    texts: tuple[str, ...]
    cut: CutTexts = CutTexts()

    @property
    def best(self) -> Any:
        """The text with the highest score; a list of them, one a picture, where there are several pictures."""
        if self.values.ndim == 1:
            return self.texts[int(self.values.argmax())]
        return [self.texts[at] for at in self.values.argmax(1)]

    def __float__(self) -> float:
        """The score of one picture and one text. ValueError where there are more."""
        return float(self.values.item())

    def __array__(self, dtype: Any = None, copy: Any = None) -> Floats:
        return numpy.array(self.values, dtype=dtype)

    def __repr__(self) -> str:
        with numpy.printoptions(precision=4, suppress=True, threshold=40):
            return f"Scores({self.values}, by={self.by!r}, texts={list(self.texts[:6])}{' ...' * (len(self.texts) > 6)})"

    def _repr_html_(self) -> str:
        rows = numpy.atleast_2d(self.values)
        titles = ["text", *(["score"] if len(rows) == 1 else map(str, range(len(rows))))]
        order = rows[0].argsort()[::-1] if len(rows) == 1 else range(len(self.texts))
        cells = [[self.texts[at], *(f"{row[at]:.4f}" for row in rows)] for at in order]
        return html_table(titles, cells, f"by {self.by}")


def ranked(every: Sequence[Scores]) -> list[dict[str, Any]]:
    """Each text of one picture with its score in every way, {"text": ..., "match head": ...}; the best by the first way first."""
    texts, first = every[0].texts, every[0].values
    rows = [
        {"text": text, **{one.by: float(one.values[at]) for one in every}} for at, text in enumerate(texts)
    ]
    return [rows[at] for at in sorted(range(len(texts)), key=lambda at: -float(first[at]))]


@dataclass(frozen=True, eq=False)
class Embeddings:
    """Unit vectors in the shared space. images [N E], texts [M E]; None where there were none. cut: texts that are longer than the
    model reads."""

    images: Floats | None = None
    texts: Floats | None = None
    cut: CutTexts = CutTexts()

    @property
    def similarity(self) -> Floats:
        """Cosines [N M] of every picture with every text. ValueError where either is missing."""
        if self.images is None or self.texts is None:
            raise ValueError("similarity needs images and texts: embed both")
        return self.images @ self.texts.T

    def __array__(self, dtype: Any = None, copy: Any = None) -> Floats:
        sides = [side for side in (self.images, self.texts) if side is not None]
        if len(sides) != 1:
            raise ValueError("there are two arrays here: take .images or .texts")
        return numpy.array(sides[0], dtype=dtype)

    def __repr__(self) -> str:
        sides = {"images": self.images, "texts": self.texts}
        shapes = ", ".join(f"{name}={list(side.shape)}" for name, side in sides.items() if side is not None)
        return f"Embeddings({shapes})"


@dataclass(frozen=True)
class Drawing:
    """A drawn picture, the text it was drawn for and the seed of its noise."""

    text: str
    image: Image.Image = field(repr=False)
    seed: int = 0

    def save(self, path: Path | str) -> Path:
        """Write it as a picture file; its ending names the format."""
        self.image.save(path)
        return Path(path)

    def _repr_html_(self) -> str:
        return f"<figure>{html_image(self.image)}<figcaption>{html.escape(self.text)}</figcaption></figure>"


def html_table(titles: Sequence[str], rows: Sequence[Sequence[Any]], caption: str = "") -> str:
    """A table for a notebook."""
    head = "".join(f"<th>{html.escape(title)}</th>" for title in titles)
    body = "".join(
        "<tr>" + "".join(f"<td>{html.escape(str(cell))}</td>" for cell in row) + "</tr>" for row in rows
    )
    above = f"<caption>{html.escape(caption)}</caption>" if caption else ""
    return f"<table>{above}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def html_image(image: Image.Image) -> str:
    """A picture that lies inside the page."""
    stream = io.BytesIO()
    image.save(stream, "PNG")
    return f'<img alt="" src="data:image/png;base64,{base64.b64encode(stream.getvalue()).decode()}">'
