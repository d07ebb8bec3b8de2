"""Write captions for a picture, a folder of pictures or a set, as JSON lines; goes on where it was stopped."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pairloom.cli._options import Device, LinesOut, Pictures, ReplaceOut, Speed


def command(
    pictures: Pictures,
    model: Annotated[Path, typer.Option(help="A model folder (models/captioner of a clean run, say).")],
    out: LinesOut = None,
    way: Annotated[str, typer.Option(help="greedy, beam or nucleus.")] = "beam",
    beams: Annotated[int, typer.Option(help="Width of the beam.")] = 3,
    top_p: Annotated[float, typer.Option(help="Mass that nucleus sampling draws from.")] = 0.9,
    several: Annotated[int, typer.Option(help="Captions for each picture.")] = 1,
    prompt: Annotated[str, typer.Option(help="The words that every caption begins with.")] = "",
    max_length: Annotated[
        int, typer.Option(help="Most tokens, the prompt among them; 0: as the model learnt.")
    ] = 0,
    min_length: Annotated[int, typer.Option(help="Fewest tokens.")] = 3,
    seed: Annotated[int, typer.Option(help="Of nucleus sampling.")] = 0,
    speed: Speed = "exact",
    device: Device = "auto",
    restart: ReplaceOut = False,
) -> None:
    import pairloom
    from pairloom.cli import _show

    lines = pairloom.load(model, device).at_speed(speed).lines(
        "caption", pictures, out, restart=restart, way=way, beams=beams, top_p=top_p, several=several, prompt=prompt,
        max_length=max_length, min_length=min_length, seed=seed,
    )  # fmt: skip
    _show.write_lines(lines)
