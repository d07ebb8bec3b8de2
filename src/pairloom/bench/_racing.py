"""Scorer that decides cases by races of a diffusion model (tasks/race.py), which stop as soon as a decision is certain.

The winner of a race has a bounded probability of error; the other candidates are ordered only by the number of their rounds.
R@1, accuracy and Winoground's scores are therefore valid, while R@5 is approximate.


I pictures, T texts of a case.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import permutations

import numpy as np
from numpy.typing import NDArray

from pairloom.bench._judging import Shown
from pairloom.errors import Mistake
from pairloom.tasks.denoise import DenoisingScorer, decide
from pairloom.tasks.race import Decision

Pair = tuple[int, int]
Table = Sequence[Sequence[Pair]]  # of one case: (picture, text) of every cell [I T]
Grid = list[list[float]]


class Racing:
    """Racing scorer. delta: for each race, the probability of another winner than that of all steps."""

    def __init__(self, scorer: DenoisingScorer, delta: float) -> None:
        if not 0 < delta < 1:
            raise Mistake(
                f"--race {delta:g} is no probability.", "It must be between 0 and 1.", "Try --race 0.05."
            )
        self.scorer, self.delta = scorer, delta

    @property
    def way(self) -> str:
        return f"{self.scorer.way}, raced to {self.delta:g}"

    @property
    def cost(self) -> dict[str, int]:
        return self.scorer.cost

    @property
    def cut(self) -> list[str]:
        return self.scorer.cut

    def scores(self, images: Sequence[Shown], texts: Sequence[str], pairs: Sequence[Pair]) -> np.ndarray:
        """Scores [M] by all steps, for cases that cannot be decided by a race."""
        return self.scorer.scores(images, texts, pairs)  # type: ignore[arg-type]

    def race(self, images: Sequence[Shown], texts: Sequence[str], tables: Sequence[Table]) -> list[Grid]:
        """Grids of ranks for the cases, higher is better, equal for ties. A case has one picture, one text, or two of both. The
        rows and columns of the last kind are four races; where these contradict each other, the case is scored by all steps."""
        contests = [line for table in tables for line in _lines(table)]
        outcomes = iter(decide(self.scorer, images, texts, contests, delta=self.delta))  # type: ignore[arg-type]
        grids: list[Grid] = []
        for table in tables:
            decisions = [next(outcomes) for _ in _lines(table)]
            grid = _of_four(decisions) if len(decisions) == 4 else _of_one(decisions[0], table)
            if grid is None:
                cells = [pair for row in table for pair in row]
                grid = self.scores(images, texts, cells).reshape(2, 2)
            grids.append(grid.tolist())
        return grids


def _lines(table: Table) -> list[list[Pair]]:
    """Races of a case: one of all its cells, or both rows and both columns."""
    if len(table) == 2 and len(table[0]) == 2:
        return [*(list(row) for row in table), *([row[at] for row in table] for at in (0, 1))]
    return [[pair for row in table for pair in row]]


def _of_one(decision: Decision, table: Table) -> NDArray[np.float64]:
    """Ranks of a race: the winner and its ties, then by the number of rounds, then by the mean score."""
    order = np.lexsort((decision.scores, decision.rounds))
    places = np.empty(len(order))
    places[order] = np.arange(len(order))
    places[[decision.winner, *decision.ties]] = len(order)
    return places.reshape(len(table), -1)


def _of_four(decisions: Sequence[Decision]) -> NDArray[np.float64] | None:
    """Ranks of four cells that agree with the races of both rows and both columns; None where there are none, or a race ended
    in a tie."""
    if any(decision.ties for decision in decisions):
        return None
    won = [decision.winner for decision in decisions]
    for order in permutations(range(4)):
        grid = np.array(order, dtype=np.float64).reshape(2, 2)
        if [*grid.argmax(1), *grid.argmax(0)] == won:
            return grid
    return None
