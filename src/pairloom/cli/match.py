"""Score texts against one picture, in every way the model can judge; higher is better."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from typer import Argument, Option

from pairloom.cli._options import Device, Json, Regions, Speed


def command(
    image: Annotated[Path, Argument(help="A picture.")],
    texts: Annotated[list[str], Argument(help="One or more texts.")],
    model: Annotated[Path, Option(help="A model folder (models/judge of a clean run, say).")],
    speed: Speed = "exact",
    regions: Regions = None,
    device: Device = "auto",
    json: Json = False,
) -> None:
    import pairloom
    from pairloom.api.results import ranked
    from pairloom.cli import _show
    from pairloom.runtime.speeds import described_speed

    engine = pairloom.load(model, device, regions=regions).at_speed(speed)
    every = engine.match_all(image, texts)
    cut, ways, rows = every[0].cut, [scores.by for scores in every], ranked(every)
    _show.note(cut)
    if json:
        facts = {"image": str(image), "model": str(model), "speed": described_speed(engine.system)}
        _show.say_json({**facts, "ways": ways, "texts": rows, "cut": vars(cut)})
    else:
        cells = [[row["text"], *(f"{row[way]:.4f}" for way in ways)] for row in rows]
        _show.table(str(image), ["text", *ways], cells)
