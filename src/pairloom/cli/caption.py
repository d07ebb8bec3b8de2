"""Write captions for a picture, a folder of pictures or a set, as JSON lines; goes on where it was stopped."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from typer import Option

from pairloom.cli._options import Device, LinesOut, Pictures, Regions, ReplaceOut, Speed

OWN = " Default: the model's own."


def command(
    pictures: Pictures,
    model: Annotated[Path, Option(help="A model folder (models/captioner of a clean run, say).")],
    out: LinesOut = None,
    way: Annotated[str, Option(help="greedy, beam or nucleus.")] = "beam",
    beams: Annotated[int | None, Option(help=f"Width of the beam.{OWN}")] = None,
    top_p: Annotated[float, Option(help="Mass that nucleus sampling draws from.")] = 0.9,
    several: Annotated[int, Option(help="Captions for each picture.")] = 1,
    prompt: Annotated[str | None, Option(help=f"Words that captions begin with.{OWN}")] = None,
    max_length: Annotated[int, Option(help=f"Most tokens, with the prompt.{OWN}")] = 0,
    min_length: Annotated[int | None, Option(help=f"Fewest tokens, with the prompt.{OWN}")] = None,
    length_rule: Annotated[str | None, Option(help=f"Of a beam: sum, released.{OWN}")] = None,
    seed: Annotated[int, Option(help="Of nucleus sampling.")] = 0,
    speed: Speed = "exact",
    regions: Regions = None,
    device: Device = "auto",
    restart: ReplaceOut = False,
) -> None:
    import pairloom
    from pairloom.cli import _show

    lines = pairloom.load(model, device, regions=regions).at_speed(speed).lines(
        "caption", pictures, out, restart=restart, way=way, beams=beams, top_p=top_p, several=several, prompt=prompt,
        max_length=max_length, min_length=min_length, length_rule=length_rule, seed=seed,
    )  # fmt: skip
    _show.write_lines(lines)
