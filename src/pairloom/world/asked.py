"""Example sets of the drawn world: questions, statements about two pictures and dialogs, written as JSON lines with pictures
(the layout of data/examples/lines.py). Every answer follows from the scene.

Does not know: how the rows are read.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from pairloom.errors import Mistake, nearest
from pairloom.world.ask import dialog, questions
from pairloom.world.draw import picture
from pairloom.world.statements import statements
from pairloom.world.world import World, encode

Ask = Callable[[World], Iterator[dict[str, Any]]]


def write_examples(world: World, out: Path, kind: str, quality: int = 92) -> Path:
    """Write out/000000.jpg ... and out/KIND.jsonl, kind "questions", "statements" or "dialogs". Mistake where `out`
    exists."""
    if kind not in KINDS:
        raise Mistake(f"The drawn world cannot be asked for {kind}.", "", nearest(kind, KINDS))
    if out.exists():
        raise Mistake(f"{out} exists already.", "Nothing of yours is overwritten.", "Name another folder.")
    part = out.with_name(f".{out.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    for index in range(world.count):
        (part / _name(index)).write_bytes(encode(picture(world.scene(index), world.size), quality))
    lines = (json.dumps(row, ensure_ascii=False) + "\n" for row in KINDS[kind](world))
    (part / f"{kind}.jsonl").write_text("".join(lines), "utf-8")
    part.rename(out)
    return out


def _name(index: int) -> str:
    return f"{index:06d}.jpg"


def _questions(world: World) -> Iterator[dict[str, Any]]:
    for index in range(world.count):
        for number, one in enumerate(questions(world.scene(index))):
            yield {
                "id": f"{index}-{number}", "image": _name(index), "question": one.question, "answers": [one.answer],
                "sort": one.sort, "choices": one.choices,
            }  # fmt: skip


def _statements(world: World) -> Iterator[dict[str, Any]]:
    for index in range(0, world.count - 1, 2):
        for number, one in enumerate(statements(world.scene(index), world.scene(index + 1))):
            yield {
                "id": f"{index}-{number}", "images": [_name(index), _name(index + 1)], "statement": one.text,
                "label": one.true, "sort": one.sort,
            }  # fmt: skip


def _dialogs(world: World) -> Iterator[dict[str, Any]]:
    for index in range(world.count):
        talk = dialog(world.scene(index))
        rounds = [
            {"question": one.question, "answer": one.answer, "choices": one.choices} for one in talk.rounds
        ]
        yield {"id": str(index), "image": _name(index), "caption": talk.caption, "rounds": rounds}


KINDS: dict[str, Ask] = {"questions": _questions, "statements": _statements, "dialogs": _dialogs}
