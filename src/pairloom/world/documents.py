"""Interleaved documents of the drawn world, in the layout of OBELICS: pages with several scenes and a text about each, and
pages that define new words, which occur on no other page.

Does not know: how documents are read.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from pairloom.errors import Mistake, nearest
from pairloom.world.draw import picture
from pairloom.world.scene import Scene, Turn, turn_of
from pairloom.world.words import caption
from pairloom.world.world import World, encode

ONSETS, VOWELS, ENDS = (
    "b d f g k l m n p r s t v z".split(),
    "a e i o u".split(),
    "b d g k l m n p x z".split(),
)
LONGEST = 5  # pictures of a page


def new_words(count: int, turn: Turn) -> list[str]:
    """Distinct invented words of three letters: "dax", "wug" ..."""
    words = [onset + vowel + end for onset in ONSETS for vowel in VOWELS for end in ENDS]
    return turn.shuffle(words)[:count]


def meaning(scene: Scene) -> str:
    """The meaning of a new word: the colour of the first thing of a scene."""
    return scene.things[0].colour


def pages(world: World) -> Iterator[list[tuple[str, int | str]]]:
    """Pages as sequences of pieces: ("image", number of the scene) and ("text", words). A page has two to LONGEST scenes."""
    at = 0
    while at < world.count:
        turn = turn_of(world.seed, "page", at)
        count = min(2 + int(turn.next() * (LONGEST - 1)), world.count - at)
        pieces: list[tuple[str, int | str]] = [("text", f"{count} pictures.")]
        for index in range(at, at + count):
            pieces += [("image", index), ("text", caption(world.scene(index), "terse") + ".")]
        yield pieces
        at += count


def lessons(world: World) -> Iterator[list[tuple[str, int | str]]]:
    """Pages that define new words, as sequences of pieces: each page has its own new word for every colour on it, and LONGEST
    or more pictures, each followed by the new word of its colour."""
    for at in range(0, world.count, 2 * LONGEST):
        turn = turn_of(world.seed, "lesson", at)
        colours = sorted(
            {meaning(world.scene(index)) for index in range(at, min(at + 2 * LONGEST, world.count))}
        )
        words = dict(zip(colours, new_words(len(colours), turn)))
        pieces: list[tuple[str, int | str]] = []
        for index in range(at, min(at + 2 * LONGEST, world.count)):
            pieces += [("image", index), ("text", words[meaning(world.scene(index))])]
        yield pieces


KINDS: dict[str, Callable[[World], Iterator[Sequence[tuple[str, int | str]]]]] = {
    "pages": pages,
    "lessons": lessons,
}


def write_documents(world: World, out: Path, kind: str = "pages", quality: int = 92) -> Path:
    """Write out/000000.jpg ... and out/documents.jsonl, kind "pages" or "lessons". Mistake where `out` exists."""
    if kind not in KINDS:
        raise Mistake(f"The drawn world has no documents '{kind}'.", "", nearest(kind, KINDS))
    if out.exists():
        raise Mistake(f"{out} exists already.", "Nothing of yours is overwritten.", "Name another folder.")
    part = out.with_name(f".{out.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    for index in range(world.count):
        (part / f"{index:06d}.jpg").write_bytes(encode(picture(world.scene(index), world.size), quality))
    lines = (json.dumps(_row(number, pieces)) + "\n" for number, pieces in enumerate(KINDS[kind](world)))
    (part / "documents.jsonl").write_text("".join(lines), "utf-8")
    part.rename(out)
    return out


def _row(number: int, pieces: Sequence[tuple[str, int | str]]) -> dict[str, Any]:
    return {
        "id": f"{number:06d}",
        "texts": [value if kind == "text" else None for kind, value in pieces],
        "images": [f"{value:06d}.jpg" if kind == "image" else None for kind, value in pieces],
    }
