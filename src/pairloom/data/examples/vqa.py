"""VQA v2 (Goyal et al., 2017; v1: Antol et al., 2015) as published: {"questions": [{"question_id", "image_id", "question"}]},
and beside it {"annotations": [{"question_id", "answers": [{"answer"}]}]}, ten answers each.

Pictures are COCO's, found by their number. Does not know: confidences ("maybe"), answer types beyond carrying them.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pairloom.data.examples._notes import Album, files, first, rows, seen, word
from pairloom.data.pair import Question

CLAIM = 'VQA v2: {"questions": [...]} and {"annotations": [{"question_id", "answers"}]}'
CARRIED = ("question_type", "answer_type", "multiple_choice_answer")


def sniff(path: Path) -> str:
    return "questions" if _questions(path) else ""


def _questions(path: Path) -> list[Path]:
    return [file for file in files(path) if "question_id" in first(file).get("questions", {})]


def read(path: Path) -> Iterator[Question]:
    """Every question of every file; those of a file without annotations beside it have no answers."""
    for file in _questions(path):
        answers = _answers(file)
        album = Album(path, file)
        years = re.findall(r"(?:train|val|test)(?:-dev)?20\d\d", file.name)
        for row in rows(file, "questions"):
            text, annotation = word(row.get("question")), answers.get(row.get("question_id"), ((), {}))
            pictures = [album.find(_names(row.get("image_id"), years))]
            yield Question(
                **seen(pictures, text, problem="" if text else "no question"),
                name=word(row.get("question_id")), question=text, answers=annotation[0], meta=annotation[1],
            )  # fmt: skip


def _names(number: Any, years: list[str]) -> list[str]:
    """How a picture may be called, the likeliest first."""
    if not isinstance(number, int):
        return [word(number)]
    years = [year.replace("-dev", "") for year in years] or ["train2014", "val2014", "test2015"]
    published = [f"COCO_{year}_{number:012d}.jpg" for year in years]
    return [*published, f"{number:012d}.jpg", *(f"abstract_v002_{year}_{number:012d}.png" for year in years)]


def _answers(file: Path) -> dict[Any, tuple[tuple[str, ...], dict[str, str]]]:
    """The answers by question, from the annotation files in the same folder whose names fit."""
    own = _split(file.name)
    by_question: dict[Any, tuple[tuple[str, ...], dict[str, str]]] = {}
    for beside in sorted(file.parent.glob("*.json")):
        if beside == file or (own and _split(beside.name) not in (own, "")):
            continue
        if "question_id" not in first(beside).get("annotations", {}):
            continue
        for row in rows(beside, "annotations"):
            listed = row.get("answers")
            entries = [one for one in listed if isinstance(one, dict)] if isinstance(listed, list) else []
            answers = tuple(sys.intern(word(one.get("answer"))) for one in entries)
            carried = {key: sys.intern(word(row[key])) for key in CARRIED if key in row}
            by_question[row.get("question_id")] = (tuple(filter(None, answers)), carried)
    return by_question


def _split(name: str) -> str:
    split = re.search(r"train|val|test", name)
    return split[0] if split else ""
