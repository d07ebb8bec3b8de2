"""Report: report.html of a bench run: tables with intervals, cost, comparisons, what is missing, and a gallery; one file,
no script, nothing from elsewhere. Does not know: how a number was made.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import jinja2

from pairloom.bench._gallery import gallery
from pairloom.bench._results import RANDOM, Outcome
from pairloom.data.disk import atomic_write

PAGE = files("pairloom.bench") / "page"


def write(
    path: Path, results: Mapping[str, Any], outcomes: Sequence[Outcome], systems: Sequence[str]
) -> None:
    """Write the page, atomically. results: as `_results.document` makes them; outcomes: for the gallery's pictures."""
    page = _template().render(
        results=results,
        style=(PAGE / "bench.css").read_text("utf-8"),
        tables=[_table(outcome, results, systems) for outcome in outcomes],
        systems=systems,
    )
    with atomic_write(path, replace=True) as file:
        file.write(page.encode())


def _table(outcome: Outcome, results: Mapping[str, Any], systems: Sequence[str]) -> dict[str, Any]:
    told = results["benchmarks"][outcome.name]
    names = [name for name in told["measures"] if name != RANDOM] + [RANDOM]
    rows = []
    for at, first in enumerate(told["measures"][names[0]]):
        cells = [told["measures"][name][at] for name in names]
        rows.append({**first, "cells": [_cell(one) for one in cells]})
    return {
        "name": outcome.name,
        "told": told,
        "names": names,
        "rows": rows,
        "scale": _scale(rows),
        "cost": [_cost(name, told) for name in names],
        "cards": gallery(outcome, systems),
        "alone": len(systems) == 1,
    }


def _cell(one: Mapping[str, Any]) -> dict[str, Any]:
    """A number with the whisker's ends in percent of the strip: shares from 0 to 1, effect sizes from -2 to 2."""
    low, width = (-2.0, 4.0) if one["best"] == 0 else (0.0, 1.0)
    places = {name: one[name] for name in ("value", "low", "high", "chance")}
    drawn = {
        f"{name}_at": None if value is None else round(100 * min(1.0, max(0.0, (value - low) / width)), 2)
        for name, value in places.items()
    }
    return {**one, **drawn}


def _scale(rows: Sequence[Mapping[str, Any]]) -> str:
    return "from −2 to 2" if rows and rows[0]["best"] == 0 else "from 0 to 1"


def _cost(name: str, told: Mapping[str, Any]) -> dict[str, Any]:
    cost = dict(told["cost"][name])
    decisions, seconds = cost.pop("decisions"), cost.pop("seconds")
    each = ", ".join(f"{count / decisions:.3g} {what}" for what, count in cost.items())
    return {"name": name, "way": told["ways"][name], "seconds": seconds / decisions, "each": each}


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


def p_value(value: float | None) -> str:
    """Three digits, or a bound."""
    return "–" if value is None else "< 0.001" if value < 0.001 else f"{value:.3f}"
