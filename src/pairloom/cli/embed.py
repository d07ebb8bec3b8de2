"""Embed the pictures of a set with a model, into one table of keys and vectors; goes on where it was stopped."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from typer import Option

from pairloom.cli._options import Device, Json, Pairs, Restart, Speed, Workers


def command(
    pairs: Pairs,
    model: Annotated[Path, Option(help="A model that embeds: CLIP or BLIP.")],
    out: Annotated[Path, Option(help="A new .parquet file: key, name, embedding, problem.")],
    workers: Workers = 0,
    speed: Speed = "exact",
    device: Device = "auto",
    restart: Restart = False,
    json: Json = False,
) -> None:
    import pairloom
    from pairloom.cli import _show

    with _show.steps(quiet=json) as tell:
        facts = pairloom.open(pairs).embed(
            model, out, workers=workers, speed=speed, device=device, restart=restart, tell=tell
        )
    sentence = (
        f"{facts['pictures']:,} pictures embedded in {facts['width']} numbers each, {facts['unreadable']:,} could not be; "
        f"written to {out}"
    )
    _show.result({**facts, "out": str(out)}, [sentence], json)
