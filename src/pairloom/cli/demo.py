"""Run the main job on a drawn world with known truth: offline, minutes on two cores, opens with the numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

NEEDS = False


def command(
    out: Annotated[Path, typer.Option(help="Where the drawn sets and the results go.")] = Path(
        "pairloom-demo"
    ),
    pairs: Annotated[int, typer.Option(help="Pairs to draw.", min=1)] = 4000,
    seed: Annotated[int, typer.Option(help="Of the world and of everything random.")] = 0,
    effort: Annotated[float, typer.Option(help="Training time of the judge; 1 as documented.")] = 1.0,
    workers: Annotated[int, typer.Option(help="Processes; 0: one for each core.", min=0)] = 0,
    json: Annotated[bool, typer.Option("--json", help="Machine-readable output.")] = False,
) -> None:
    from pairloom.clean.demo import demo
    from pairloom.clean.plan import CleanSettings
    from pairloom.cli import _show
    from pairloom.errors import Mistake
    from pairloom.scale import Execution

    try:
        settings = CleanSettings(seed=seed, effort=effort)
    except ValueError as error:
        raise Mistake("These options do not fit.", str(error)) from error
    with _show.steps(quiet=json) as tell:
        execution = Execution(workers=_show.workers(workers, 99))
        facts = demo(out, pairs, settings, execution, tell).facts
    if json:
        _show.say_json(facts)
    else:
        _show.summary(facts, out / "clean")
