"""Draw pictures of texts: one PNG for each text and seed."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from typer import Argument, Option

from pairloom.cli._options import Device, Json


def command(
    texts: Annotated[list[str], Argument(help="One or more texts.")],
    model: Annotated[Path, Option(help="A model that draws; a diffusers folder, say.")],
    out: Annotated[Path, Option(help="A folder for the pictures.")],
    several: Annotated[int, Option(help="Pictures of each text.")] = 1,
    steps: Annotated[int | None, Option(help="Steps of a diffusion model's sampler.", max=1000)] = None,
    guidance: Annotated[float | None, Option(help="How much the text is stressed; up to 1: not.")] = None,
    temperature: Annotated[float | None, Option(help="Of codes that are drawn one by one.")] = None,
    seed: Annotated[int, Option(help="Of the noise that pictures begin as.")] = 0,
    group: Annotated[int, Option(help="Pictures that are drawn together.")] = 4,
    device: Device = "auto",
    json: Json = False,
) -> None:
    import pairloom
    from pairloom.cli import _show

    files = pairloom.load(model, device).draw_files(
        texts,
        out,
        several=several,
        steps=steps,
        guidance=guidance,
        temperature=temperature,
        seed=seed,
        group=group,
    )
    with _show.progress("drawing", len(files.wanted), quiet=json) as bar:
        _show.note(files.note)
        bar.step(files.done)
        for _ in files:
            bar.step()
    rows = [{"text": text, "number": at, "picture": str(file)} for text, at, file in files.wanted]
    if json:
        _show.say_json(rows)
    else:
        _show.table("Drawn", list(rows[0]), [list(row.values()) for row in rows])
