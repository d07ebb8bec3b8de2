"""Say which of your names fits each picture best, as JSON lines; nobody needs to have trained for the names."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from typer import Option

from pairloom.cli._options import Device, LinesOut, Pictures, ReplaceOut, Speed


def command(
    pictures: Pictures,
    model: Annotated[Path, Option(help="A model that embeds: CLIP or BLIP.")],
    classes: Annotated[str, Option(help="A file with one name a line, or names with commas between.")],
    out: LinesOut = None,
    template: Annotated[
        str, Option(help="photo, name, imagenet (80 prompts), or your own: 'a sketch of a {}.'")
    ] = "photo",
    top: Annotated[int, Option(help="Names for each picture, best first.")] = 5,
    temperature: Annotated[float, Option(help="Of the softmax over cosines.")] = 0.01,
    speed: Speed = "exact",
    device: Device = "auto",
    restart: ReplaceOut = False,
) -> None:
    import pairloom
    from pairloom.api.inputs import listed_texts
    from pairloom.cli import _show

    names = listed_texts(classes, "names")
    lines = pairloom.load(model, device).at_speed(speed).lines(
        "classify", pictures, out, restart=restart, classes=names, template=template, top=top, temperature=temperature
    )  # fmt: skip
    _show.write_lines(lines)
