"""Ask any models the questions of a benchmark, or of GDBench: numbers with intervals, blind baselines, cost, and a report.
Alone it lists the benchmarks."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from typer import Argument, Option

from pairloom.cli._options import Device, Json

NEEDS = False


def command(
    name: Annotated[str, Argument(help="A benchmark, or gdbench for the suite; without: the list.")] = "",
    model: Annotated[list[str] | None, Option(help="A model; once for each system to compare.")] = None,
    data: Annotated[
        Path | None, Option(help="The benchmark's released files (of gdbench: the folder of their folders).")
    ] = None,
    mini: Annotated[
        bool, Option("--mini", help="A drawn miniature in the same layout, offline, its truth known.")
    ] = False,
    out: Annotated[Path, Option(help="Scores, results.json, report.html; a run found there goes on.")] = Path(
        "bench"
    ),
    limit: Annotated[int, Option(help="Most cases of each, evenly spread; 0: all.", min=0)] = 0,
    way: Annotated[
        str, Option(help="How to judge: match, cosine, likelihood, denoising; each model's best without.")
    ] = "",
    steps: Annotated[int, Option(help="Diffusion models: noise levels for a pair; 0: their own.", min=0)] = 0,
    protocol: Annotated[
        str, Option(help="Diffusion models: sound (default), or published (as first released).")
    ] = "",
    race: Annotated[
        float,
        Option(help="Diffusion models: race; a case is wrong with at most this chance.", min=0, max=0.5),
    ] = 0.0,
    against: Annotated[Path | None, Option(help="An earlier results.json to compare with.")] = None,
    blind: Annotated[bool, Option(help="Judge also with a gray picture, and with no text.")] = True,
    seed: Annotated[int | None, Option(help="Of the miniatures; 0 without.")] = None,
    judge: Annotated[Path | None, Option(help="drawn: a model that scores what was drawn.")] = None,
    features: Annotated[str, Option(help="drawn: an image tower; the installed one without.")] = "",
    training: Annotated[
        Path | None, Option(help="drawn: what the models learnt from, to see copies.")
    ] = None,
    device: Device = "auto",
    json: Json = False,
) -> None:
    from pairloom.api.benchmark import bench, benchmark_list, benchmark_table
    from pairloom.cli import _show

    if not (name or model or data or mini):
        if json:
            _show.say_json(benchmark_list())
        else:
            _show.table(*benchmark_table())
        return

    with _show.steps(quiet=json) as tell:
        done = bench(
            name, model or [], out, data=data, mini=mini, limit=limit, way=way, steps=steps, protocol=protocol, race=race,
            against=against, blind=blind, seed=seed, judge=judge, features=features, training=training, device=device, tell=tell,
            warn=(lambda text: None) if json else _show.note,
        )  # fmt: skip
    if json:
        _show.say_json(done.brief())
    else:
        _show.table("Bench", *done.table())
        for remark in done.remarks():
            _show.console.print(remark, markup=False, soft_wrap=True)
    if not done.complete:
        raise typer.Exit(1)
