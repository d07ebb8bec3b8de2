"""Scoring of a benchmark's cases, shard by shard, each shard on disk as soon as it is finished.

The name of a shard's file is a hash of its inputs (scorer, cases, pictures), so that a stopped run is resumed, and a system
that was scored before is not scored again. Does not know: measures.
"""

from __future__ import annotations

import json
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from pairloom.bench._case import Case, Picture, Problem
from pairloom.bench._judging import Races, Scorer, Shown
from pairloom.bench._measure import Floats
from pairloom.data.disk import atomic_write
from pairloom.data.pair import content_hash
from pairloom.data.pixels import Unreadable
from pairloom.errors import Mistake
from pairloom.model import read_json

SHARD = 128  # most cases of a shard, with at most PAIRS pairs: the work that a stopped run can lose
PAIRS = 1024
OPENED = (
    64  # pictures without a file of their own (crops, cells of tables) in memory, decoded, of megabytes each
)


@dataclass
class Scored:
    """Scores of the cases. grids: key -> scores [I T]. way: the name of the score. cost: counts of computed items, by name.
    problems: pictures that could not be decoded. cut: texts that the scorer has truncated."""

    way: str = ""
    grids: dict[str, Floats] = field(default_factory=dict)
    cost: dict[str, int] = field(default_factory=dict)
    seconds: float = 0.0
    problems: dict[str, Problem] = field(default_factory=dict)
    cut: set[str] = field(default_factory=set)


def score(
    scorer: Callable[[], Scorer],
    mark: str,
    cases: Sequence[Case],
    root: Path,
    folder: Path,
    tell: Callable[[int], None] = lambda done: None,
) -> Scored:
    """Score every case, from the shards in `folder` or by the scorer, which is built when it is first needed.

    mark: identifies the scorer. tell(cases done) is called after each shard. Mistake where a score is not a number.
    """
    scored = Scored()
    for shard in _shards(cases):
        file = folder / f"{_name(mark, shard, root)}.json"
        part = read_json(file)
        if "grids" not in part:
            part = _score_shard(scorer(), shard, root)
            with atomic_write(file, replace=True) as target:
                target.write(json.dumps(part).encode())
        scored.grids |= {key: np.array(rows, dtype=np.float64) for key, rows in part["grids"].items()}
        scored.way = part["way"]
        scored.cut |= set(part["cut"])
        for name, count in part["cost"].items():
            scored.cost[name] = scored.cost.get(name, 0) + count
        scored.seconds += part["seconds"]
        for entry in part["problems"]:
            before = scored.problems.get(entry["file"])
            entry["cases"] += before.cases if before else 0
            scored.problems[entry["file"]] = Problem(**entry)
        tell(len(shard))
    return scored


def finished(mark: str, cases: Sequence[Case], root: Path, folder: Path) -> int:
    """Number of the cases that an earlier run has scored."""
    return sum(
        len(shard) for shard in _shards(cases) if (folder / f"{_name(mark, shard, root)}.json").is_file()
    )


def _shards(cases: Sequence[Case]) -> Iterator[Sequence[Case]]:
    shard: list[Case] = []
    held = np.zeros(3, dtype=int)
    for case in cases:
        opened = sum(bool(one.box or one.cell) for one in _pictures([case]))
        more = np.array([1, len(case.pictures) * len(case.texts), opened])
        if shard and (held + more > (SHARD, PAIRS, OPENED)).any():
            yield shard
            shard, held = [], np.zeros(3, dtype=int)
        shard.append(case)
        held = held + more
    if shard:
        yield shard


def _name(mark: str, shard: Sequence[Case], root: Path) -> str:
    """Hash of the scorer and its inputs; a picture counts by its name, size and time."""
    paths = sorted({one.path for one in _pictures(shard)})
    files = [(os.path.relpath(path, root), path.stat().st_size, path.stat().st_mtime_ns) for path in paths]
    settings = [
        (case.key, case.texts, [(one.name(root), getattr(one, "box", None)) for one in case.pictures])
        for case in shard
    ]
    return content_hash(mark.encode(), repr(files).encode(), repr(settings).encode())


