"""Look at a few texts of a finished run, drawn at random, and say which describe their picture: by these answers `clean` decides
again. They are kept in a file at once; the same command goes on, and ends with the command that applies them."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer
from typer import Argument, Option

from pairloom.cli._options import Json


def command(
    out: Annotated[Path, Argument(help="The --out folder of `pairloom clean`.")],
    count: Annotated[int, Option(help="Texts to be asked about.", min=1)] = 50,
    labels: Annotated[Path | None, Option(help="The label file; OUT/labels.jsonl without it.")] = None,
    json: Json = False,
) -> None:
    import pairloom
    from pairloom.cli import _show

    def say(line: str) -> None:
        _show.console.print(line, markup=False, soft_wrap=True)

    facts = pairloom.load_result(out).label(labels, count, read=_read, say=say)
    apply = [f"  to apply it  {facts['command']}"] if "command" in facts else []
    _show.result(facts, [facts["says"], *apply], json)


def _read(prompt: str) -> str | None:
    """The next key of a terminal, or line of a file; None at the end."""
    if not sys.stdin.isatty():
        return sys.stdin.readline() or None
    typer.echo(prompt, nl=False, err=True)
    try:
        key = typer.getchar()
    except EOFError:
        return None
    typer.echo(key, err=True)
    return key
