"""Label file: a person's answers about a random sample of a set's texts, as JSON lines that can be edited by hand.

The first line says of which scores the sample is: {"pairloom": version, "labels": 1, "set": path, "scores": content hash, "below":
limit, "seed": seed}. Each further line is one text: {"number": place in the sample, from 1, "name", "shard", "key", "text_id",
"image_key": content hash of the picture, "text", "answer": "good", "bad" or "skipped"}.
Does not know: whether they are a sample of a run.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import pairloom
from pairloom.data.disk import atomic_write
from pairloom.errors import Mistake, nearest

GOOD, BAD, SKIPPED = "good", "bad", "skipped"
FINDINGS = {GOOD: "labelled_good", BAD: "labelled_bad"}  # in the ledger, see `faults`
ANSWERS = (GOOD, BAD, SKIPPED)
VERSION = 1
AGAIN = "Label again: pairloom label OUT, or the report's own page."


@dataclass(frozen=True)
class SampleOrigin:
    """What a sample of texts was drawn from. set: its path, for people; scores: content hash of all scores (`KeptScores`); below:
    the texts have lower scores; seed: of the random order."""

    set: str
    scores: str
    below: float
    seed: int = 0


@dataclass(frozen=True)
class SampledText:
    """A text of a sample, and its place there, from 1. image_key: content hash of its picture."""

    number: int
    name: str
    shard: str
    key: str
    text_id: int
    image_key: str
    text: str


@dataclass(frozen=True)
class LabelFile:
    """Content of a label file: the origin of the sample, and the answer to each text that was answered."""

    origin: SampleOrigin
    answers: dict[SampledText, str]

    def counts(self) -> dict[str, int]:
        """How many texts have each answer."""
        return {answer: list(self.answers.values()).count(answer) for answer in ANSWERS}

    def save(self, file: Path, replace: bool = False) -> None:
        """Write the file whole, in the order of the sample. Mistake where another file exists, unless `replace`."""
        head = {"pairloom": pairloom.__version__, "labels": VERSION, **asdict(self.origin)}
        answers = sorted(self.answers.items(), key=lambda entry: entry[0].number)
        lines = [head, *({**asdict(text), "answer": answer} for text, answer in answers)]
        with atomic_write(file, replace) as out:
            out.write(
                "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines).encode(
                    "utf-8", "backslashreplace"
                )
            )

    @classmethod
    def load(cls, file: Path) -> LabelFile:
        """Read a label file. Mistake, with the line, where it is none."""
        lines = list(_objects(file))
        if not lines:
            raise Mistake(f"{file} is empty.", "Its first line says which sample is labelled.", AGAIN)
        (number, head), *rest = lines
        names = [field.name for field in fields(SampleOrigin)]
        _demand_names(file, number, head, ["pairloom", "labels", *names])
        if head["labels"] != VERSION:
            what = f"{file} has version {head['labels']!r} of label files; this pairloom reads version {VERSION}."
            raise Mistake(what, f"It was written by pairloom {head['pairloom']}.", AGAIN)
        origin = SampleOrigin(**{name: head[name] for name in names})
        _demand_types(file, number, {"set": str, "scores": str, "below": float, "seed": int}, head)
        answers: dict[SampledText, str] = {}
        places: dict[int, str] = {}
        for number, line in rest:
            text, answer = _answer(file, number, line)
            if places.setdefault(text.number, answer) != answer:
                what = f"{file}, line {number}: text {text.number} is {answer} here and {places[text.number]} before."
                raise Mistake(what, "A text has one answer.", "Remove one of the two lines.")
            answers[text] = answer
        return cls(origin, answers)


def _objects(file: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """The JSON objects of a file's lines, with their numbers; blank lines are skipped."""
    try:
        lines = file.read_text("utf-8-sig").split("\n")
    except FileNotFoundError as error:
        raise Mistake(f"There is no file {file}.", "", AGAIN) from error
    except (OSError, UnicodeDecodeError) as error:
        raise Mistake(f"{file} cannot be read.", str(error), AGAIN) from error
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            value = json.loads(line)
        except ValueError as error:
            raise Mistake(f"{file}, line {number} is not JSON.", str(error), AGAIN) from error
        if not isinstance(value, dict):
            raise Mistake(f"{file}, line {number} is no JSON object.", "", AGAIN)
        yield number, value


def _answer(file: Path, number: int, line: dict[str, Any]) -> tuple[SampledText, str]:
    types: dict[str, type] = {field.name: str for field in fields(SampledText)}
    types |= {"number": int, "text_id": int, "answer": str}
    _demand_names(file, number, line, list(types))
    _demand_types(file, number, types, line)
    if line["answer"] not in ANSWERS:
        why = f"An answer is one of: {', '.join(ANSWERS)}."
        raise Mistake(f"{file}, line {number} has the answer {line['answer']!r}.", why, "Correct that line.")
    if line["number"] < 1:
        raise Mistake(
            f"{file}, line {number} has the number {line['number']}.", "The first text is 1.", AGAIN
        )
    return SampledText(**{name: value for name, value in line.items() if name != "answer"}), line["answer"]


def _demand_names(file: Path, number: int, line: Mapping[str, Any], names: list[str]) -> None:
    for name in line:
        if name not in names:
            raise Mistake(f"{file}, line {number} has the unknown key '{name}'.", "", nearest(name, names))
    missing = [name for name in names if name not in line]
    if missing:
        what = f"{file}, line {number} lacks {', '.join(missing)}."
        raise Mistake(what, f"It needs {', '.join(names)}.", AGAIN)


def _demand_types(file: Path, number: int, types: Mapping[str, type], line: Mapping[str, Any]) -> None:
    for name, kind in types.items():
        value = line[name]
        fits = isinstance(value, (int, float) if kind is float else kind) and not isinstance(value, bool)
        if not fits or (kind is float and not math.isfinite(value)):
            why = f"It is {'a number' if kind in (int, float) else 'a text'}."
            raise Mistake(f"{file}, line {number}: {name} is {value!r}.", why, "Correct that line.")