def _score_shard(scorer: Scorer, shard: Sequence[Case], root: Path) -> dict[str, Any]:
    before, began = dict(scorer.cost), time.perf_counter()
    problems: list[Problem] = []
    try:
        grids = _ask(scorer, shard)
    except (Unreadable, OSError, Mistake):
        problems = broken(shard, root)
        if not problems:
            raise
        bad = {problem.file for problem in problems}
        shard = [case for case in shard if not any(one.name(root) in bad for one in case.pictures)]
        grids = _ask(scorer, shard) if shard else {}
    return {
        "way": scorer.way,
        "cut": sorted(set(getattr(scorer, "cut", ())) & {text for case in shard for text in case.texts}),
        "grids": grids,
        "problems": [asdict(problem) for problem in problems],
        "cost": {name: count - before.get(name, 0) for name, count in scorer.cost.items()},
        "seconds": time.perf_counter() - began,
    }


def _ask(scorer: Scorer, shard: Sequence[Case]) -> dict[str, list[list[float]]]:
    """Score all pairs of the shard in one call, with every picture and text once; a racing scorer decides the cases that can be
    raced."""
    pictures = list(dict.fromkeys(picture for case in shard for picture in case.pictures))
    texts = list(dict.fromkeys(text for case in shard for text in case.texts))
    image_at = {picture: at for at, picture in enumerate(pictures)}
    text_at = {text: at for at, text in enumerate(texts)}
    tables = {
        case.key: [[(image_at[p], text_at[t]) for t in case.texts] for p in case.pictures] for case in shard
    }
    shown: list[Shown] = [picture.shown() for picture in pictures]
    raced = [case.key for case in shard if isinstance(scorer, Races) and _is_race(case)]
    grids: dict[str, list[list[float]]] = {}
    if raced and isinstance(scorer, Races):
        grids |= zip(raced, scorer.race(shown, texts, [tables[key] for key in raced]), strict=True)
    pairs = list(
        dict.fromkeys(pair for key in tables if key not in grids for row in tables[key] for pair in row)
    )
    if pairs:
        scores = np.asarray(scorer.scores(shown, texts, pairs), dtype=np.float64)
        score = dict(zip(pairs, scores.tolist(), strict=True))
        grids |= {
            key: [[score[pair] for pair in row] for row in tables[key]] for key in tables if key not in grids
        }
    bad = [key for key, grid in grids.items() if not np.isfinite(np.array(grid)).all()]
    if bad:
        raise Mistake(
            f"A score by {scorer.way} is not a number.",
            f"Case {bad[0]} has {grids[bad[0]]}.",
            "The weights may be damaged, or too large for half precision.",
        )
    return {key: grids[key] for key in tables}


def _is_race(case: Case) -> bool:
    """Whether a case can be raced: one right pair among several pictures or texts, or two pictures with two texts."""
    sides = len(case.pictures), len(case.texts)
    alone = len(case.right) == 1 and min(sides) == 1 < max(sides)
    return alone or (sides == (2, 2) and case.right == ((0, 0), (1, 1)))


def broken(shard: Sequence[Case], root: Path) -> list[Problem]:
    """Pictures of a shard that cannot be decoded, with the reason and the number of their cases."""
    shows = Counter(one for case in shard for one in {_whole(one) for one in _pictures([case])})
    problems = []
    for one, count in sorted(shows.items(), key=lambda item: item[0].name(root)):
        try:
            one.open()
        except (Unreadable, OSError) as error:
            problems.append(Problem(one.name(root), str(error), count))
    return problems


def _pictures(shard: Sequence[Case]) -> list[Picture]:
    return [one for case in shard for one in case.pictures if isinstance(one, Picture)]


def _whole(one: Picture) -> Picture:
    return Picture(one.path, cell=one.cell)
