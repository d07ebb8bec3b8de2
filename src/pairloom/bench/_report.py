"""Report of a benchmark run: report.html with tables, intervals, cost, comparisons, missing files and a gallery, as one offline
file without scripts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import jinja2

from pairloom.bench._compare import ALPHA
from pairloom.bench._gallery import gallery
from pairloom.bench._results import RANDOM, BenchmarkResult
from pairloom.data.disk import atomic_write

PAGE = files("pairloom.bench") / "page"


def write(
    path: Path, results: Mapping[str, Any], outcomes: Sequence[BenchmarkResult], systems: Sequence[str]
) -> None:
    """Write the report, atomically. results: from `_results.document`; outcomes: for the pictures of the gallery."""
    page = _template().render(
        results=results,
        style=(PAGE / "bench.css").read_text("utf-8"),
        overview=overview(results, systems) if len(outcomes) > 1 else [],
        tables=[_table(outcome, results, systems) for outcome in outcomes],
        systems=systems,
    )
    with atomic_write(path, replace=True) as file:
        file.write(page.encode())


def overview(results: Mapping[str, Any], systems: Sequence[str]) -> list[dict[str, Any]]:
    """Rows of the overview: one for every headline number, with a cell for each system; a benchmark of bias has one row, for
    its largest effect size. seen: whether the system is better than each of its blind baselines (None: there are none), or
    the effect size is significant."""
    seen: dict[tuple[str, str, str], bool] = {}
    for row in results["blind"]:
        key = row["benchmark"], row["measure"], row["new"]
        seen[key] = seen.get(key, True) and row["verdict"] == "better"
    rows = []
    for name, benchmark in results["benchmarks"].items():
        measures = [benchmark["measures"][system] for system in systems]
        for at, first in enumerate(measures[0]):
            if first["headline"]:
                cells = [
                    {**one[at], "of": "", "seen": seen.get((name, first["name"], system))}
                    for system, one in zip(systems, measures)
                ]
                rows.append({"benchmark": name, **first, "cells": cells, "cases": first["count"]})
        largest = [_largest(one) for one in measures]
        if all(largest):
            rows.append({
                "benchmark": name, "name": "largest effect size", "chance": 0.0, "cells": largest, "cases": benchmark["cases"],
            })  # fmt: skip
    return rows


def _largest(measures: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    sizes = [one for one in measures if one["best"] == 0 and one["kind"] == "sound"]
    if not sizes:
        return {}
    one = max(sizes, key=lambda one: abs(one["value"]))
    return {**one, "seen": one["p"] < ALPHA, "of": one["name"].removeprefix("effect size ")}


def _table(outcome: BenchmarkResult, results: Mapping[str, Any], systems: Sequence[str]) -> dict[str, Any]:
    benchmark = results["benchmarks"][outcome.name]
    blind = [name for name in benchmark["measures"] if name not in (*systems, RANDOM)]
    names = [*systems, *blind, RANDOM]
    rows = []
    for at, first in enumerate(benchmark["measures"][names[0]]):
        cells = [benchmark["measures"][name][at] for name in names]
        rows.append({**first, "cells": [_cell(one) for one in cells]})
    return {
        "name": outcome.name,
        "told": benchmark,
        "names": names,
        "rows": rows,
        "scale": _scale(rows),
        "cost": [_cost(name, benchmark) for name in names],
        "cards": gallery(outcome, systems),
        "alone": len(systems) == 1,
        "quads": any(len(case.pictures) > 1 < len(case.texts) for case in outcome.cases),
    }


def _cell(one: Mapping[str, Any]) -> dict[str, Any]:
    """Cell of a number, with the ends of its whisker in percent of the scale: shares from 0 to 1, effect sizes from -2 to 2."""
    low, width = (-2.0, 4.0) if one["best"] == 0 else (0.0, 1.0)
    places = {name: one[name] for name in ("value", "low", "high", "chance")}
    drawn = {
        f"{name}_at": None if value is None else round(100 * min(1.0, max(0.0, (value - low) / width)), 2)
        for name, value in places.items()
    }
    return {**one, **drawn}


def _scale(rows: Sequence[Mapping[str, Any]]) -> str:
    return "from −2 to 2" if rows and rows[0]["best"] == 0 else "from 0 to 1"


def _cost(name: str, costs: Mapping[str, Any]) -> dict[str, Any]:
    cost = dict(costs["cost"][name])
    decisions, seconds = cost.pop("decisions"), cost.pop("seconds")
    each = ", ".join(f"{count / decisions:.3g} {what}" for what, count in cost.items() if count)
    return {"name": name, "way": costs["ways"][name], "time": duration(seconds / decisions), "each": each}


@cache
def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters.update(number=number, p=p_value)
    return environment.from_string((PAGE / "bench.html.jinja").read_text("utf-8"))


def number(value: float | None, digits: int = 3) -> str:
    """0.96234 -> 0.962, with a true minus sign; None -> a dash."""
    return "–" if value is None else f"{value:.{digits}f}".replace("-", "−")


def duration(seconds: float) -> str:
    """0.0042 -> 4.2 ms."""
    if seconds >= 1:
        return f"{seconds:.3g} s"
    return f"{1000 * seconds:.2g} ms" if seconds >= 1e-4 else "under 0.1 ms"


def p_value(value: float | None) -> str:
    """Format a p-value with three digits, or as a bound."""
    return "–" if value is None else "< 0.001" if value < 0.001 else f"{value:.3f}"
