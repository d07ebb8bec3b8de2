"""Measures of benchmarks: numbers from scores, each with its interval, its chance level and its best possible value.

"published" counts as the released code does, artefacts included; "sound" counts ties as if they were broken at random.

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
    """A measure: one number of one system on one benchmark. keys, values: of each case, where the number is a mean over cases.

    groups, strata: of the interval's resampling. p: of "there is no effect", where that is tested. headline: whether systems
    are compared by this number. halves: of an effect size, the associations of both groups' pictures, in the order of the
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
    """Bootstrap interval of the mean, or of the mean of class means."""
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
    """Measure that is a mean over cases. Pictures are resampled for its interval, within classes where there are `strata`.
    Where all cases are right, or all wrong, the interval is Wilson's, since the bootstrap's would be empty."""
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
    """Table of cases with one right candidate among C: scores [n C] (-inf where a case has fewer), index of the right one [n],
    number of candidates [n]."""
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
    """Sound R@k: the right candidate is among the first k, ties in random order. For k = 1 it is the accuracy."""
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
    """Published R@k, as the released code counts: argmax for k = 1, so that a tie goes to the first candidate (often the right
    one); for k > 1 the last k of an ascending stable sort, where a tie goes against the first."""
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
    """Probability that won(grid) is true when ties are broken at random, by enumeration of all orders of tied cells.

    For grids of a few cells; without ties it is won(grid) itself.
    """
    flat = grid.ravel()
    if len(set(flat.tolist())) == len(flat):
        return float(won(grid))
    orders = list(permutations(range(len(flat))))
    places = (np.lexsort((np.array(order), flat)).argsort() for order in orders)
    return float(np.mean([won(place.reshape(grid.shape).astype(float)) for place in places]))


def text_right(grid: Floats) -> bool:
    """Text score of Winoground: each picture [2] has the higher score with its own text [2]."""
    return bool(grid[0, 0] > grid[0, 1] and grid[1, 1] > grid[1, 0])


def image_right(grid: Floats) -> bool:
    """Image score of Winoground: each text has the higher score with its own picture."""
    return bool(grid[0, 0] > grid[1, 0] and grid[1, 1] > grid[0, 1])


def group_right(grid: Floats) -> bool:
    """Group score of Winoground: text and image score are both right."""
    return text_right(grid) and image_right(grid)


def all_above(grid: Floats) -> bool:
    """Whether every text except the last has a higher score than the last."""
    return bool((grid[0, :-1] > grid[0, -1]).all())


QUADS = {"text": (text_right, 1 / 4), "image": (image_right, 1 / 4), "group": (group_right, 1 / 6)}


def quads(
    cases: Sequence[Case], grids: Sequence[Floats], headline: Sequence[str] = ("group",)
) -> list[Measure]:
    """Winoground's text, image and group score of cases with two pictures and two texts: sound, then published, with strict
    inequalities."""
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
    """The measure within each class of its cases."""
    tags = {case.key: case.tag for case in cases}
    value = dict(zip(measure.keys, measure.values))
    measures = []
    for tag in dict.fromkeys(tags[key] for key in measure.keys):
        inside = [case for case in cases if case.tag == tag and case.key in value]
        values = [value[case.key] for case in inside]
        measures.append(mean_of(f"{measure.name}, {tag}", measure.kind, inside, values, measure.chance))
    return measures
