"""Score every text of a set against its picture with a judge or a model; higher is better."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from typer import Option

from pairloom.cli._options import Device, Json, Pairs, Regions, Restart, Speed, Workers


def command(
    pairs: Pairs,
    model: Annotated[Path, Option(help="A judge's folder (models/judge of a clean run) or any model's.")],
    out: Annotated[Path, Option(help="A new .parquet file: key, name, text, score.")],
    workers: Workers = 0,
    speed: Speed = "exact",
    regions: Regions = None,
    device: Device = "auto",
    restart: Restart = False,
    json: Json = False,
) -> None:
    import pairloom
    from pairloom.cli import _show
    from pairloom.data.cut import CutTexts

    with _show.steps(quiet=json) as tell:
        facts = pairloom.open(pairs).score(
            model,
            out,
            workers=workers,
            speed=speed,
            device=device,
            regions=regions,
            restart=restart,
            tell=tell,
        )
    _show.note(CutTexts(**facts["cut"]))
    sentence = f"{facts['texts']:,} texts scored by {facts['way']}, {facts['unreadable']:,} could not be; written to {out}"
    _show.result(facts, [sentence], json)
