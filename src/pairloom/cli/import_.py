"""Take published weights (transformers, open_clip, OpenAI, Salesforce) into a model folder that needs nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from typer import Argument, Option

from pairloom.cli._options import Json


def command(
    source: Annotated[str, Argument(help="A folder, a checkpoint file, or a hub id in the local cache.")],
    out: Annotated[Path, Option(help="A new model folder.")],
    size: Annotated[
        int, Option(help="Side of the pictures, where another is wanted: positions are resized.", min=0)
    ] = 0,
    config: Annotated[Path | None, Option(help="Of one file: its pipeline's folder.")] = None,
    download: Annotated[bool, Option("--download", help="A hub id may be fetched.")] = False,
    json: Json = False,
) -> None:
    from pairloom.api import import_weights
    from pairloom.cli import _show

    facts = import_weights(source, out, size, download, config)
    weight = f"{facts['parameters']:,} parameters, {facts['reads']}"
    notes = [f"tensors {facts['names']}"] if "names" in facts else []
    _show.result(facts, [f"{facts['system']}, {weight}; written to {out}", *notes], json)
