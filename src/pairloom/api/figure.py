"""A figure of an explanation: one panel a word, its map laid over the picture, as Xu et al. (2015, figure 5) draw it.

Takes a picture and numbers; knows no tensors and no models.
"""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont

SIDE = 224  # pixels of a panel
BLUR = 20 / 224  # of a side: the spread of the paper's smoothing
DIM, LIGHT = (
    0.3,
    0.45,
)  # how much of the picture stays where nothing was looked at; how white the most looked at becomes
COLUMNS = 5
EDGES = ("#c8102e", "#b35900", "#6b5b00", "#00598a", "#555555")  # of boxes, the most important first
LABEL = 26  # pixels of a line of text
STYLE = (
    ":root{color-scheme:light dark}body{font:16px system-ui,sans-serif;margin:1.5em;max-width:75em}"
    "h1{font-size:1.5em;overflow-wrap:anywhere}figcaption{text-align:center}"
    "figure{display:inline-block;margin:0 .6em .8em 0}img{display:block;width:min(224px,40vw);height:auto}"
    "div{overflow-x:auto}table{border-collapse:collapse}"
    "td,th{padding:.2em .6em;text-align:right;border-bottom:1px solid #8886}"
)
Panel = tuple[str, Image.Image]


def panels(view: np.ndarray, words: Sequence[str], maps: np.ndarray, whole: np.ndarray) -> list[Panel]:
    """The picture [H H 3] as the model saw it, then one panel a word (maps [W U V]), then the text in all (whole [U V])."""
    plain = Image.fromarray(view).resize((SIDE, SIDE), Image.Resampling.LANCZOS)
    named = [*zip(words, maps), ("(all of it)", whole)]
    return [("", plain), *((word, _lit(plain, shares)) for word, shares in named)]


def boxed(view: Image.Image, boxes: Sequence[tuple[Sequence[float], str]]) -> Image.Image:
    """The picture with boxes drawn on it, the first the thickest. boxes: left, top, right, bottom as shares of its sides, and a note."""
    image = view.convert("RGB").resize((SIDE, SIDE), Image.Resampling.LANCZOS)
    pen, font = ImageDraw.Draw(image), ImageFont.load_default(12)
    for at, (box, note) in reversed([*enumerate(boxes)]):
        left, top, right, low = (round(side * (SIDE - 1)) for side in box)
        pen.rectangle((left, top, right, low), outline=EDGES[at % len(EDGES)], width=max(1, 4 - at))
        where = pen.textbbox((left + 3, top + 2), note, font)
        pen.rectangle((where[0] - 2, where[1] - 1, where[2] + 2, where[3] + 1), fill="white")
        pen.text((left + 3, top + 2), note, EDGES[at % len(EDGES)], font)
    return image


def _lit(plain: Image.Image, shares: np.ndarray) -> Image.Image:
    """The picture dimmed where the map is low and whitened where it is high; scaled to the map's own largest value."""
    top = float(shares.max())
    grey = np.uint8(np.round(255 * shares / top)) if top > 0 else np.zeros(shares.shape, np.uint8)
    smooth = Image.fromarray(grey).resize((SIDE, SIDE), Image.Resampling.BILINEAR)
    smooth = smooth.filter(ImageFilter.GaussianBlur(BLUR * SIDE))
    lit = np.asarray(smooth, np.float32)[..., None]
    lit = lit / max(1.0, float(lit.max()))
    seen = np.asarray(plain, np.float32) * (DIM + (1 - DIM) * lit)
    return Image.fromarray(np.uint8(seen + (255 - seen) * LIGHT * lit))


def sheet(drawn: Sequence[Panel], title: str) -> Image.Image:
    """All panels on one picture, five in a row, each under its word."""
    font, columns = ImageFont.load_default(16), min(COLUMNS, len(drawn))
    rows = -(-len(drawn) // columns)
    gap = 8
    image = Image.new(
        "RGB", (columns * (SIDE + gap) + gap, LABEL + rows * (SIDE + LABEL + gap) + gap), "white"
    )
    pen = ImageDraw.Draw(image)
    pen.text((gap, 5), _fitted(title, font, image.width - 2 * gap), "black", font)
    for at, (word, panel) in enumerate(drawn):
        left, top = gap + at % columns * (SIDE + gap), LABEL + at // columns * (SIDE + LABEL + gap)
        pen.text((left, top + 4), _fitted(word, font, SIDE), "black", font)
        image.paste(panel, (left, top + LABEL))
    return image


def _fitted(text: str, font: Any, width: int) -> str:
    """As much of a text as a line holds."""
    text = " ".join(text.split())
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(text + "...") > width:
        text = text[:-1]
    return text + "..."


def page(drawn: Sequence[Panel], title: str, note: str, columns: Sequence[str], rows: Sequence[Any]) -> str:
    """The same as one HTML file that needs no other, with a table under it."""
    figures = "\n".join(
        f'<figure><img width={SIDE} height={SIDE} alt="{html.escape(word, True)}" src="{_inline(panel)}">'
        f"<figcaption>{html.escape(word) or '&nbsp;'}</figcaption></figure>"
        for word, panel in drawn
    )
    head = "".join(f"<th>{html.escape(name)}" for name in columns)
    body = "".join("<tr>" + "".join(f"<td>{html.escape(str(cell))}" for cell in row) for row in rows)
    table = f"<div><table><tr>{head}{body}</table></div>" if rows else ""
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8">'
        f'<meta name="viewport" content="width=device-width"><title>{html.escape(title)}</title>'
        f"<style>{STYLE}</style><h1>{html.escape(title)}</h1><p>{html.escape(note)}</p>\n{figures}\n{table}</html>\n"
    )


def _inline(panel: Image.Image) -> str:
    return "data:image/png;base64," + base64.b64encode(png(panel)).decode()


def png(image: Image.Image) -> bytes:
    """Encoded."""
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()
