"""Take published weights (transformers, open_clip, OpenAI, Salesforce) into a model folder that needs nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def command(
    source: Annotated[
        str, typer.Argument(help="A folder, a checkpoint file, or a hub id in the local cache.")
    ],
    out: Annotated[Path, typer.Option(help="A new model folder.")],
    size: Annotated[
        int, typer.Option(help="Side of the pictures, where another is wanted: positions are resized.", min=0)
    ] = 0,
    download: Annotated[
        bool, typer.Option("--download", help="A hub id may be fetched from the network.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Machine-readable output.")] = False,
) -> None:
    import pairloom
    from pairloom.cli import _show
    from pairloom.model import at_size
    from pairloom.weights import _hub
    from pairloom.weights._layout import claim_empty

    claim_empty(out)
    if download and not Path(source).exists() and _hub.cached(source) is None:
        _hub.download(source)
    model = pairloom.load(source)
    if size:
        model = at_size(model, size)
    pairloom.save(model, out)
    count = sum(parameter.numel() for parameter in model.system.parameters())
    facts = {"source": source, "out": str(out), "system": model.name, "parameters": count, **model.about}
    if json:
        _show.say_json(facts)
    else:
        _show.out.print(
            f"{model.name}, {count:,} parameters, {model.pixels.size} px; written to {out}", markup=False
        )
