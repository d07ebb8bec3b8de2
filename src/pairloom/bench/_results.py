"""Results of a benchmark run: scores, measures, comparisons and facts of all systems on all benchmarks, as JSON with which a
later run can be compared.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import combinations
from pathlib import Path
from types import ModuleType
from typing import Any

import pairloom
from pairloom.bench import _compare
from pairloom.bench._case import Case, Cases, choose
from pairloom.bench._compare import Comparison
from pairloom.bench._judging import Make, Random
from pairloom.bench._measure import Floats, Measure
from pairloom.bench._scoring import Scored, finished, score
from pairloom.bench._wording import Wording
from pairloom.data.disk import atomic_write
from pairloom.data.pair import content_hash
from pairloom.errors import Mistake
from pairloom.model import read_json

Tell = Callable[..., None]  # step, cases done, of how many; note
BLIND = ("text only", "image only")
WORDING, RANDOM = "wording", "random"


@dataclass(frozen=True)
class Entrant:
    """A system of a run. mark: its fingerprint. make: builds its scorer (under "") and its blind baselines, when needed. deaf:
    a note about settings that do not apply to it."""

    name: str
    mark: str
    make: Make
    blind: bool = True
    deaf: str = ""

    @property
    def names(self) -> list[str]:
        """Names of its rows: its own and those of its blind baselines."""
        return [self.name, *(f"{self.name}, {way}" for way in BLIND if self.blind)]


@dataclass
class BenchmarkResult:
    """Results of one benchmark: its cases, and the grids, measures and cost of each system, blind baselines included."""

    name: str
    claim: str
    root: Path
    read: Cases
    cases: tuple[Case, ...]
    scored: dict[str, Scored] = field(default_factory=dict)
    ways: dict[str, str] = field(default_factory=dict)
    measures: dict[str, list[Measure]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def grids(self, system: str) -> list[Floats]:
        return [self.scored[system].grids[case.key] for case in self.cases]

    def headlines(self, system: str) -> list[Measure]:
        """The headline measures of a system, by which systems are compared."""
        return [one for one in self.measures[system] if one.headline]


def prepare(name: str, module: ModuleType, root: Path, limit: int) -> BenchmarkResult:
    """Read the cases of a benchmark, at most `limit`, and note how much its texts alone tell."""
    read = module.read(root)
    outcome = BenchmarkResult(name, module.CLAIM, root, read, choose(read.cases, limit))
    outcome.notes = [*read.notes, *_said_of(outcome.cases)]
    return outcome


def _said_of(cases: Sequence[Case]) -> Iterator[str]:
    """Notes on the difficulty of a benchmark from its texts alone."""
    several = [case for case in cases if len(case.texts) > 1]
    same = sum(len({tuple(sorted(_words(text))) for text in case.texts}) == 1 for case in several)
    if same:
        yield (
            f"in {same:,} of {len(several):,} cases the texts are the same words in another order: a system that ignores "
            "order is at chance there"
        )


def _words(text: str) -> list[str]:
    return "".join(letter if letter.isalnum() else " " for letter in text.lower()).split()


def run(
    modules: Mapping[str, ModuleType],
    outcomes: Sequence[BenchmarkResult],
    entrants: Sequence[Entrant],
    folder: Path,
    tell: Tell,
) -> None:
    """Score and measure: systems one after the other, so that one model at a time is in memory; then the baselines without a
    model."""
    chance = Entrant(RANDOM, RANDOM, lambda: {"": Random()}, blind=False)
    for entrant in (*entrants, chance):
        _score(entrant, outcomes, folder, tell)
    for outcome in outcomes:
        if any(entrant.blind for entrant in entrants):
            _judge_wording(outcome, folder)
    for outcome in outcomes:
        _finish(outcome, modules[outcome.name])


def _judge_wording(outcome: BenchmarkResult, folder: Path) -> None:
    """Score the wording baseline, which reads texts alone; its mark contains all texts, since its scores depend on them."""
    texts = content_hash(repr([case.texts for case in outcome.cases]).encode())
    outcome.scored[WORDING] = score(
        lambda: Wording(outcome.cases),
        f"{pairloom.__version__} {WORDING} {texts}",
        outcome.cases,
        outcome.root,
        folder / outcome.name,
    )
    outcome.ways[WORDING] = outcome.scored[WORDING].way


def _silent(*arguments: Any) -> None:
    """A `tell` that shows no progress."""


def _score(entrant: Entrant, outcomes: Sequence[BenchmarkResult], folder: Path, tell: Tell) -> None:
    """Score one system and its blind baselines on all benchmarks; first report what an earlier run has scored."""
    held: dict[str, Any] = {}

    def scorer_of(kind: str) -> Any:
        if not held:
            held.update(entrant.make())
        return held[kind]

    jobs = [(one, name, kind) for one in outcomes for name, kind in zip(entrant.names, ("", *BLIND))]
    marks = {kind: f"{pairloom.__version__} {entrant.mark} {kind}" for kind in ("", *BLIND)}
    there = [finished(marks[kind], one.cases, one.root, folder / one.name) for one, _, kind in jobs]
    if sum(there):
        total = sum(len(one.cases) for one, *_ in jobs)
        tell(
            entrant.name, sum(there), total, note=f"{sum(there):,} of {total:,} scores of cases already done"
        )
    for (outcome, name, kind), before in zip(jobs, there):
        step, total = f"{outcome.name}: {name}", len(outcome.cases)
        say = _silent if before == total else tell
        say(step, 0, total)
        outcome.scored[name] = score(
            lambda kind=kind: scorer_of(kind),  # type: ignore[misc]
            marks[kind],
            outcome.cases,
            outcome.root,
            folder / outcome.name,
            lambda done, say=say, step=step, total=total: say(step, done, total),  # type: ignore[misc]
        )
        outcome.ways[name] = outcome.scored[name].way


def _finish(outcome: BenchmarkResult, module: ModuleType) -> None:
    """Compute the measures on the cases that every system has scored (those with a broken picture are left out for all)."""
    common = set.intersection(*(set(one.grids) for one in outcome.scored.values()))
    outcome.cases = tuple(case for case in outcome.cases if case.key in common)
    if not outcome.cases:
        raise Mistake(f"No case of {outcome.name} is left.", "None of its pictures can be decoded.")
    for name, one in outcome.scored.items():
        if one.cut:
            outcome.notes.append(f"{name} reads only the beginning of {len(one.cut):,} texts")
        outcome.measures[name] = module.measures(outcome.cases, outcome.grids(name))
    if not all(outcome.measures.values()):
        outcome.notes.append("too few cases for any number")


def problems(outcome: BenchmarkResult) -> list[dict[str, Any]]:
    """Files that could not be used, by name: missing ones, then those that could not be decoded."""
    late = {name: problem for one in outcome.scored.values() for name, problem in one.problems.items()}
    return [asdict(problem) for problem in (*outcome.read.problems, *late.values())]


def comparisons(outcomes: Sequence[BenchmarkResult], systems: Sequence[str]) -> list[Comparison]:
    """Compare every two systems on every headline measure and on every effect size, with Holm's correction over all
    comparisons of each kind."""
    pairs = [(outcome, new, old) for outcome in outcomes for new, old in combinations(systems, 2)]
    rows = [row for pair in pairs for row in _pairs(*pair)]
    return _compare.adjusted(rows) + _compare.adjusted([row for pair in pairs for row in _effects(*pair)])


def sightedness(outcomes: Sequence[BenchmarkResult], entrants: Sequence[Entrant]) -> list[Comparison]:
    """Compare every system with its own blind baselines and with the wording baseline. A number that a baseline reaches is no
    evidence that the system uses picture and text."""
    rows = []
    for outcome in outcomes:
        for entrant in entrants:
            for blind in (*entrant.names[1:], *([WORDING] if entrant.blind else [])):
                rows += list(_pairs(outcome, entrant.name, blind))
    return _compare.adjusted(rows)


def _pairs(outcome: BenchmarkResult, new: str, old: str) -> Iterator[Comparison]:
    for one, two in zip(outcome.headlines(new), outcome.headlines(old)):
        row = _compare.compare(outcome.name, new, old, one, two)
        if row is not None:
            yield row


def _effects(outcome: BenchmarkResult, new: str, old: str) -> Iterator[Comparison]:
    for one, two in zip(outcome.measures[new], outcome.measures[old]):
        if one.halves:
            yield _compare.compare_effects(outcome.name, new, old, one, two)


def document(
    outcomes: Sequence[BenchmarkResult],
    entrants: Sequence[Entrant],
    facts: Mapping[str, Any],
    earlier: Mapping[str, Any],
) -> dict[str, Any]:
    """The content of results.json: facts of the run, then each benchmark with its numbers, cost, problems and the values of its
    cases."""
    later = [
        row
        for outcome in outcomes
        for row in _compare.with_earlier(
            outcome.name,
            {name.name: outcome.measures[name.name] for name in entrants},
            questions(outcome),
            earlier,
        )
    ]
    remarks = [entrant.deaf for entrant in entrants if entrant.deaf]
    if any(", raced to " in way for outcome in outcomes for way in outcome.ways.values()):
        remarks.append(
            "in races only the first place is certain; the order of the others (R@5) is approximate"
        )
    if earlier and not later:
        remarks.append("the earlier run has none of these cases, so there is nothing to compare with it")
    return {
        "pairloom": pairloom.__version__,
        "bench": {**facts, "remarks": remarks},
        "systems": {entrant.name: {"mark": entrant.mark} for entrant in entrants},
        "benchmarks": {outcome.name: _summary(outcome) for outcome in outcomes},
        "comparisons": [
            _row(row) for row in comparisons(outcomes, [entrant.name for entrant in entrants])
        ],
        "blind": [_row(row) for row in sightedness(outcomes, entrants)],
        "earlier": [_row(row) for row in _compare.adjusted(later)],
    }  # fmt: skip


def questions(outcome: BenchmarkResult) -> dict[str, str]:
    """Hashes of the cases' contents (texts, and names of pictures) by the name of the case, so that a later run compares equal
    cases."""
    texts_by_image = {}
    for case in outcome.cases:
        shown = [one.name(outcome.root) for one in case.pictures]
        texts_by_image[case.key] = content_hash(repr((case.texts, shown, case.right)).encode())[:10]
    return texts_by_image


def _summary(outcome: BenchmarkResult) -> dict[str, Any]:
    decided = len(outcome.cases)
    return {
        "claim": outcome.claim,
        "rows": outcome.read.rows,
        "cases": decided,
        "tags": dict(Counter(case.tag for case in outcome.cases)),
        "notes": outcome.notes,
        "problems": problems(outcome),
        "ways": outcome.ways,
        "measures": {name: [_number(one) for one in rows] for name, rows in outcome.measures.items()},
        "cost": {
            name: {"decisions": decided, "seconds": round(one.seconds, 3), **one.cost} for name, one in outcome.scored.items()
        },
        "questions": questions(outcome),
        "values": {
            name: {one.name: dict(zip(one.keys, one.values)) for one in outcome.headlines(name)}
            for name in outcome.measures
            if name != RANDOM
        },
    }  # fmt: skip


def _number(one: Measure) -> dict[str, Any]:
    number = {
        "name": one.name,
        "kind": one.kind,
        **asdict(one.interval),
        "count": one.count,
        "chance": one.chance,
    }
    number |= {"best": one.best, "headline": one.headline, "p": one.p, "note": one.note}
    return {
        name: None if isinstance(value, float) and math.isnan(value) else value
        for name, value in number.items()
    }


def _row(row: Comparison) -> dict[str, Any]:
    values = {name: value for name, value in vars(row).items() if name != "gap"}
    return {**values, **asdict(row.gap), "verdict": row.verdict}


def write(file: Path, results: Mapping[str, Any]) -> None:
    """Write results.json, atomically."""
    with atomic_write(file, replace=True) as target:
        target.write((json.dumps(results, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode())


def read_earlier(file: Path | None) -> dict[str, Any]:
    """Read an earlier run's results.json; empty for None. Mistake where the file is something else."""
    if file is None:
        return {}
    file = file / "results.json" if file.is_dir() else file
    document = read_json(file)
    if "benchmarks" not in document or "pairloom" not in document:
        raise Mistake(
            f"{file} is no result of `pairloom bench`.", "", "Give the results.json of an earlier --out."
        )
    return document
