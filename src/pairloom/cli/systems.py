"""List the systems, their papers and what each can be asked."""

from __future__ import annotations

from typing import Annotated

import typer

NEEDS = False


def command(json: Annotated[bool, typer.Option("--json", help="Machine-readable output.")] = False) -> None:
    import inspect

    from pairloom import folder, verbs
    from pairloom.cli import _show

    asked = {
        name: kind
        for name, kind in vars(verbs).items()
        if inspect.isclass(kind) and getattr(kind, "_is_runtime_protocol", False)
    }
    rows = []
    for name in folder.names("systems"):
        module = folder.find("systems", name)
        system = module.System(module.TINY)
        paper = " ".join((module.__doc__ or "").split("\n\n")[0].split())
        rows.append(
            {
                "system": name,
                "paper": paper.partition("): ")[0] + ")",
                "verbs": sorted(verb for verb, kind in asked.items() if isinstance(system, kind)),
                "presets": sorted(module.PRESETS),
            }
        )
    if json:
        _show.say_json(rows)
        return
    lines = [
        [row["system"], row["paper"], ", ".join(row["verbs"]), ", ".join(row["presets"])] for row in rows
    ]
    _show.table("Systems", ["system", "paper", "verbs", "presets"], lines)
