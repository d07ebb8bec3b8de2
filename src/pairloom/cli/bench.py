"""Ask any models the questions of a benchmark, or of GDBench: numbers with intervals, blind baselines, cost, and a report.
Alone it lists the benchmarks."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from pairloom.cli._options import Device, Json

NEEDS = False
BLIND = ("text only", "image only")  # the blind likenesses of a system, which stand beside it


def command(
    name: Annotated[
        str, typer.Argument(help="A benchmark, or gdbench for the suite; without: the list.")
    ] = "",
    model: Annotated[list[str] | None, typer.Option(help="A model; once for each system to compare.")] = None,
    data: Annotated[
        Path | None,
        typer.Option(help="The benchmark's released files (of gdbench: the folder of their folders)."),
    ] = None,
    mini: Annotated[
        bool, typer.Option("--mini", help="A drawn miniature in the same layout, offline, its truth known.")
    ] = False,
    out: Annotated[
        Path, typer.Option(help="Scores, results.json, report.html; a run found there goes on.")
    ] = Path("bench"),
    limit: Annotated[int, typer.Option(help="Most cases of each, evenly spread; 0: all.", min=0)] = 0,
    way: Annotated[
        str,
        typer.Option(help="How to judge: match, cosine, likelihood, denoising; each model's best without."),
    ] = "",
    steps: Annotated[
        int, typer.Option(help="Diffusion models: noise levels for each pair; 0: their own.", min=0)
    ] = 0,
    protocol: Annotated[
        str, typer.Option(help="Diffusion models: sound (default), or published (as first released).")
    ] = "",
    race: Annotated[
        float,
        typer.Option(
            help="Diffusion models: race the candidates, each case wrong with at most this chance; 0: all steps of all.",
            min=0.0,
            max=0.5,
        ),
    ] = 0.0,
    against: Annotated[
        Path | None, typer.Option(help="results.json of an earlier run to compare with.")
    ] = None,
    blind: Annotated[bool, typer.Option(help="Judge also with a gray picture, and with no text.")] = True,
    seed: Annotated[int | None, typer.Option(help="Of the miniatures; 0 without.")] = None,
    device: Device = "auto",
    json: Json = False,
) -> None:
    from pairloom.api.benchmark import bench, benchmark_list
    from pairloom.cli import _show
    from pairloom.errors import Mistake

    if not name:
        if model or data or mini:
            raise Mistake("Which benchmark?", "", "Name one, or gdbench; `pairloom bench` alone lists them.")
        rows = benchmark_list()
        if json:
            _show.say_json(rows)
        else:
            cells = [[row["name"], "yes" if row["gdbench"] else "", row["claim"]] for row in rows]
            _show.table("Benchmarks", ["name", "GDBench", "asks"], cells)
        return

    def warn(text: str) -> None:
        if not json:
            _show.console.print(text, markup=False)

    with _show.steps(quiet=json) as tell:
        done = bench(
            name, model or [], out, data=data, mini=mini, limit=limit, way=way, steps=steps, protocol=protocol, race=race,
            against=against, blind=blind, seed=seed, device=device, tell=tell, warn=warn,
        )  # fmt: skip
    if json:
        _show.say_json(done.brief())
    else:
        _tell(done.results, list(done.systems), out)
    if not done.complete:
        raise typer.Exit(1)


def _tell(results: dict[str, Any], systems: list[str], out: Path) -> None:
    """The sound numbers that stand for each benchmark, what is missing, and where the rest lies."""
    from pairloom.cli import _show

    benchmarks = results["benchmarks"]
    assert isinstance(benchmarks, dict)
    kinds = [
        kind
        for kind in BLIND
        if any(f"{systems[0]}, {kind}" in one["measures"] for one in benchmarks.values())
    ]
    common = [
        row for row in ("wording", "random") if all(row in one["measures"] for one in benchmarks.values())
    ]
    rows = []
    for name, one in benchmarks.items():
        for at, first in enumerate(one["measures"][systems[0]]):
            if first["kind"] == "sound" and (first["headline"] or first["best"] == 0):
                for system in systems:
                    beside = [*(f"{system}, {kind}" for kind in kinds), *common]
                    cells = [_number(one["measures"][row][at]) for row in (system, *beside)]
                    rows.append([name, first["name"], system, *cells, f"{first['chance']:.3f}", one["cases"]])
    columns = ["benchmark", "measure", "system", "sound", *kinds, *common, "chance", "cases"]
    _show.table("Bench", columns, rows)
    for name, one in benchmarks.items():
        for problem in one["problems"][:5]:
            _show.console.print(
                f"{name}: {problem['file']} {problem['why']} ({problem['cases']} cases)", markup=False
            )
        if len(one["problems"]) > 5:
            _show.console.print(
                f"{name}: {len(one['problems']):,} files in all, see results.json", markup=False
            )
    _tell_differences([*results["comparisons"], *results["earlier"]])
    for remark in results["bench"]["remarks"]:
        _show.console.print(remark, markup=False, soft_wrap=True)
    for name, why in results["bench"]["absent"].items():
        _show.console.print(f"{name}: not run, {why}", markup=False)
    _show.console.print(f"written to {out}/results.json and {out}/report.html", markup=False)


def _tell_differences(rows: list[dict[str, Any]]) -> None:
    """Which system is better than which, where that is decided; how often it is not."""
    from pairloom.cli import _show

    decided = [row for row in rows if row["verdict"] != "undecided"]
    for row in decided:
        gap = f"{row['value']:+.3f} [{row['low']:+.3f}, {row['high']:+.3f}], p {max(row['holm'], 0.001):.3f}"
        _show.console.print(
            f"{row['benchmark']}, {row['measure']}: {row['new']} is {row['verdict']} than {row['old']}, {gap}",
            markup=False,
            soft_wrap=True,
        )
    if len(rows) > len(decided):
        _show.console.print(f"undecided: {len(rows) - len(decided)} of {len(rows)} comparisons", markup=False)


def _number(cell: dict[str, Any]) -> str:
    text = f"{cell['value']:.3f} [{cell['low']:.3f}, {cell['high']:.3f}]"
    return text if cell["p"] is None else f"{text} p {max(cell['p'], 0.001):.3f}"
