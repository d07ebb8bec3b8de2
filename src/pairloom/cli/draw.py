"""Draw pictures of texts, one PNG for each text and number, and a contact sheet. What is there already is not drawn again."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from typer import Argument, Option

from pairloom.cli._options import Device, Json, TextColumn


def command(
    texts: Annotated[list[str] | None, Argument(help="One or more texts.")] = None,
    *,
    model: Annotated[Path, Option(help="A model that draws; a diffusers folder, say.")],
    out: Annotated[Path, Option(help="A folder for the pictures.")],
    prompts: Annotated[
        Path | None,
        Option(help="A file in place of texts: one a line, or a table; a bad one is passed over."),
    ] = None,
    text_column: TextColumn = "",
    several: Annotated[int, Option(help="Pictures of each text.")] = 1,
    best: Annotated[int, Option(help="Candidates of each picture, of which the judge chooses one.")] = 1,
    judge: Annotated[Path | None, Option(help="A model that scores pairs, or a saved judge.")] = None,
    steps: Annotated[int | None, Option(help="Steps of a diffusion model's sampler.", max=1000)] = None,
    guidance: Annotated[float | None, Option(help="How much the text is stressed; up to 1: not.")] = None,
    temperature: Annotated[float | None, Option(help="Of codes that are drawn one by one.")] = None,
    begin: Annotated[Path | None, Option(help="A picture to complete: --rows of its codes are kept.")] = None,
    rows: Annotated[int, Option(help="Rows of codes of --begin, from the top.")] = 0,
    style: Annotated[Path | None, Option(help="A picture in whose style the texts are drawn.")] = None,
    seed: Annotated[int, Option(help="Of the noise that pictures begin as.")] = 0,
    group: Annotated[int, Option(help="Pictures that are drawn together.")] = 4,
    device: Device = "auto",
    json: Json = False,
) -> None:
    import pairloom
    from pairloom.cli import _show

    files = pairloom.load(model, device).draw_files(
        texts or (), out, prompts=prompts, text_column=text_column, several=several, best=best, judge=judge, steps=steps,
        guidance=guidance, temperature=temperature, begin=begin, rows=rows, style=style, seed=seed, group=group,
    )  # fmt: skip
    with _show.progress("drawing", files.left, quiet=json) as bar:
        _show.note(files.note)
        for row in files:
            bar.step(bad=int("problem" in row))
    if json:
        _show.say_json(files.rows)
    else:
        _show.table("Drawn", *files.table())
    if files.failed:
        raise typer.Exit(1)
