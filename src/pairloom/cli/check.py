"""Find what is wrong with a set without any model: broken pictures, copies, spam, file names, leaks. Read-only."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from typer import Option

from pairloom.cli._options import Format, ImageColumn, Json, Restart, Sets, TextColumn, Workers


def command(
    pairs: Sets,
    out: Annotated[
        Path | None, Option(help="A new folder: every finding and every pair as tables, and a page.")
    ] = None,
    against: Annotated[
        Path | None, Option(help="Another set (a test set, say) whose pictures must not be in this one.")
    ] = None,
    tolerate: Annotated[float, Option(help="Exit code 1 where a larger share of the texts is bad.")] = 0.0,
    examples: Annotated[int, Option(help="Examples shown of each finding.")] = 2,
    format: Format = None,
    text_column: TextColumn = "",
    image_column: ImageColumn = "",
    workers: Workers = 0,
    restart: Restart = False,
    json: Json = False,
) -> None:
    import pairloom
    from pairloom.cli import _show

    pair_set = pairloom.open(pairs, format, text_column=text_column, image_column=image_column)
    with _show.progress("checking", None, quiet=json) as bar:
        result = pair_set.check(against, out, workers=workers, restart=restart, tell=bar.step)
    if json:
        _show.say_json(result.to_json(" ".join(map(str, pairs))))
    else:
        _show.say_lines([result.headline()])
        if rows := result.rows():
            _show.table("Findings", ["finding", "severity", "count", "what it means"], rows)
        _show.say_lines(result.remarks(examples))
    raise typer.Exit(1 if result.bad_share > tolerate else 0)
