"""Cases of benchmarks: a few pictures, a few texts, and which of them belong together; and the helpers that read them.

A reader goes through the released rows and adds cases; a row whose picture is missing is counted under that picture, so that
no row is dropped silently. Does not know: benchmarks, scores.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import UnionType
from typing import Any

from PIL import Image

from pairloom.bench._table import picture_in
from pairloom.data.pair import Blob
from pairloom.data.pixels import open_image
from pairloom.errors import Mistake

Box = tuple[int, int, int, int]  # left, top, right, bottom in pixels, as PIL crops


@dataclass(frozen=True)
class Picture:
    """A picture file, or a box of it. cell: (column, row), where the file is a table."""

    path: Path
    box: Box | None = None
    cell: tuple[str, int] | None = None

    def open(self) -> Image.Image:
        """Open as RGB. OSError or Unreadable where that fails."""
        image = open_image(picture_in(self.path, *self.cell) if self.cell else Blob(self.path).read())
        return image.crop(self.box) if self.box else image

    def name(self, root: Path) -> str:
        """Name for people: the file, relative to the root, and the cell in it."""
        return os.path.relpath(self.path, root) + (
            f" {self.cell[0]} of row {self.cell[1]}" if self.cell else ""
        )

    def shown(self) -> Image.Image | Path:
        """The scorer's input: the path where the whole file is the picture, so that scorers can cache by path, else pixels."""
        return self.open() if self.box or self.cell else self.path


@dataclass(frozen=True)
class Words:
    """A text in the place of a picture, for benchmarks that compare texts with texts."""

    text: str

    def name(self, root: Path) -> str:
        return self.text

    def shown(self) -> str:
        return self.text


@dataclass(frozen=True)
class Case:
    """A case of a benchmark. key: its name in the released files. right: pairs (picture, text) that belong together; empty
    where none does.

    tag: its class (relation, subtask, group of people). group: cases with an equal group (of one picture) are resampled
    together. part: "published" or "sound" for a case of one protocol alone.
    """

    key: str
    pictures: tuple[Picture | Words, ...]
    texts: tuple[str, ...]
    right: tuple[tuple[int, int], ...] = ()
    tag: str = ""
    group: str = ""
    part: str = ""


@dataclass(frozen=True)
class Problem:
    """A file that cannot be used, the reason, and the number of cases that need it."""

    file: str
    why: str
    cases: int


