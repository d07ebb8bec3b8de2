"""List the systems, their papers and what each can be asked."""

from __future__ import annotations

from typing import Annotated

import typer

NEEDS = False


def command(json: Annotated[bool, typer.Option("--json", help="Machine-readable output.")] = False) -> None:
    import inspect

    from pairloom import folder, verbs
    from pairloom.cli import _show

    rows = []
    asked = {
        name: kind
        for name, kind in vars(verbs).items()
        if inspect.isclass(kind) and getattr(kind, "_is_runtime_protocol", False)
    }
    for name in folder.names("systems"):
        module = folder.find("systems", name)
        can = [
            verb
            for verb, kind in asked.items()
            if all(
                hasattr(module.System, part) or part in module.System.__annotations__
                for part in kind.__protocol_attrs__
            )
        ]
        rows.append(
            {
                "system": name,
                "paper": (module.__doc__ or "").strip().splitlines()[0],
                "verbs": sorted(can),
                "presets": sorted(module.PRESETS),
            }
        )
    if json:
        _show.say_json(rows)
        return
    _show.table(
        "Systems",
        ["system", "paper", "verbs", "presets"],
        [[r["system"], r["paper"], " ".join(r["verbs"]), " ".join(r["presets"])] for r in rows],
    )
