"""ARO Visual Genome Attribution (Yuksekgonul et al. 2023, arXiv 2210.01936): which thing has which attribute.

ARO averages over pairs of attributes with 25 cases or more, GDBench over all cases.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from pairloom.bench._aro import FOLDERS, measure_aro, read_aro
from pairloom.bench._case import Case, Cases, several, text_of
from pairloom.bench._drawn import PAIRS, SIZE, Studio
from pairloom.bench._measure import Floats, Measure
from pairloom.world import Scene

CLAIM = "ARO VG-Attribution: the caption, or the same with the attributes of its two things exchanged"
FILE = "visual_genome_attribution.json"
LEAST = 25  # cases of a pair of attributes for it to count in ARO's average
__all__ = ["CLAIM", "FOLDERS", "measures", "mini", "read"]


def read(root: Path) -> Cases:
    """Read visual_genome_attribution.json; the class of a case is its pair of attributes."""
    return read_aro(root, FILE, lambda row: "_".join(map(text_of, several(row["attributes"], 2))))


def measures(cases: Sequence[Case], grids: Sequence[Floats]) -> list[Measure]:
    """Accuracy, macro over pairs of attributes with LEAST cases, and micro."""
    return measure_aro(cases, grids, LEAST)


def mini(out: Path, seed: int, count: int = 50) -> dict[Path, Scene]:
    """Miniature: two things of two kinds and two colours; two pairs of colours with `count` cases each."""
    studio = Studio(out, FILE, seed)
    rows: list[dict[str, object]] = []
    for pair in (("red", "blue"), ("green", "yellow")):
        wanted = len(rows) + count
        for scene in studio.scenes(replace(PAIRS, colours=pair), pair[0]):
            by_colour = {thing.colour: thing.kind for thing in scene.things}
            if len(by_colour) < 2 or len(set(by_colour.values())) < 2:
                continue
            name = studio.put(scene, f"images/{len(rows)}.jpg").removeprefix("images/")
            first, second = (
                pair if scene.seed % 2 else pair[::-1]
            )  # an order that the text alone does not tell
            one, two = by_colour[first], by_colour[second]
            rows.append({
                "image_id": len(rows), "image_path": name, "bbox_x": 0, "bbox_y": 0, "bbox_w": SIZE, "bbox_h": SIZE,
                "attributes": list(pair), "obj1_name": one, "obj2_name": two,
                "true_caption": f"the {first} {one} and the {second} {two}",
                "false_caption": f"the {second} {one} and the {first} {two}",
            })  # fmt: skip
            if len(rows) == wanted:
                break
    studio.write(FILE, rows)
    return studio.shown