@dataclass(frozen=True)
class Cases:
    """Cases of a benchmark, the number of rows of its files, the unusable files, and notes for people."""

    cases: tuple[Case, ...]
    rows: int
    problems: tuple[Problem, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass
class CaseReader:
    """Collector of the cases of one root, while its files are read."""

    root: Path
    cases: list[Case] = field(default_factory=list)
    rows: int = 0
    notes: list[str] = field(default_factory=list)
    _known: dict[Path, str] = field(default_factory=dict)
    _lost: dict[Path, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.root = Path(os.path.abspath(self.root))

    def picture(self, *names: str, box: Box | None = None) -> Picture:
        """The picture under the first of these names (relative to the root) that exists; else under the first name, which then
        counts as missing."""
        paths = [Path(os.path.normpath(self.root / name)) for name in names]
        return Picture(next((path for path in paths if not self._problem(path)), paths[0]), box)

    def add(self, case: Case) -> None:
        """Add a case, or count it under every picture that it lacks."""
        self.rows += 1
        missing = {one.path for one in case.pictures if isinstance(one, Picture) and self._problem(one.path)}
        for path in missing:
            self._lost[path] = self._lost.get(path, 0) + 1
        if not missing:
            self.cases.append(case)

    def lost(self, file: str, why: str, cases: int = 1) -> None:
        """Count rows that cannot become a case, under the file that is the reason."""
        path = self.root / file
        self.rows += cases
        self._known[path] = why
        self._lost[path] = self._lost.get(path, 0) + cases

    def finish(self) -> Cases:
        """All cases. Mistake where there is none, or a case has the name of another."""
        problems = tuple(
            Problem(os.path.relpath(path, self.root), self._known[path], count)
            for path, count in sorted(self._lost.items())
        )
        if not self.cases:
            first = f" {problems[0].file}: {problems[0].why}." if problems else ""
            raise Mistake(
                f"{self.root} has no case that can be judged.",
                f"{self.rows:,} rows were read, {len(problems):,} pictures are missing or broken.{first}",
                "Put the pictures where the release has them; docs/bench.md shows every layout.",
            )
        twice = [key for key, count in Counter(case.key for case in self.cases).items() if count > 1]
        if twice:
            raise Mistake(
                f"{self.root} names a case twice.",
                f"{twice[0]}.",
                "Check whether two downloads are in one folder or file.",
            )
        return Cases(tuple(self.cases), self.rows, problems, tuple(self.notes))

    def _problem(self, path: Path) -> str:
        """The reason why a picture file cannot be used; "" where it can."""
        if path not in self._known:
            if not path.is_relative_to(self.root):
                self._known[path] = "lies outside of the benchmark's folder"
            elif not path.is_file():
                self._known[path] = "is missing"
            else:
                self._known[path] = "" if path.stat().st_size else "has 0 bytes"
        return self._known[path]


def released(root: Path, *names: str) -> Path:
    """The first of these files that exists under the root. Mistake where there is none."""
    if not root.is_dir():
        raise Mistake(
            f"There is no folder {root}.", "", "Give the folder that holds the benchmark's released files."
        )
    for name in names:
        if (root / name).is_file():
            return root / name
    seen = sorted(entry.name for entry in root.iterdir() if not entry.name.startswith("."))
    raise Mistake(
        f"{root} does not hold this benchmark.",
        f"{' or '.join(names)} is not there; it has {', '.join(seen[:5]) or 'nothing'}{' ...' * (len(seen) > 5)}.",
        "docs/bench.md shows every layout.",
    )


def read_json(file: Path, kind: type | UnionType) -> Any:
    """Read the JSON of a released file, a list or a dict (`kind`). Mistake where it is cut short or of another kind."""
    try:
        document = json.loads(file.read_text("utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise Mistake(
            f"{file} cannot be read.", f"{error}", "It may be half downloaded: get it again."
        ) from error
    if not isinstance(document, kind):
        raise Mistake(
            f"{file} is not laid out as released.",
            f"It holds a {type(document).__name__}, no {getattr(kind, '__name__', kind)}.",
        )
    return document


def read_lines(file: Path) -> list[Any]:
    """Read the JSON values of a .jsonl file. Mistake for a line that is no JSON."""
    rows = []
    try:
        lines = file.read_text("utf-8").split("\n")  # splitlines would also split inside of texts (at U+2028)
    except (OSError, UnicodeDecodeError) as error:
        raise Mistake(f"{file} cannot be read.", str(error)) from error
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        with as_released(file, f"line {number}"):
            rows.append(json.loads(line))
    return rows


@contextmanager
def as_released(file: Path, row: str) -> Iterator[None]:
    """Context that turns the errors of one row into a Mistake with file and row."""
    try:
        yield
    except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
        raise Mistake(
            f"{file} is not laid out as released.",
            f"{row}: {type(error).__name__}: {error}",
            "It may be half downloaded, or of another benchmark; docs/bench.md shows every layout.",
        ) from error


def text_of(value: object) -> str:
    """Check that a value of a row is a text. TypeError where it is not."""
    if not isinstance(value, str) or not value.strip():
        raise TypeError(f"{value!r} is not a text")
    return value


def several(value: object, count: int | None = None) -> list[Any]:
    """Check that a value of a row is a list, of `count` entries. TypeError where it is not."""
    if not isinstance(value, list) or not value or (count is not None and len(value) != count):
        raise TypeError(f"a list of {count or 'some'} entries is needed, not {str(value)[:60]}")
    return value


def choose(cases: Sequence[Case], limit: int) -> tuple[Case, ...]:
    """Subsample: at most `limit` cases, evenly spaced over the files; 0: all."""
    if not 0 < limit < len(cases):
        return tuple(cases)
    return tuple(cases[at * len(cases) // limit] for at in range(limit))
