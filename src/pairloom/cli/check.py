"""Find what is wrong with a set without any model: broken pictures, duplicates, spam, file names, leaks. Read-only."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pairloom.cli._options import Format, ImageColumn, Json, Pairs, TextColumn, Workers


def command(
    pairs: Pairs,
    against: Annotated[
        Path | None,
        typer.Option(help="Another set (a test set, say) whose pictures must not be in this one."),
    ] = None,
    tolerate: Annotated[
        float, typer.Option(help="Exit code 1 where more than this share of the texts is bad.")
    ] = 0.0,
    examples: Annotated[int, typer.Option(help="Examples shown of each finding.")] = 2,
    format: Format = None,
    text_column: TextColumn = "",
    image_column: ImageColumn = "",
    workers: Workers = 0,
    json: Json = False,
) -> None:
    import pairloom
    from pairloom.cli import _show

    pair_set = pairloom.open(pairs, format, text_column=text_column, image_column=image_column)
    with _show.progress("checking", None, quiet=json) as bar:
        findings = pair_set.check(against, workers=workers, tell=bar.step)
    if json:
        whole = {"path": str(pairs), "format": pair_set.format, "notes": pair_set.notes, **findings.counts()}
        _show.say_json({
            "set": whole, "audit": findings.audit(), "bad": findings.bad(), "bad_share": findings.bad_share
        })  # fmt: skip
    else:
        counts = findings.counts()
        _show.say_lines([
            f"{counts['pairs']:,} pairs, {counts['texts']:,} texts, {counts['images']:,} distinct pictures ({pair_set.format})"
        ])  # fmt: skip
        if rows := findings.rows():
            _show.table("Findings", ["finding", "severity", "count", "what it means"], rows)
        _show.say_lines(findings.remarks(examples))
    raise typer.Exit(1 if findings.bad_share > tolerate else 0)
