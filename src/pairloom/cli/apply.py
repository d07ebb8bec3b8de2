"""Write the clean set anew with the decisions that you took in the report and exported."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def command(
    cleaned: Annotated[Path, typer.Argument(help="The --out folder of `pairloom clean`.")],
    decisions: Annotated[Path, typer.Argument(help="decisions.json or .csv, as report.html exports them.")],
    out: Annotated[Path, typer.Option(help="A new folder, filled like that of `clean`.")],
    json: Annotated[bool, typer.Option("--json", help="Machine-readable output.")] = False,
) -> None:
    import pairloom
    from pairloom.cli import _show

    with _show.steps(quiet=json) as tell:
        facts = pairloom.load_result(cleaned).apply(decisions, out, tell).facts
    if json:
        _show.say_json(facts)
        return
    applied, counts = facts["applied"], facts["counts"]
    _show.out.print(
        f"{applied['decisions']:,} decisions, {applied['overruled']:,} of them against the run: now {counts['keep']:,} texts "
        f"kept, {counts['add']:,} new, {counts['drop'] + counts['replace'] - counts['textless']:,} taken out.",
        markup=False,
    )
    _show.out.print(f"  written to   {out}/pairs  {out}/pairs.parquet  {out}/report.html", markup=False)
