"""Measure: from scores to numbers, each with its interval, the chance of a blind judge, and the best that can be had.

"published" counts as the released code does (artefacts included), "sound" shares the credit of ties as if they were
broken at random. Does not know: where the scores come from.

I pictures, T texts of a case; a grid holds its scores [I T], higher is better.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import permutations
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pairloom.bench._case import Case
from pairloom.metrics.compare import Interval, bootstrap, wilson
from pairloom.metrics.rank import ranks
from pairloom.metrics.strata import macro

Floats = NDArray[np.float64]
Kind = Literal["sound", "published"]
Won = Callable[[Floats], bool]


@dataclass(frozen=True)
class Measure:
    """One number of one system on one benchmark. keys and values: of each case, where it is a mean of such.

    groups, strata: as the interval was taken. p: of "there is no effect", where that was tested. headline: the number
    that systems are compared by. halves: of an effect size, the associations of both groups' pictures, in the order of the
    files.
    """

    name: str
    kind: Kind
    interval: Interval
    count: int
    chance: float
    best: float = 1.0
    headline: bool = False
    p: float | None = None
    note: str = ""
    keys: tuple[str, ...] = ()
    values: tuple[float, ...] = field(default=(), repr=False)
    groups: tuple[str, ...] = field(default=(), repr=False)
    strata: tuple[str, ...] = field(default=(), repr=False)
    halves: tuple[tuple[float, ...], ...] = field(default=(), repr=False)


def interval_of(values: ArrayLike, groups: Sequence[str], strata: Sequence[str] = ()) -> Interval:
    """The mean, or the mean of class means, with its bootstrap interval."""
    units = np.asarray(groups)
    return macro(values, np.asarray(strata), units) if strata else bootstrap(values, units)


def mean_of(
    name: str,
    kind: Kind,
    cases: Sequence[Case],
    values: ArrayLike,
    chance: float,
    headline: bool = False,
    strata: Sequence[str] = (),
    note: str = "",
) -> Measure:
    """A measure that is a mean over cases: pictures are resampled, within classes where there are `strata`. Where all
    cases are right, or all wrong, resampling says nothing, and Wilson's interval stands in."""
    groups = tuple(case.group or case.key for case in cases)
    interval = interval_of(values, groups, strata)
    if interval.low == interval.high and interval.value in (0.0, 1.0):
        interval = wilson(interval.value * len(set(groups)), len(set(groups)))
    return Measure(
        name, kind, interval, len(cases), chance, headline=headline, note=note,
        keys=tuple(case.key for case in cases), values=tuple(map(float, np.asarray(values))), groups=groups,
        strata=tuple(strata),
    )  # fmt: skip


def options(
    cases: Sequence[Case], grids: Sequence[Floats]
) -> tuple[Floats, NDArray[np.int64], NDArray[np.int64]]:
    """Cases with one right candidate among C as a table: scores [n C] (-inf where a case has fewer), which one is right
    [n], how many there are [n]."""
    rows = [grid.ravel() for grid in grids]
    table = np.full((len(rows), max(map(len, rows))), -np.inf)
    for row, scores in zip(table, rows):
        row[: len(scores)] = scores
    right = np.array([case.right[0][0] * len(case.texts) + case.right[0][1] for case in cases])
    return table, right, np.array([len(row) for row in rows])


def top(
    k: int,
    name: str,
    cases: Sequence[Case],
    grids: Sequence[Floats],
    headline: bool = False,
    strata: Sequence[str] = (),
    note: str = "",
) -> Measure:
    """Sound: the right candidate among the first k, ties in random order. k = 1 is the accuracy of a choice."""
    table, right, counts = options(cases, grids)
    chance = _mean(np.minimum(k, counts) / counts, strata)
    return mean_of(name, "sound", cases, ranks(table, right).hits(k), chance, headline, strata, note)


def top_as_published(
    k: int,
    name: str,
    cases: Sequence[Case],
    grids: Sequence[Floats],
    strata: Sequence[str] = (),
    note: str = "",
) -> Measure:
    """As the released code counts: argmax for k = 1, so that a tie goes to the first candidate (often the right one);
    for k > 1 the last k of an ascending stable sort, so that there it goes against it."""
    table, right, counts = options(cases, grids)
    if k == 1:
        values = table.argmax(1) == right
    else:
        values = (np.argsort(table, 1, kind="stable")[:, -k:] == right[:, None]).any(1)
    chance = _mean(np.minimum(k, counts) / counts, strata)
    return mean_of(name, "published", cases, values.astype(float), chance, strata=strata, note=note)


def _mean(values: Floats, strata: Sequence[str]) -> float:
    return macro(values, np.asarray(strata), resamples=1).value if strata else float(values.mean())


def expected(won: Won, grid: Floats) -> float:
    """The probability that won(grid) holds when ties are broken at random: over all orders of the cells.

    For a handful of cells; without ties it is won(grid) itself.
    """
    flat = grid.ravel()
    if len(set(flat.tolist())) == len(flat):
        return float(won(grid))
    orders = list(permutations(range(len(flat))))
    places = (np.lexsort((np.array(order), flat)).argsort() for order in orders)
    return float(np.mean([won(place.reshape(grid.shape).astype(float)) for place in places]))


def text_right(grid: Floats) -> bool:
    """Each picture [2] prefers its own text [2]."""
    return bool(grid[0, 0] > grid[0, 1] and grid[1, 1] > grid[1, 0])


def image_right(grid: Floats) -> bool:
    """Each text prefers its own picture."""
    return bool(grid[0, 0] > grid[1, 0] and grid[1, 1] > grid[0, 1])


def group_right(grid: Floats) -> bool:
    """Both."""
    return text_right(grid) and image_right(grid)


def all_above(grid: Floats) -> bool:
    """Every text but the last is above the last."""
    return bool((grid[0, :-1] > grid[0, -1]).all())


QUADS = {"text": (text_right, 1 / 4), "image": (image_right, 1 / 4), "group": (group_right, 1 / 6)}


def quads(
    cases: Sequence[Case], grids: Sequence[Floats], headline: Sequence[str] = ("group",)
) -> list[Measure]:
    """Text, image and group score of cases with two pictures and two texts: sound, then with strict inequalities."""
    measures = []
    for name, (won, chance) in QUADS.items():
        credit = [expected(won, grid) for grid in grids]
        measures.append(mean_of(f"{name} score", "sound", cases, credit, chance, name in headline))
    for name, (won, chance) in QUADS.items():
        strict = [float(won(grid)) for grid in grids]
        measures.append(
            mean_of(f"{name} score", "published", cases, strict, chance, note="strict inequalities")
        )
    return measures


def by_tag(measure: Measure, cases: Sequence[Case]) -> list[Measure]:
    """The same measure within each class of cases that it counted."""
    tags = {case.key: case.tag for case in cases}
    value = dict(zip(measure.keys, measure.values))
    measures = []
    for tag in dict.fromkeys(tags[key] for key in measure.keys):
        inside = [case for case in cases if case.tag == tag and case.key in value]
        values = [value[case.key] for case in inside]
        measures.append(mean_of(f"{measure.name}, {tag}", measure.kind, inside, values, measure.chance))
    return measures
