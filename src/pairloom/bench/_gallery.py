"""Gallery of a benchmark: the cases on which systems disagree most, or, for a single system, its most certain errors."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from pairloom.bench._case import Case, Picture, Words
from pairloom.bench._measure import Floats
from pairloom.bench._results import BenchmarkResult
from pairloom.data.pixels import Unreadable

SIDE = 132  # pixels of a thumbnail
SHOWN = 6  # most texts of a card: the right ones and every system's favourites
CARDS = 8  # of a benchmark


@dataclass(frozen=True)
class Card:
    """Card of a case. verdicts: (system, right or not, in words). texts, pictures: (content, whether it is right, the systems
    whose favourite it is)."""

    key: str
    tag: str
    verdicts: tuple[tuple[str, float], ...]
    pictures: tuple[
        tuple[str, bool, str], ...
    ]  # content: the data URL of a thumbnail, or the text in its place
    texts: tuple[tuple[str, bool, str], ...]


def gallery(outcome: BenchmarkResult, systems: Sequence[str]) -> list[Card]:
    """Choose at most CARDS cases, each system's wins in turn; empty for benchmarks without values of single cases (bias)."""
    credit = {system: _credit(outcome, system) for system in systems}
    keys = [case.key for case in outcome.cases if all(case.key in credit[system] for system in systems)]
    if not keys:
        return []
    if len(systems) == 1:
        margin = _margins(outcome, systems[0])
        wrong = [key for key in keys if credit[systems[0]][key] == 0]
        chosen = sorted(wrong, key=lambda key: -margin[key])[:CARDS]
    else:
        chosen = _disagreements(outcome, systems, credit, keys)
    cases = {case.key: case for case in outcome.cases}
    return [_card(outcome, cases[key], systems, credit) for key in chosen]


def _credit(outcome: BenchmarkResult, system: str) -> dict[str, float]:
    credits: dict[str, float] = {}
    for one in outcome.headlines(system):
        credits.update(zip(one.keys, one.values))
    return credits


def _disagreements(
    outcome: BenchmarkResult, systems: Sequence[str], credit: dict[str, dict[str, float]], keys: Sequence[str]
) -> list[str]:
    """Cases that one system has right and another wrong: the most certain ones of each winner, winners in turn."""
    wins: dict[str, list[str]] = {system: [] for system in systems}
    for key in keys:
        values = [credit[system][key] for system in systems]
        if max(values) - min(values) > 0.5:
            wins[systems[int(np.argmax(values))]].append(key)
    for system, won in wins.items():
        margin = _margins(outcome, system)
        won.sort(key=margin.__getitem__)  # the largest margins first
    longest = max(map(len, wins.values()))
    turns = [won[at] for at in range(longest) for won in wins.values() if at < len(won)]
    return turns[:CARDS]


def _margins(outcome: BenchmarkResult, system: str) -> dict[str, float]:
    """Error margin of each case: the best wrong pair's score minus the best right one's, in standard deviations of the system's
    scores; where all pairs are right, or none, the distance of the case's mean from the mean of all."""
    grids = outcome.scored[system].grids
    every = np.concatenate([grid.ravel() for grid in grids.values()])
    middle, spread = float(every.mean()), float(every.std()) or 1.0
    margins = {}
    for case in outcome.cases:
        grid = grids[case.key]
        right = _right(case, grid)
        if right.any() and not right.all():
            gap = float(grid[~right].max() - grid[right].max())
        else:
            gap = abs(float(grid.mean()) - middle)
        margins[case.key] = gap / spread
    return margins


def _right(case: Case, grid: Floats) -> np.ndarray:
    right = np.zeros(grid.shape, dtype=bool)
    for at in case.right:
        right[at] = True
    return right


def _card(
    outcome: BenchmarkResult, case: Case, systems: Sequence[str], credit: dict[str, dict[str, float]]
) -> Card:
    grids = {system: outcome.scored[system].grids[case.key] for system in systems}
    images, texts = len(case.pictures) > 1, len(case.texts) > 1
    liked: dict[tuple[str, int], list[str]] = {}
    for system, grid in grids.items():
        if images and not texts:
            liked.setdefault(("image", int(grid[:, 0].argmax())), []).append(system)
        elif texts and not images:
            liked.setdefault(("text", int(grid[0].argmax())), []).append(system)
        elif images:
            for at in range(len(case.pictures)):
                label = f"{system}: {' and '.join(str(t + 1) for t in np.flatnonzero(grid[at] == grid[at].max()))}"
                liked.setdefault(("image", at), []).append(label)
    right = ({i for i, _ in case.right}, {t for _, t in case.right})
    order = sorted(range(len(case.texts)), key=lambda t: (t not in right[1], ("text", t) not in liked))[
        :SHOWN
    ]
    return Card(
        case.key, case.tag, tuple((system, credit[system][case.key]) for system in systems),
        tuple(
            (thumbnail(one), images and not texts and at in right[0], ", ".join(liked.get(("image", at), ())))
            for at, one in enumerate(case.pictures)
        ),
        tuple(
            (case.texts[t], t in right[1] and (not images or not texts), ", ".join(liked.get(("text", t), ())))
            for t in (sorted(order) if images and texts else order)
        ),
    )  # fmt: skip


def thumbnail(picture: Picture | Words) -> str:
    """Data URL of a thumbnail, "" where the picture cannot be decoded; or the text in its place."""
    if isinstance(picture, Words):
        return picture.text
    try:
        image = picture.open()
    except (Unreadable, OSError):
        return ""
    image.thumbnail((SIDE, SIDE), Image.Resampling.BICUBIC)
    buffer = io.BytesIO()
    image.save(buffer, "WEBP", quality=80)
    return "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
