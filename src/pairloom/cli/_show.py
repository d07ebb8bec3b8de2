"""Output of commands: progress, tables, JSON. Without a terminal the output is plain lines."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

console = Console(stderr=True, highlight=False)
out = Console(highlight=False, soft_wrap=True)


def say_json(value: Any) -> None:
    """Print a JSON document to standard output."""
    sys.stdout.write(json.dumps(value, indent=1, ensure_ascii=False) + "\n")


def say_lines(lines: list[str]) -> None:
    """Print lines of text to standard output."""
    for line in lines:
        out.print(line, markup=False)


def result(facts: Any, lines: list[str], json_: bool) -> None:
    """Print the result of a job, as JSON or as lines of text."""
    if json_:
        say_json(facts)
    else:
        say_lines(lines)


def table(title: str, columns: list[str], rows: list[list[Any]]) -> None:
    """Print a table to standard output: formatted on a terminal, tab-separated lines in a pipe."""
    if not sys.stdout.isatty():
        sys.stdout.write("\n".join("\t".join(str(cell) for cell in row) for row in [columns, *rows]) + "\n")
        return
    shown = Table(title=title, title_justify="left", header_style="bold")
    for column in columns:
        shown.add_column(column)
    for row in rows:
        shown.add_row(*(Text(_short(str(cell))) for cell in row))
    out.print(shown)


def facts(title: str, values: dict[str, Any], json_: bool) -> None:
    """Print the result of one request, as JSON or as a table of names and values."""
    if json_:
        say_json(values)
    else:
        rows = [[name, f"{one:.5g}" if isinstance(one, float) else one] for name, one in values.items()]
        table(title, ["what", "value"], rows)


def note(texts: Any) -> None:
    """Say a note on standard error, where there is one: how many texts are longer than the model reads (a CutTexts), say."""
    if texts:
        console.print(f"{texts}.", markup=False)


def write_lines(lines: Any) -> None:
    """Run a `Lines` job with progress; its lines are printed to standard output where it has no file, and the metrics of a set
    of examples to standard error. Exit code 1 where no picture could be read."""
    where = lines.file.out
    with progress(lines.task.label, None, quiet=where is None) as bar:
        if lines.done:
            console.print(f"{lines.done} already done in {where}", markup=False)
        note(lines.task.cut)
        for line in lines:
            if where is None:
                sys.stdout.write(json.dumps(line, ensure_ascii=False) + "\n")
            bar.step(1, bad=int("problem" in line))
    if lines.task.kind:
        numbers = lines.totals().items()
        words = (f"{name} {one:.4f}" if isinstance(one, float) else f"{one} {name}" for name, one in numbers)
        console.print(", ".join(words), markup=False)
    elif not lines.answered:
        raise typer.Exit(1)


def _short(text: str, most: int = 300) -> str:
    """Shorten a cell for a terminal."""
    return text if len(text) <= most else f"{text[:most]} ..."


class _Rate(ProgressColumn):
    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text(f"{speed:.1f}/s" if speed else "", style="dim")


class Progression:
    """Progress of a job: `step(done, bad=0, note="")`. A bar on a terminal, a plain line every ten seconds elsewhere."""

    def __init__(self, label: str, total: int | None, bar: Progress | None) -> None:
        self.label, self.total, self.bar = label, total, bar
        self.done = self.bad = 0
        self.note = ""
        self.began = self.spoke = time.monotonic()
        self.task = bar.add_task(label, total=total, bad="") if bar else None

    def step(self, done: int = 1, bad: int = 0, note: str = "") -> None:
        self.done += done
        self.bad += bad
        self.note = note or self.note
        tail = " ".join(part for part in (f"{self.bad} bad" if self.bad else "", self.note) if part)
        if self.bar is not None and self.task is not None:
            self.bar.update(self.task, advance=done, bad=tail)
        elif time.monotonic() - self.spoke > 10:
            self.spoke = time.monotonic()
            rate = self.done / max(1e-9, self.spoke - self.began)
            of = f"/{self.total}" if self.total else ""
            left = f", {(self.total - self.done) / rate:.0f} s left" if self.total and rate else ""
            console.print(f"{self.label}: {self.done}{of} ({rate:.1f}/s{left}) {tail}".rstrip(), markup=False)


@contextmanager
def progress(label: str, total: int | None = None, quiet: bool = False) -> Iterator[Progression]:
    """Context with a progress bar that has the rate, the remaining time and the count of bad samples."""
    if quiet or not console.is_terminal:
        shown = Progression(label, total, None)
        if quiet:
            shown.spoke = float("inf")
        yield shown
        return
    parts = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        _Rate(),
        TimeRemainingColumn(),
    )
    with Progress(*parts, TextColumn("{task.fields[bad]}"), console=console) as bar:
        yield Progression(label, total, bar)


@contextmanager
def steps(quiet: bool = False) -> Iterator[Any]:
    """Context with a function tell(step, done, total, bad=0, note="") that has a bar for each step of a long job; a call with
    done = 0 begins a step."""
    with ExitStack() as stack:
        held: dict[str, Progression] = {}

        def tell(step: str, done: int, total: int | None, bad: int = 0, note: str = "") -> None:
            if step not in held:
                if not (quiet or console.is_terminal):
                    console.print(f"{step}: {note}" if note else f"{step} ...", markup=False)
                stack.close()
                held.clear()
                held[step] = stack.enter_context(progress(step, total, quiet))
            held[step].step(done, bad, note)

        yield tell
