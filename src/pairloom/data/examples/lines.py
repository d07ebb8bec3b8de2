"""Rows of one's own, as JSON lines or a JSON array: {"image", "question", "answers"}, {"images", "statement", "label"} or
{"image", "caption", "rounds": [{"question", "answer", "choices", "right"}]}. Salesforce's own files for VQA, Visual Genome
and NLVR2 are such rows too.

Also what the drawn world writes (world/asked.py).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pairloom.data.examples._notes import Album, files, first, rows, seen, word
from pairloom.data.formats._texts import words_of
from pairloom.data.pair import Dialog, Example, Question, Round, Statement

CLAIM = 'rows {"image", "question", "answers"}, {"images", "statement", "label"} or {"image", "rounds"}'
VISUAL_GENOME = 0.2  # what its single answers weigh beside ten people's (the released code)
LABELS = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}


def sniff(path: Path) -> str:
    """By the first row."""
    return next(filter(None, map(_kind, files(path))), "")


def _kind(file: Path) -> str:
    row = first(file).get("", {})
    if "image" not in row and "images" not in row:
        return ""
    kinds = {
        "rounds": "dialogs",
        "question": "questions",
        "statement": "statements",
        "sentence": "statements",
    }
    return next((kind for key, kind in kinds.items() if key in row), "")


def read(path: Path) -> Iterator[Example]:
    """The examples of every such file."""
    kind = sniff(path)
    for file in files(path):
        if _kind(file) == kind:
            album = Album(path, file)
            for number, row in enumerate(rows(file)):
                name = word(row.get("question_id", row.get("id", row.get("name")))) or f"{file.stem}:{number}"
                yield MAKERS[kind](row, name, album)


def _pictures(row: dict[str, Any], album: Album) -> list[Any]:
    return [album.find([name]) for name in words_of(row.get("images", row.get("image")))]


def _question(row: dict[str, Any], name: str, album: Album) -> Question:
    text = word(row.get("question"))
    answers = tuple(filter(None, map(word, words_of(row.get("answers", row.get("answer"))))))
    trust = VISUAL_GENOME if row.get("dataset") == "vg" else float(row.get("trust", 1.0))
    problem = "" if text else "no question"
    return Question(
        **seen(_pictures(row, album), text, problem=problem),
        name=name,
        question=text,
        answers=answers,
        trust=trust,
    )


def _statement(row: dict[str, Any], name: str, album: Album) -> Statement:
    text = word(row.get("statement", row.get("sentence")))
    true = LABELS.get(str(row.get("label")).lower())
    problem = (
        "no statement"
        if not text
        else ""
        if true is not None or "label" not in row
        else "label is neither true nor false"
    )
    group = word(row.get("group")) or text
    return Statement(
        **seen(_pictures(row, album), text, problem=problem), name=name, text=text, true=true, group=group
    )


def _dialog(row: dict[str, Any], name: str, album: Album) -> Dialog:
    turns = row.get("rounds")
    rounds = tuple(_round(one) for one in turns if isinstance(one, dict)) if isinstance(turns, list) else ()
    caption = word(row.get("caption"))
    spoken = [part for one in rounds for part in (one.question, one.answer)]
    problem = "" if rounds and all(one.question for one in rounds) else "no rounds, or one without a question"
    return Dialog(
        **seen(_pictures(row, album), caption, *spoken, problem=problem),
        name=name,
        caption=caption,
        rounds=rounds,
    )


def _round(row: dict[str, Any]) -> Round:
    choices = tuple(map(word, words_of(row.get("choices"))))
    answer, right = word(row.get("answer")), row.get("right")
    if right is None and answer in choices:
        right = choices.index(answer)
    if not isinstance(right, int) or not 0 <= right < len(choices):
        right = None
    numbers = row.get("relevance")
    judged = tuple(map(float, numbers)) if isinstance(numbers, list) and len(numbers) == len(choices) else ()
    return Round(word(row.get("question")), answer, choices, right, judged)


MAKERS = {"questions": _question, "statements": _statement, "dialogs": _dialog}
