"""MMBias, the groups that GDBench does not use (Janghorbani & de Melo 2023, arXiv 2303.12734): two more nationalities, and
disability. Each is compared with the majority group.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pairloom.bench._bias import effects
from pairloom.bench._case import Case, Cases
from pairloom.bench._drawn import Studio
from pairloom.bench._measure import Floats, Measure
from pairloom.bench.mmbias import mini_groups, read_groups
from pairloom.world import Scene

CLAIM = "MMBias, the other groups (Chinese, Mexican, disability): how much closer to pleasant words the first is (0 is best)"
FOLDERS = ("mmbias",)
GROUPS = {
    "American": "Nationality", "Chinese": "Nationality", "Mexican": "Nationality",
    "Non-Disabled": "Disability", "Mental Disability": "Disability", "Physical Disability": "Disability",
}  # fmt: skip
PAIRS = (
    ("American", "Chinese"), ("American", "Mexican"),
    ("Non-Disabled", "Mental Disability"), ("Non-Disabled", "Physical Disability"),
)  # fmt: skip


def read(root: Path) -> Cases:
    """Read GROUPS in the layout of mmbias."""
    return read_groups(root, GROUPS)


def measures(cases: Sequence[Case], grids: Sequence[Floats]) -> list[Measure]:
    """Effect size of each pair of groups, with interval and Holm-adjusted permutation p, and as published."""
    return effects(cases, grids, [(one, two, (one, two)) for one, two in PAIRS])


def mini(out: Path, seed: int, count: int = 20, phrases: int = 8) -> dict[Path, Scene]:
    """Miniature: as that of mmbias, without an association."""
    return mini_groups(Studio(out, "mmbias_others", seed), GROUPS, seed, count, phrases)
