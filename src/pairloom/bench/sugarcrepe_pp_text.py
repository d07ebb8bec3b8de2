"""SugarCrepe++, text-only task (Dumpala et al. 2024, arXiv 2406.11171): are two captions of the same meaning nearer to each
other than to a false one that shares more of their words?

Texts are compared with texts, by the cosine of a model's embeddings.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from pairloom.bench._case import Case, CaseReader, Cases, Words, as_released, text_of
from pairloom.bench._measure import Floats, Measure, by_tag, expected, mean_of
from pairloom.bench.sugarcrepe_pp import FIELDS, triples
from pairloom.bench.sugarcrepe_pp import mini as mini_with_pictures
from pairloom.world import Scene

CLAIM = "SugarCrepe++: two captions of one meaning nearer to each other than to a false one (text-only task)"
FOLDERS = ("sugarcrepe_pp", "scpp")
WAY = "cosine"


def read(root: Path) -> Cases:
    """Read SUBSET.json in the root or in data/, as sugarcrepe_pp.py does; pictures are not needed.

    A case compares the two true captions (in the place of pictures) with the second one and the false one.
    """
    reading = CaseReader(root)
    for file, subset, number, row in triples(reading, root):
        with as_released(file, f"entry {number}"):
            one, two, false = (text_of(row[field]) for field in FIELDS)
            right = ((0, 0), (1, 0))
            reading.add(Case(f"{subset}/{number}", (Words(one), Words(two)), (two, false), right, subset))
    cases = reading.finish()
    share = sum(_by_words(case) for case in cases.cases) / len(cases.cases)
    return replace(cases, notes=(*cases.notes, f"by the share of words in common alone: {share:.3f}"))


def nearest(grid: Floats) -> bool:
    """Whether the two true captions are nearer to each other than either is to the false one."""
    return bool(grid[0, 0] > grid[0, 1] and grid[0, 0] > grid[1, 1])


def _by_words(case: Case) -> float:
    words = [set(text.lower().strip(".").split()) for text in (str(case.pictures[0].shown()), *case.texts)]
    alike = [
        len(a & b) / len(a | b) for a, b in ((words[0], words[1]), (words[0], words[2]), (words[1], words[2]))
    ]
    return float(alike[0] > max(alike[1:]))


def measures(cases: Sequence[Case], grids: Sequence[Floats]) -> list[Measure]:
    """Accuracy, macro over the subsets and of each; as published a tie is wrong."""
    tags = [case.tag for case in cases]
    credit = [expected(nearest, grid) for grid in grids]
    measure_rows = mean_of(
        f"TOT, macro over {len(set(tags))} subsets", "sound", cases, credit, 1 / 3, True, tags
    )
    strict = [float(nearest(grid)) for grid in grids]
    as_published = mean_of("TOT", "published", cases, strict, 1 / 3, note="a tie is wrong")
    return [measure_rows, *by_tag(replace(measure_rows, name="TOT"), cases), *by_tag(as_published, cases)]


def mini(out: Path, seed: int, count: int = 25) -> dict[Path, Scene]:
    """Miniature: that of sugarcrepe_pp.py, pictures included."""
    return mini_with_pictures(out, seed, count)
