"""Run the main job on a drawn world with known truth: offline, minutes on two cores, opens with the numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from typer import Option

from pairloom.cli._options import Json, Workers

NEEDS = False


def command(
    out: Annotated[Path, Option(help="Where the drawn sets and the results go.")] = Path("pairloom-demo"),
    pairs: Annotated[int, Option(help="Pairs to draw.", min=1)] = 4000,
    seed: Annotated[int, Option(help="Of the world and of everything random.")] = 0,
    effort: Annotated[float, Option(help="Training time of the judge; 1 as documented.")] = 1.0,
    workers: Workers = 0,
    json: Json = False,
) -> None:
    import pairloom
    from pairloom.cli import _show

    with _show.steps(quiet=json) as tell:
        result = pairloom.demo(out, pairs, workers=workers, tell=tell, seed=seed, effort=effort)
    if json:
        _show.say_json(result.facts)
    else:
        _show.say_lines(result.summary())
