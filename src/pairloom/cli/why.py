"""Explain one pair of a finished run: every text, its score, what was decided and why."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def command(
    out: Annotated[Path, typer.Argument(help="The --out folder of `pairloom clean`, or its pairs.parquet.")],
    key: Annotated[
        str, typer.Argument(help="A pair's key (its first digits are enough) or its name in the set.")
    ],
    json: Annotated[bool, typer.Option("--json", help="Machine-readable output.")] = False,
) -> None:
    from pairloom.clean import ledger
    from pairloom.clean.faults import FAULTS
    from pairloom.cli import _show

    rows = ledger.find(out, key)
    if json:
        _show.say_json(rows)
        return
    shown = ""
    for row in rows:
        if row["key"] != shown:
            shown = row["key"]
            _show.out.print(f"{row['name']}  key {row['key']}  shard {row['shard']}", markup=False)
        sure = "" if row["p_match"] is None else f"  P(match) {row['p_match']:.2f}  score {row['score']:.3f}"
        _show.out.print(f"  {row['decision']:<8} {row['text']!r} ({row['source']}){sure}", markup=False)
        _show.out.print(f"           {row['reason']}", markup=False)
        for code in row["findings"]:
            _show.out.print(f"           audit: {code}: {FAULTS[code].says}", markup=False)
