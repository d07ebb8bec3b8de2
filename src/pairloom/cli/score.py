"""Score every text of a set against its picture with a model; higher is better."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pairloom.cli._speed import Speed, known


def command(
    pairs: Annotated[Path, typer.Argument(help="A folder, tar shards, COCO JSON, parquet, ...")],
    model: Annotated[
        Path, typer.Option(help="A judge's folder (models/judge of a clean run) or any model's.")
    ],
    out: Annotated[Path, typer.Option(help="A new .parquet file: key, name, text, score.")],
    workers: Annotated[int, typer.Option(help="Processes; 0: one for each core.", min=0)] = 0,
    speed: Speed = "exact",
    device: Annotated[str, typer.Option(help="Where the model runs: cpu, cuda, cuda:1 ...")] = "cpu",
    restart: Annotated[bool, typer.Option("--restart", help="Forget what is done and begin anew.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Machine-readable output.")] = False,
) -> None:
    from pairloom.clean.score_set import score_set
    from pairloom.cli import _show
    from pairloom.data.shards import open_set
    from pairloom.scale import Execution

    pair_set = open_set(pairs)
    with _show.steps(quiet=json) as tell:
        count = _show.workers(workers, len(pair_set.shards))
        facts = score_set(pair_set, model, out, Execution(workers=count), restart, tell, known(speed), device)
    if json:
        _show.say_json(facts)
    else:
        _show.out.print(
            f"{facts['texts']:,} texts scored by {facts['way']}, {facts['unreadable']:,} could not be; written to {out}",
            markup=False,
        )
