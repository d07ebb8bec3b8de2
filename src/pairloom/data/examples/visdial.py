"""Visual Dialog 1.0 (Das et al., 2017) as published: {"data": {"dialogs": [...], "questions": [...], "answers": [...]}}, where
rounds point into the two lists and have 100 candidates; relevance of candidates from the dense annotations beside it.

Pictures are COCO's, found by their number. The test split has no right answers.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pairloom.data.examples._notes import Album, files, first, rows, seen, word
from pairloom.data.formats._texts import decode
from pairloom.data.pair import Dialog, Round
from pairloom.errors import Mistake

CLAIM = 'VisDial 1.0: {"data": {"dialogs", "questions", "answers"}}'
Relevance = dict[tuple[Any, Any], tuple[float, ...]]


def sniff(path: Path) -> str:
    return "dialogs" if _marked(path) else ""


def _marked(path: Path) -> list[Path]:
    return [file for file in files(path) if _is_ours(file)]


def _is_ours(file: Path) -> bool:
    with open(file, "rb") as stream:  # "data" may be gigabytes: its first bytes tell
        head = stream.read(1 << 16)
    return b'"data"' in head and re.search(rb'"(dialogs|questions|answers)"\s*:\s*\[', head) is not None


def read(path: Path) -> Iterator[Dialog]:
    """Every dialog. A whole file is in memory while it is read."""
    for file in _marked(path):
        try:
            content = json.loads(decode(file.read_bytes())[0])
            data, split = content["data"], str(content.get("split", ""))
            questions, answers = ([word(text) for text in data[key]] for key in ("questions", "answers"))
            dialogs = data["dialogs"]
        except (ValueError, KeyError, TypeError) as error:
            raise Mistake(
                f"{file} is not VisDial 1.0.", f"{type(error).__name__}: {error}", "Copy the file again."
            ) from error
        album, relevance = Album(path, file), _relevance(file)
        for row in dialogs:
            yield _dialog(row, split, questions, answers, album, relevance)


def _relevance(file: Path) -> Relevance:
    """(picture, round) -> how relevant each candidate is, from a file beside that says so."""
    by_round: Relevance = {}
    for beside in files(file.parent):
        row = first(beside).get("", {}) if beside != file and "dense" in beside.name else {}
        key = next((key for key in ("gt_relevance", "relevance") if key in row), "")
        for one in rows(beside) if key else ():
            by_round[one.get("image_id"), one.get("round_id")] = tuple(map(float, one[key]))
    return by_round


def _dialog(
    row: dict[str, Any],
    split: str,
    questions: list[str],
    answers: list[str],
    album: Album,
    relevance: Relevance,
) -> Dialog:
    number, caption, problem = row.get("image_id"), word(row.get("caption")), ""
    rounds: list[Round] = []
    try:
        for at, one in enumerate(row.get("dialog", [])):
            choices = tuple(answers[index] for index in one.get("answer_options", []))
            answer = answers[one["answer"]] if "answer" in one else ""
            judged = relevance.get((number, at + 1), ())
            rounds.append(Round(questions[one["question"]], answer, choices, one.get("gt_index"), judged))
    except (IndexError, KeyError, TypeError) as error:
        problem = f"a round points nowhere: {error}"
    spoken = [part for one in rounds for part in (one.question, one.answer)]
    pictures = [album.find(_names(number, split))]
    return Dialog(
        **seen(pictures, caption, *spoken, problem=problem or ("" if rounds else "no rounds")),
        name=word(number), caption=caption, rounds=tuple(rounds),
    )  # fmt: skip


def _names(number: Any, split: str) -> list[str]:
    if not isinstance(number, int):
        return [word(number)]
    new = [f"VisualDialog_{split}2018_{number:012d}.jpg"] if split != "train" else []
    return [
        *new,
        f"COCO_train2014_{number:012d}.jpg",
        f"COCO_val2014_{number:012d}.jpg",
        f"{number:012d}.jpg",
    ]
