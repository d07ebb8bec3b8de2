"""ARO Visual Genome Relation (Yuksekgonul et al. 2023, arXiv 2210.01936): who does what to whom, with subject and object
exchanged.

Some exchanges give odd sentences, which a text-only system can recognise, as the blind baselines show.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from pathlib import Path

from pairloom.bench._aro import FOLDERS, measure_aro, read_aro
from pairloom.bench._case import Case, Cases, text_of
from pairloom.bench._drawn import PAIRS, SIZE, Studio
from pairloom.bench._measure import Floats, Measure
from pairloom.world import Scene
from pairloom.world.negatives import negative

CLAIM = "ARO VG-Relation: the caption, or the same with the two ends of its relation exchanged"
FILE = "visual_genome_relation.json"
__all__ = ["CLAIM", "FOLDERS", "measures", "mini", "read"]


def read(root: Path) -> Cases:
    """Read visual_genome_relation.json; the class of a case is its relation_name."""
    return read_aro(root, FILE, lambda row: text_of(row["relation_name"]))


def measures(cases: Sequence[Case], grids: Sequence[Floats]) -> list[Measure]:
    """Accuracy, macro over relations and micro."""
    return measure_aro(cases, grids)


def mini(out: Path, seed: int, count: int = 120) -> dict[Path, Scene]:
    """Miniature: two things, one left of or above the other, cropped to the two."""
    studio = Studio(out, FILE, seed)
    rows: list[dict[str, object]] = []
    bendable = ((scene, negative(scene, "swap_order", "full")) for scene in studio.scenes(PAIRS))
    for scene, bent in islice(((scene, bent) for scene, bent in bendable if bent), count):
        name = studio.put(scene, f"images/{len(rows)}.jpg").removeprefix("images/")
        boxes = [thing.box() for thing in scene.things]
        x, y = (max(0, int(SIZE * min(box[at] for box in boxes))) for at in (0, 1))
        right, low = (min(SIZE, -int(-SIZE * max(box[at] for box in boxes) // 1)) for at in (2, 3))
        rows.append({
            "image_id": len(rows), "image_path": name, "bbox_x": x, "bbox_y": y, "bbox_w": right - x, "bbox_h": low - y,
            "relation_name": scene.relations[0].name, "true_caption": bent.caption, "false_caption": bent.negative,
        })  # fmt: skip
    studio.write(FILE, rows)
    return studio.shown
