"""Score texts against one picture, in every way the model can judge; higher is better."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pairloom.cli._speed import Speed, at_speed


def command(
    image: Annotated[Path, typer.Argument(help="A picture.")],
    texts: Annotated[list[str], typer.Argument(help="One or more texts.")],
    model: Annotated[Path, typer.Option(help="A model folder (models/judge of a clean run, say).")],
    speed: Speed = "exact",
    json: Annotated[bool, typer.Option("--json", help="Machine-readable output.")] = False,
) -> None:
    import torch

    import pairloom
    from pairloom.cli import _show
    from pairloom.data.pixels import Unreadable, open_image
    from pairloom.errors import Mistake
    from pairloom.tasks.judge import judge
    from pairloom.verbs import Sees, demand_way, ways

    asked = pairloom.load(model).eval()
    demand_way(asked.system)
    able = ways(asked.system)
    try:
        picture = open_image(image.read_bytes())
    except (OSError, Unreadable) as error:
        raise Mistake(f"{image} cannot be read.", str(error), "Give a picture file.") from error
    cut = sum(asked.tokens.too_long(text, asked.config.length) for text in texts)
    if cut:
        _show.console.print(
            f"{cut} text{'s are' if cut > 1 else ' is'} longer than the model reads: "
            f"judged by the first {asked.config.length} tokens."
        )
    asked = at_speed(asked, speed)
    batch = asked.batch([picture], texts, image_of=[0] * len(texts))
    if isinstance(asked.system, Sees):  # once, for all ways
        with torch.no_grad():
            batch = asked.system.encode_image(batch)
    found = {way: judge(asked.system, batch, way)[0].tolist() for way in able}
    rows = [{"text": text, **{way: found[way][at] for way in able}} for at, text in enumerate(texts)]
    rows.sort(key=lambda row: -float(row[able[0]]))
    if json:
        _show.say_json({"image": str(image), "model": str(model), "ways": able, "texts": rows})
    else:
        _show.table(
            str(image), ["text", *able], [[row["text"], *(f"{row[way]:.4f}" for way in able)] for row in rows]
        )
