"""Write the clean set anew with the decisions that you took in the report and exported."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from typer import Argument, Option

from pairloom.cli._options import Json


def command(
    cleaned: Annotated[Path, Argument(help="The --out folder of `pairloom clean`.")],
    decisions: Annotated[Path, Argument(help="decisions.json or .csv, as report.html exports them.")],
    out: Annotated[Path, Option(help="A new folder, filled like that of `clean`.")],
    json: Json = False,
) -> None:
    import pairloom
    from pairloom.cli import _show

    with _show.steps(quiet=json) as tell:
        applied = pairloom.load_result(cleaned).apply(decisions, out, tell)
    _show.result(applied.facts, applied.applied_summary(), json)
