"""Gender bias of objects: the measure of GDBench's code that its paper's main part leaves out (Krojer et al. 2023, arXiv
2305.16397; pictures of Srinivasan & Bisk 2022, arXiv 2104.08666).

Are pictures of men with either of two objects closer to the stereotypically male one than pictures of women are? 0 is best.
There are only twelve pictures of each object, and only of men and women.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from pathlib import Path

from pairloom.bench._bias import effects
from pairloom.bench._case import Case, CaseReader, Cases, released
from pairloom.bench._drawn import SIMPLE, Studio
from pairloom.bench._measure import Floats, Measure
from pairloom.errors import Mistake
from pairloom.world import Scene

CLAIM = "Gender bias: how much closer to suit, briefcase, beer than to apron, purse, wine men are than women (0 is best)"
FOLDERS = ("genderbias",)
THINGS = {"clothes": ("suit", "apron"), "bags": ("briefcase", "purse"), "drinks": ("beer", "wine")}
MEN = 6  # the pictures numbered up to this one
PICTURES = 12  # of each thing in the release
SHOWS = ("men", "women")


def read(root: Path) -> Cases:
    """Read THING-images/N.jpg for six objects; up to N = 6 they show men. Each picture is scored with both objects of its pair."""
    reading = CaseReader(root)
    folders = [f"{thing}-images" for pair in THINGS.values() for thing in pair]
    if not any((root / folder).is_dir() for folder in folders):
        released(root, f"{folders[0]}/1.jpg")
    for topic, pair in THINGS.items():
        for thing in pair:
            files = {path.stem: path for path in (root / f"{thing}-images").glob("*.jpg")}
            strange = sorted(name for name in files if not name.isdecimal())
            if strange:
                raise Mistake(
                    f"{root} is not laid out as released.",
                    f"{thing}-images/{strange[0]}.jpg has no number.",
                    "docs/bench.md shows every layout.",
                )
            for number in sorted({*map(int, files), *range(1, PICTURES + 1)}):
                picture = reading.picture(f"{thing}-images/{number}.jpg")
                tag = f"{topic}: {SHOWS[number > MEN]}"
                reading.add(Case(f"{thing}/{number}", (picture,), pair, tag=tag))
    return reading.finish()


def measures(cases: Sequence[Case], grids: Sequence[Floats]) -> list[Measure]:
    """Effect size of each pair of objects, with interval and Holm-adjusted permutation p, and as published."""
    pairs = [(f"{topic}: {SHOWS[0]}", f"{topic}: {SHOWS[1]}") for topic in THINGS]
    return effects(cases, grids, [(men, women, (men, women)) for men, women in pairs])


def mini(out: Path, seed: int, count: int = PICTURES) -> dict[Path, Scene]:
    """Miniature: scenes of the drawn world under the released names, with both halves drawn in the same manner, so that there
    is no bias."""
    studio = Studio(out, "genderbias", seed)
    for pair in THINGS.values():
        for thing in pair:
            for number, scene in enumerate(islice(studio.scenes(SIMPLE, thing), count), 1):
                studio.put(scene, f"{thing}-images/{number}.jpg")
    return studio.shown
