"""Write a model folder in a published layout, for other libraries to load."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from typer import Argument, Option

from pairloom.cli._options import Json


def command(
    model: Annotated[Path, Argument(help="A model folder.")],
    out: Annotated[Path, Option(help="A new folder.")],
    to: Annotated[str, Option(help="transformers or open_clip.")] = "transformers",
    task: Annotated[str, Option(help="caption or match, where a BLIP can do both.")] = "",
    json: Json = False,
) -> None:
    import pairloom
    from pairloom.cli import _show

    loaded = pairloom.load(model, "cpu")
    loaded.export(out, to, task)
    facts = {"model": str(model), "out": str(out), "to": to, "system": loaded.name}
    _show.result(facts, [f"{loaded.name} written for {to} to {out}"], json)
