"""Query language: words and pictures, added and subtracted: `2:sunset over the sea - people + ./beach.jpg`.

A sign stands between spaces. Inside double quotes signs, paths and weights are words.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from pairloom.errors import Mistake

PICTURES = (".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff")
WEIGHT = re.compile(r"(\d+\.?\d*|\.\d+):(?=[^\s\d])")  # 12:30 and 16:9 are words
PIECE = re.compile(r'(?:(?:\d+\.?\d*|\.\d+):)?"[^"]*"|\S+')


@dataclass(frozen=True)
class Term:
    """A term of a query: words, or a picture's path. weight: below zero where the term is subtracted."""

    weight: float
    words: str = ""
    picture: Path | None = None


def parse(query: str) -> tuple[Term, ...]:
    """Parse a query into its terms, in order. Mistake for an empty query, a sign without a term, an open quotation, and a path
    that does not exist."""
    if query.count('"') % 2:
        raise Mistake(f"A quotation does not end in: {query}", "", 'Write "..." around it.')
    groups: list[tuple[int, list[str]]] = [(1, [])]
    for piece in PIECE.findall(query):
        if piece in ("+", "-"):
            groups.append((1 if piece == "+" else -1, []))
        else:
            groups[-1][1].append(piece)
    if len(groups) > 1 and not groups[0][1]:
        groups.pop(0)  # the query begins with a sign
    if not all(pieces for _, pieces in groups):
        raise Mistake(
            "There is nothing to search for." if not query.strip() else f"A term is missing in: {query}",
            "A sign between spaces joins two terms.",
            'Try: "sunset - people + ./beach.jpg"',
        )
    return tuple(_term(sign, pieces) for sign, pieces in groups)


def _term(sign: int, pieces: list[str]) -> Term:
    text = " ".join(pieces)
    weight = float(sign)
    if weighted := WEIGHT.match(text):
        weight *= float(weighted[1])
        text = text[weighted.end() :]
    if not weight:
        raise Mistake(
            f"The weight of '{' '.join(pieces)}' is 0.", "", "Leave the term out, or give it another weight."
        )
    if '"' not in text and _is_path(text):
        picture = Path(text).expanduser()
        if not picture.is_file():
            raise Mistake(
                f"There is no picture at {text}.",
                "",
                f'Check the path, or write "{text}" in quotes for words.',
            )
        return Term(weight, picture=picture)
    words = " ".join(text.replace('"', " ").split())
    if not words:
        raise Mistake("There are no words in the quotation.", "", 'Try: "sunset - people + ./beach.jpg"')
    return Term(weight, words)


def _is_path(text: str) -> bool:
    return text.startswith(("./", "../", "/", "~/")) or text.lower().endswith(PICTURES)
