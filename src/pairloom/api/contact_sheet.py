"""Contact sheet: small pictures in rows with what was asked, the seed and the score under each of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw, ImageFont

SIDE = 160  # pixels of a picture's longer side
GAP, LINE, SIZE = 12, 15, 12  # pixels: between cells, of a line of text, of the font
MOST = 8  # columns
TEXT_LINES = 3  # most lines of a prompt
INK, PAPER = (40, 40, 40), (255, 255, 255)
Entry = tuple[Path, dict[str, Any]]


def contact_sheet(entries: Sequence[Entry], total: int, several: int = 1) -> Image.Image:
    """A sheet of (picture file, record with "text", "seed" and perhaps "score"), about as many columns as rows, mostly at most MOST. several:
    pictures of one text, which stand in one row. total: of all pictures, of which these are the first. Small pictures are
    enlarged in whole steps, pixel by pixel."""
    texts = max(1, min(MOST // several, math.ceil(math.sqrt(len(entries)) / several)))
    columns = min(len(entries), MOST if several > MOST else several * texts)
    cells, font = math.ceil(len(entries) / columns), ImageFont.load_default(SIZE)
    wide, high = SIDE + GAP, SIDE + GAP + (TEXT_LINES + 2) * LINE
    more = f"the first {len(entries)} of {total:,} pictures" if total > len(entries) else ""
    sheet = Image.new("RGB", (columns * wide + GAP, cells * high + GAP + LINE * bool(more)), PAPER)
    pen = ImageDraw.Draw(sheet)
    for number, (file, record) in enumerate(entries):
        left, top = GAP + number % columns * wide, GAP + number // columns * high
        with Image.open(file) as image:
            small = _scaled(image.convert("RGB"))
        sheet.paste(small, (left + (SIDE - small.width) // 2, top + SIDE - small.height))
        lines = [*wrapped(record["text"], font), f"seed {record['seed']}"]
        if record.get("score") is not None:
            lines.append(f"score {record['score']:.4g}")
        for at, line in enumerate(lines):
            pen.text((left, top + SIDE + 2 + at * LINE), line, fill=INK, font=font)
    if more:
        pen.text((GAP, cells * high + GAP // 2), more, fill=INK, font=font)
    return sheet


def _scaled(image: Image.Image) -> Image.Image:
    longest = max(image.size)
    if longest > SIDE:
        image.thumbnail((SIDE, SIDE), Image.Resampling.BICUBIC)
        return image
    times = SIDE // longest
    return image.resize((image.width * times, image.height * times), Image.Resampling.NEAREST)


def wrapped(text: str, font: Any, most: int = TEXT_LINES) -> list[str]:
    """The text in at most so many lines of a cell's width; what has no room is three dots."""
    lines, line = [], ""
    for word in text.split():
        longer = f"{line} {word}".strip()
        if line and font.getlength(longer) > SIDE:
            lines.append(line)
            longer = word
        line = longer
    lines.append(line)
    if len(lines) > most:
        lines = [*lines[: most - 1], f"{lines[most - 1]} ..."]
    return [_shortened(one, font) for one in lines]


def _shortened(line: str, font: Any) -> str:
    """A line that is wider than a cell, without its end."""
    if font.getlength(line) <= SIDE:
        return line
    short = line.removesuffix(" ...")
    while short and font.getlength(f"{short} ...") > SIDE:
        short = short[:-1]
    return f"{short} ..."
