"""Write a model folder in a published layout, for other libraries to load."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def command(
    model: Annotated[Path, typer.Argument(help="A model folder.")],
    out: Annotated[Path, typer.Option(help="A new folder.")],
    to: Annotated[str, typer.Option(help="transformers or open_clip.")] = "transformers",
    task: Annotated[str, typer.Option(help="caption or match, where a BLIP can do both.")] = "",
    json: Annotated[bool, typer.Option("--json", help="Machine-readable output.")] = False,
) -> None:
    import pairloom
    from pairloom import registry
    from pairloom.cli import _show
    from pairloom.errors import Mistake

    layouts = [registry.find("weights", name) for name in registry.names("weights")]
    asked = pairloom.load(model)
    able = {layout.WRITES: layout for layout in layouts if getattr(layout, "SYSTEM", "") == asked.name}
    if to not in able:
        known = f"{asked.name} can go to {' and '.join(sorted(able))}." if able else "No layout holds it."
        raise Mistake(f"{asked.name} cannot be written for '{to}'.", known)
    if task and not hasattr(able[to], "CLASSES"):
        raise Mistake(f"There is no --task for {asked.name}.", "Its layout holds all of it.", "Leave it out.")
    able[to].export(asked, out, **({"task": task} if task else {}))
    if json:
        _show.say_json({"model": str(model), "out": str(out), "to": to, "system": asked.name})
    else:
        _show.out.print(f"{asked.name} written for {to} to {out}", markup=False)
