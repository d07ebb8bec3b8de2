"""Benchmarks: any models are asked the questions of one, or of GDBench, with intervals, blind baselines and a report."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pairloom.api.bench_drawn import PainterRun, bench_drawn
from pairloom.bench import gdbench, painters
from pairloom.errors import Mistake, nearest

WAYS = ("match", "cosine", "likelihood", "denoising")
PROTOCOLS = ("sound", "published")
BLIND = ("text only", "image only")  # the blind likenesses of a system, which stand beside it


@dataclass(frozen=True)
class BenchRun:
    """results: what results.json holds; systems: the names of the models, in order; out: the folder of the run."""

    results: dict[str, Any] = field(repr=False)
    systems: tuple[str, ...]
    out: Path

    @property
    def complete(self) -> bool:
        """Whether every case of every benchmark was scored."""
        return not (gdbench.lost(self.results) or self.results["bench"]["absent"])

    def table(self) -> tuple[list[str], list[list[Any]]]:
        """Columns and rows of the sound numbers that stand for each benchmark, beside those of blind likenesses."""
        benchmarks, first_system = self.results["benchmarks"], self.systems[0]
        measured = [one["measures"] for one in benchmarks.values()]
        kinds = [kind for kind in BLIND if any(f"{first_system}, {kind}" in one for one in measured)]
        common = [row for row in ("wording", "random") if all(row in one for one in measured)]
        rows: list[list[Any]] = []
        for name, one in benchmarks.items():
            for at, first in enumerate(one["measures"][first_system]):
                if first["kind"] == "sound" and (first["headline"] or first["best"] == 0):
                    for system in self.systems:
                        beside = [*(f"{system}, {kind}" for kind in kinds), *common]
                        cells = [_number(one["measures"][row][at]) for row in (system, *beside)]
                        rows.append(
                            [name, first["name"], system, *cells, f"{first['chance']:.3f}", one["cases"]]
                        )
        return ["benchmark", "measure", "system", "sound", *kinds, *common, "chance", "cases"], rows

    def remarks(self) -> list[str]:
        """What is missing or broken, which system is better than which, and where the rest lies."""
        lines: list[str] = []
        for name, one in self.results["benchmarks"].items():
            problems = one["problems"]
            lines += [f"{name}: {row['file']} {row['why']} ({row['cases']} cases)" for row in problems[:5]]
            if len(problems) > 5:
                lines.append(f"{name}: {len(problems):,} files in all, see results.json")
        lines += differences([*self.results["comparisons"], *self.results["earlier"]])
        lines += self.results["bench"]["remarks"]
        lines += [f"{name}: not run, {why}" for name, why in self.results["bench"]["absent"].items()]
        return [*lines, f"written to {self.out}/results.json and {self.out}/report.html"]

    def brief(self) -> dict[str, Any]:
        """The results without the values of single cases."""
        benchmarks = {
            name: {key: value for key, value in one.items() if key not in ("values", "questions")}
            for name, one in self.results["benchmarks"].items()
        }
        return {**self.results, "benchmarks": benchmarks}


def differences(rows: Sequence[dict[str, Any]]) -> list[str]:
    """Which system is better than which, where that is decided; how often it is not."""
    decided = [row for row in rows if row["verdict"] != "undecided"]
    lines = [
        f"{row['benchmark']}, {row['measure']}: {row['new']} is {row['verdict']} than {row['old']}, {row['value']:+.3f} "
        f"[{row['low']:+.3f}, {row['high']:+.3f}], p {max(row['holm'], 0.001):.3f}"
        for row in decided
    ]
    if len(rows) > len(decided):
        lines.append(f"undecided: {len(rows) - len(decided)} of {len(rows)} comparisons")
    return lines


def _number(cell: dict[str, Any]) -> str:
    text = f"{cell['value']:.3f} [{cell['low']:.3f}, {cell['high']:.3f}]"
    return text if cell["p"] is None else f"{text} p {max(cell['p'], 0.001):.3f}"


def benchmark_list() -> list[dict[str, Any]]:
    """Every benchmark: its name, whether GDBench has it, what it asks."""
    rows = [
        {"name": name, "gdbench": name in gdbench.SUITE, "claim": module.CLAIM}
        for name, module in gdbench.benchmarks().items()
    ]
    suites = {painters.NAME: painters.CLAIM, gdbench.NAME: gdbench.CLAIM}
    return [*rows, *({"name": name, "gdbench": False, "claim": claim} for name, claim in suites.items())]


def benchmark_table() -> tuple[str, list[str], list[list[str]]]:
    """The list of benchmarks as a table: title, columns and rows."""
    rows = [[row["name"], "yes" if row["gdbench"] else "", row["claim"]] for row in benchmark_list()]
    return "Benchmarks", ["name", "GDBench", "asks"], rows


def bench(
    name: str,
    models: Sequence[str],
    out: Path | str = "bench",
    *,
    data: Path | None = None,
    mini: bool = False,
    limit: int = 0,
    way: str = "",
    steps: int = 0,
    protocol: str = "",
    race: float = 0.0,
    against: Path | None = None,
    blind: bool = True,
    seed: int | None = None,
    judge: Path | str | None = None,
    features: str = "",
    training: Path | None = None,
    device: str = "auto",
    tell: Callable[..., None] = lambda *arguments, **more: None,
    warn: Callable[[str], None] = lambda text: None,
) -> BenchRun | PainterRun:
    """Ask models the questions of a benchmark; a run that is found in `out` goes on.

    data: the released files; mini: a drawn miniature instead. limit: most cases of each, evenly spread. way: how to judge;
    steps, protocol, race: of diffusion models. against: results.json of an earlier run. blind: also without picture or text.
    judge, features, training: of "drawn", the benchmark of painters. warn: is told of settings that a model does not hear, before any
    scoring. Mistake for what does not fit.
    """
    if not name:
        raise Mistake("Which benchmark?", "", "Name one, or gdbench; `pairloom bench` alone lists them.")
    if not models:
        raise Mistake("There is no model to ask.", "", f"Try: pairloom bench {name} --mini --model FOLDER")
    if mini == (data is not None):
        raise Mistake("Which files?", "", "Give --data FOLDER, or --mini for a drawn miniature.")
    if seed is not None and not mini:
        raise Mistake("--seed would change nothing.", "It is of the miniatures.", "Leave it out.")
    own = {"judge": judge, "features": features, "training": training}
    others = {"way": way, "steps": steps, "protocol": protocol, "race": race, "against": against}
    stated = [f"--{option}" for option, value in (others if name == painters.NAME else own).items() if value]
    if stated:
        raise Mistake(
            f"{' and '.join(stated)} would change nothing.", f"{name} does not use it.", "Leave it out."
        )
    if name == painters.NAME:
        return bench_drawn(
            models, Path(out), data=data, judge=judge, features=features, training=training, limit=limit,
            seed=seed or 0, device=device, tell=tell,
        )  # fmt: skip
    way, blind = _only(name, way), blind and not gdbench.only_way(name)
    _demand("protocol", protocol, PROTOCOLS)
    _demand("way", way, WAYS)
    settings = {"way": way, "steps": steps, "protocol": protocol, "race": race}
    request = gdbench.BenchRequest(name, Path(out), data, limit, seed or 0, against, settings)
    scorers = _Scorers(settings, blind, device)
    entrants = gdbench.entrants(models, scorers.of, settings, blind)
    for entrant in entrants:  # before hours of scoring, and again in the results
        if entrant.deaf:
            warn(entrant.deaf)
    results = gdbench.run(request, entrants, tell)
    return BenchRun(results, tuple(entrant.name for entrant in entrants), Path(out))


@dataclass(frozen=True)
class _Scorers:
    settings: dict[str, Any]
    blind: bool
    device: str

    def of(self, where: str) -> dict[str, Any]:
        """The scorers of the model at a place."""
        from pairloom.api.front import load
        from pairloom.bench.gdbench import scorers

        options = {key: value for key, value in self.settings.items() if key in gdbench.DIFFUSION and value}
        return dict(scorers(load(where, self.device), str(self.settings["way"]) or None, self.blind, options))


def _demand(option: str, value: str, choices: tuple[str, ...]) -> None:
    """Mistake where an option has a value that there is not, before any model is loaded."""
    if value and value not in choices:
        raise Mistake(f"There is no {option} '{value}'.", "", nearest(value, choices))


def _only(name: str, way: str) -> str:
    """The way of a benchmark that can be asked in one way alone. Mistake where another is wanted."""
    only = gdbench.only_way(name)
    if only and way not in ("", only):
        raise Mistake(f"{name} cannot be asked by {way}.", f"It is asked by {only}.", "Leave --way out.")
    return only or way
