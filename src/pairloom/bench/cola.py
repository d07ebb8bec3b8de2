"""COLA, multi-object (Ray et al. 2023, arXiv 2305.03689): two pictures whose objects have each other's attributes.

Its published number is Winoground's image score. COLA's other part is cola_single.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from pathlib import Path, PurePosixPath

from pairloom.bench._case import Case, CaseReader, Cases, as_released, read_json, released, several, text_of
from pairloom.bench._drawn import PAIRS, Studio, twins
from pairloom.bench._measure import Floats, Measure, quads
from pairloom.world import Scene

CLAIM = (
    "COLA multi-object: which of two pictures goes with each of two captions whose attributes are exchanged"
)
FOLDERS = ("cola",)
PLACES = ("images", "vg_gqa_images", "VG_100K", "VG_100K_2")
FILE = "COLA_multiobjects_matching_benchmark.json"


def read(root: Path) -> Cases:
    """Read FILE in the root or in data/: a list of [URL of picture 1, caption 1, URL of picture 2, caption 2]; pictures: by the
    last part of their URL in one of PLACES. Nothing is downloaded."""
    reading = CaseReader(root)
    file = released(root, FILE, f"data/{FILE}")
    for number, row in enumerate(read_json(file, list)):
        with as_released(file, f"entry {number}"):
            one, first, two, second = map(text_of, several(row, 4))
            names = [PurePosixPath(address).name for address in (one, two)]
            pictures = tuple(reading.picture(*(f"{place}/{name}" for place in PLACES)) for name in names)
            reading.add(Case(str(number), pictures, (first, second), ((0, 0), (1, 1)), group=names[0]))
    return reading.finish()


def measures(cases: Sequence[Case], grids: Sequence[Floats]) -> list[Measure]:
    """The published image score, and the text and group scores beside it."""
    return [
        one for one in quads(cases, grids, ("image",)) if one.kind == "sound" or one.name == "image score"
    ]


def mini(out: Path, seed: int, count: int = 80) -> dict[Path, Scene]:
    """Miniature: pairs of scenes whose two things have exchanged colours."""
    studio = Studio(out, "cola", seed)
    rows: list[list[str]] = []
    pairs = (twins(scene, ("colour",), "terse") for scene in studio.scenes(PAIRS))
    for number, pair in enumerate(islice((pair for pair in pairs if pair), count)):
        names = [f"{2 * number + side}.jpg" for side in (0, 1)]
        for scene, name in zip((pair.first, pair.second), names):
            studio.put(scene, f"images/{name}")
        address = "https://cs-people.bu.edu/array/data/vg_gqa_images/"
        rows.append([address + names[0], pair.captions[0], address + names[1], pair.captions[1]])
    studio.write(FILE, rows)
    return studio.shown
