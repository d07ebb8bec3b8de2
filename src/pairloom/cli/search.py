"""Search an index: by words, by a picture, by both ("sunset - people + ./beach.jpg"), or for exact words with --text."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

from typer import Argument, Option

from pairloom.cli._options import Device, Json

NOTHING = 1  # as grep ends where nothing fits


def command(
    where: Annotated[Path, Argument(metavar="DIR", help="An index that `pairloom index` made.")],
    query: Annotated[
        list[str] | None, Argument(help="Words and pictures; + and - between spaces, 2:words weigh double.")
    ] = None,
    text: Annotated[
        str, Option(help='Only pictures whose texts hold these words; "in quotes", in this order.')
    ] = "",
    top: Annotated[int, Option(help="How many answers.")] = 10,
    rerank: Annotated[int, Option(help="Let the match head order this many of the best.")] = 0,
    model: Annotated[Path | None, Option(help="Where the index's model lies now.")] = None,
    html: Annotated[Path | None, Option(help="Write a contact sheet: one .html file.")] = None,
    device: Device = "auto",
    json: Json = False,
) -> None:
    import pairloom
    from pairloom import search
    from pairloom.api.indexing import results_lines, results_table
    from pairloom.cli import _show
    from pairloom.search.sheet import write_sheet

    with search.open(where, pairloom.load(model, device) if model else None, device) as index:
        answer = index.search(" ".join(query or ()), top, text, rerank)
        if html:
            write_sheet(html, answer, index.bytes_of)
    if json:
        _show.say_json(answer.to_dict())
    else:
        columns, rows = results_table(answer)
        if rows:
            _show.table(answer.query, columns, rows)
        for line in results_lines(answer, html):
            _show.console.print(line, markup=False)
    if answer.good is False:
        sys.exit(NOTHING)
