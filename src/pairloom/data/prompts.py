"""Prompts from a file: a text file with one a line, or the text column of a CSV, TSV, JSON lines or columnar file.

Does not know: models.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pairloom.data.formats import _columns, _rows
from pairloom.data.formats._columnar import is_columnar
from pairloom.data.formats._texts import decode
from pairloom.data.shards import ColumnNames
from pairloom.errors import Mistake

TABLES = (".csv", ".tsv", *_rows.LINES)


@dataclass(frozen=True)
class Prompt:
    """A text to draw. problem: why its row has none, "" where it has."""

    text: str
    problem: str = ""


def read_prompts(path: Path, text_column: str = "") -> list[Prompt]:
    """The prompts of a file in its order; blank lines of a text file are none. text_column: of a table, where it is not known by its
    name; of several texts in a row the first counts. Mistake where the file cannot be read or has no prompt."""
    if not path.is_file():
        raise Mistake(f"There is no file {path}.", "", "Give a text file with one prompt a line.")
    if path.suffix.lower() in TABLES or is_columnar(path):
        prompts = _of_table(path, ColumnNames(text=text_column))
    else:
        lines = (line.strip() for line in decode(path.read_bytes())[0].split("\n"))
        prompts = [Prompt(line) for line in lines if line]
    if not any(prompt.text for prompt in prompts):
        why = prompts[0].problem if prompts else "It is empty."
        raise Mistake(f"There is no prompt in {path}.", why, "Give a text file, one a line, or a table with a column of texts.")  # fmt: skip
    return prompts


def _of_table(path: Path, columns: ColumnNames) -> list[Prompt]:
    _columns.demand_columns(path, columns)
    prompts = []
    for number, row in enumerate(_rows.first(path, None), 1):
        if isinstance(row, str):
            prompts.append(Prompt("", f"row {number}: {row}"))
            continue
        words = [word.strip() for word in _columns.texts_of(row, columns)[1] if word.strip()]
        prompts.append(Prompt(words[0]) if words else Prompt("", f"row {number}: there is no text"))
    return prompts
