"""Results of a Model: small frozen records of numbers, texts and PIL images, never of tensors.

N pictures, M texts, E shared embedding.
"""

from __future__ import annotations

import base64
import html
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, TypeAlias

import numpy
from numpy.typing import NDArray
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from pairloom.data.cut import CutTexts
from pairloom.errors import Mistake

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


RECORD = "pairloom"  # keyword of the PNG text chunk that holds the record of a drawing


@dataclass(frozen=True)
class Drawing:
    """A drawn picture, the text it was drawn for and the seed of its noise.

    score: by the judge, where there was one; candidates: seed and score of each picture that it chose from. origin: what drew it: model,
    options, version.
    """

    text: str
    image: Image.Image = field(repr=False)
    seed: int = 0
    score: float | None = field(default=None, repr=False)
    candidates: tuple[dict[str, Any], ...] = field(default=(), repr=False)
    origin: dict[str, Any] = field(default_factory=dict, repr=False)

    @property
    def record(self) -> dict[str, Any]:
        """All but the pixels, as it stands in a PNG file."""
        judged = {} if self.score is None else {"score": self.score, "candidates": list(self.candidates)}
        return {"text": self.text, "seed": self.seed, **judged, **self.origin}

    def save(self, path: Path | str) -> Path:
        """Write it as a picture file; its ending names the format. A PNG file also holds its record."""
        if Path(path).suffix.lower() == ".png":
            with open(path, "wb") as stream:
                self.write_png(stream)
        else:
            self.image.save(path)
        return Path(path)

    def write_png(self, stream: IO[bytes]) -> None:
        """Write it as PNG with its text (Description), the program (Software) and the record, a JSON document (pairloom)."""
        import pairloom

        info = PngInfo()
        info.add_itxt("Description", self.text)
        info.add_text("Software", f"pairloom {pairloom.__version__}")
        info.add_itxt(RECORD, json.dumps(self.record, ensure_ascii=False))
        self.image.save(stream, "PNG", pnginfo=info)

    def _repr_html_(self) -> str:
        return f"<figure>{html_image(self.image)}<figcaption>{html.escape(self.text)}</figcaption></figure>"


def png_record(path: Path | str) -> dict[str, Any]:
    """The record of a drawing in a PNG file. Mistake where the file has none."""
    try:
        with Image.open(path) as image:
            return dict(json.loads(image.info[RECORD]))
    except (OSError, KeyError, ValueError) as error:
        why = "It is damaged, or pairloom has not drawn it."
        raise Mistake(f"{path} has no record of a drawing.", why, "Move it away, or name another folder.") from error  # fmt: skip


def is_drawn(path: Path) -> bool:
    """Whether a picture file has the record of a drawing."""
    try:
        return bool(png_record(path))
    except Mistake:
        return False


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
