"""ARO's two sets over Visual Genome (Yuksekgonul et al. 2023, arXiv 2210.01936): one layout, two files.

Does not know: what the captions are about.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from pairloom.bench._case import Case, Cases, Reading, as_released, read_json, released, said
from pairloom.bench._measure import Floats, Measure, by_tag, top, top_as_published

FOLDERS = ("aro", "vg")


def read_aro(root: Path, name: str, tag_of: Callable[[dict[str, Any]], str]) -> Cases:
    """A list of image_path, bbox_x, bbox_y, bbox_w, bbox_h, true_caption, false_caption ...; pictures in images/.

    The picture is cropped to the box. The true caption comes first, as in GDBench (in ARO's own code it is last).
    """
    reading = Reading(root)
    file = released(root, name)
    for number, row in enumerate(read_json(file, list)):
        with as_released(file, f"entry {number}"):
            x, y, w, h = (int(row[f"bbox_{side}"]) for side in "xywh")
            if w < 1 or h < 1:
                raise ValueError(f"a box of {w} x {h} pixels")
            path = said(row["image_path"])
            picture = reading.picture(f"images/{path}", path, box=(x, y, x + w, y + h))
            texts = said(row["true_caption"]), said(row["false_caption"])
            reading.add(Case(str(number), (picture,), texts, ((0, 0),), tag_of(row), path))
    return reading.found()


def measure_aro(
    cases: Sequence[Case], grids: Sequence[Floats], least: int = 1, tabled: int = 12
) -> list[Measure]:
    """Macro over classes (ARO's own protocol; classes of at least `least` cases) and micro (GDBench's)."""
    sizes: dict[str, int] = {}
    for case in cases:
        sizes[case.tag] = sizes.get(case.tag, 0) + 1
    large = [row for row in zip(cases, grids) if sizes[row[0].tag] >= least]
    micro = top(1, "accuracy, micro", cases, grids, headline=not large)
    made = []
    if large:
        inside, scores = zip(*large)
        tags = [case.tag for case in inside]
        made.append(top(1, f"accuracy, macro over {len(set(tags))} classes", inside, scores, True, tags))
    note = "ties to the true caption, which comes first; micro as in GDBench, ARO's own protocol is macro"
    made += [micro, top_as_published(1, "accuracy, micro", cases, grids, note=note)]
    if len(sizes) <= tabled:
        made += by_tag(micro, cases)
    return made
