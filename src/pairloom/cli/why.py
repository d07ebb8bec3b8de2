"""Explain one pair of a finished run: every text, its score, what was decided and why."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from typer import Argument

from pairloom.cli._options import Json


def command(
    out: Annotated[Path, Argument(help="The --out folder of `pairloom clean`, or its pairs.parquet.")],
    key: Annotated[str, Argument(help="A pair's key (its first digits are enough) or its name in the set.")],
    json: Json = False,
) -> None:
    from pairloom.clean import ledger
    from pairloom.cli import _show

    rows = ledger.find(out, key)
    _show.result(rows, ledger.row_lines(rows), json)
