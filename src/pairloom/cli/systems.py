"""List the systems, their papers and what each can be asked."""

from __future__ import annotations

from typing import Annotated

import typer

NEEDS = False


def command(json: Annotated[bool, typer.Option("--json", help="Machine-readable output.")] = False) -> None:
    from pairloom import registry
    from pairloom.cli import _show
    from pairloom.errors import Mistake

    rows = []
    for name in registry.names("systems"):
        module, lacking = registry.find("systems", name), ""
        try:
            system = module.System(module.TINY)
        except Mistake as mistake:  # a library of an extra is not there
            system, lacking = None, mistake.do
        paper = " ".join((module.__doc__ or "").split("\n\n")[0].split())
        rows.append(
            {
                "system": name,
                "paper": paper.partition("): ")[0] + ")",
                "abilities": [vars(ability) for ability in (() if system is None else system.abilities)],
                "presets": sorted(module.PRESETS),
                "needs": lacking,
            }
        )
    if json:
        _show.say_json(rows)
        return
    lines = [
        [
            row["system"],
            row["paper"],
            row["needs"] or ", ".join(one["name"] for one in row["abilities"]),
            ", ".join(row["presets"]),
        ]
        for row in rows
    ]
    _show.table("Systems", ["system", "paper", "abilities", "presets"], lines)
