"""Reader and measures of ARO's two sets over Visual Genome (Yuksekgonul et al. 2023, arXiv 2210.01936), which share a layout."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from pairloom.bench._case import Case, CaseReader, Cases, as_released, read_json, released, text_of
from pairloom.bench._measure import Floats, Measure, by_tag, mean_of, top, top_as_published

FOLDERS = ("aro", "vg", ".")  # GDBench keeps these files beside the folders of the others
# Relations that the release's notebook leaves out of its average, since the exchanged caption is true too, or is nonsense.
LEFT_OUT = frozenset(" ".join("""
adjusting, around, attached to, beside, between, bigger than, biting, boarding, brushing, by, chewing,
cleaning, climbing, close to, coming from, coming out of, contain, crossing, dragging, draped over,
drinking, drinking from, driving, driving down, driving on, eating from, eating in, enclosing, exiting,
facing, filled with, floating in, floating on, flying, flying above, flying in, flying over, flying through,
full of, going down, going into, going through, grazing in, growing in, growing on, guiding, hanging from,
hanging in, hanging off, hanging over, higher than, holding onto, hugging, in between, jumping off, jumping
on, jumping over, kept in, larger than, leading, leaning over, leaving, licking, longer than, looking in,
looking into, looking out, looking over, looking through, lying next to, lying on top of, making, mixed
with, mounted on, moving, near, next to, of, on the back of, on the edge of, on the front of, on the other
side of, on the side of, opening, painted on, parked at, parked beside, parked by, parked in, parked in
front of, parked near, parked next to, perched on, petting, piled on, playing, playing in, playing on,
playing with, pouring, reaching for, reading, reflected on, riding on, running in, running on, running
through, seen through, sitting behind, sitting beside, sitting by, sitting in front of, sitting near,
sitting next to, sitting under, skiing down, skiing on, sleeping in, sleeping on, smiling at, sniffing,
splashing, sprinkled on, stacked on, standing against, standing around, standing behind, standing beside,
standing in front of, standing near, standing next to, staring at, stuck in, surrounding, swimming in,
swinging, talking to, topped with, touching, traveling down, traveling on, tying, typing on, underneath,
wading in, waiting for, walking across, walking by, walking down, walking next to, walking through, with,
working in, working on, worn on, wrapped around, wrapped in
""".split()).split(", "))  # fmt: skip


def read_aro(root: Path, name: str, tag_of: Callable[[dict[str, Any]], str]) -> Cases:
    """Read a list of image_path, bbox_x, bbox_y, bbox_w, bbox_h, true_caption, false_caption ...; pictures in images/.

    The picture is cropped to the box. The true caption comes first, as in GDBench (in ARO's own code it is last). tag_of: the
    class of a row.
    """
    reading = CaseReader(root)
    file = released(root, name)
    for number, row in enumerate(read_json(file, list)):
        with as_released(file, f"entry {number}"):
            x, y, w, h = (int(row[f"bbox_{side}"]) for side in "xywh")
            if w < 1 or h < 1:
                raise ValueError(f"a box of {w} x {h} pixels")
            path = text_of(row["image_path"])
            picture = reading.picture(f"images/{path}", path, box=(x, y, x + w, y + h))
            texts = text_of(row["true_caption"]), text_of(row["false_caption"])
            reading.add(Case(str(number), (picture,), texts, ((0, 0),), tag_of(row), path))
    return reading.finish()


def measure_aro(
    cases: Sequence[Case], grids: Sequence[Floats], least: int = 1, tabled: int = 12
) -> list[Measure]:
    """Accuracy, macro over classes (ARO's protocol: classes of at least `least` cases that are not LEFT_OUT; a tie is wrong,
    since the true caption comes last there) and micro over all cases (GDBench's: a tie is right, since it comes first)."""
    sizes = Counter(case.tag for case in cases)
    counted = [row for row in zip(cases, grids) if sizes[row[0].tag] >= least and row[0].tag not in LEFT_OUT]
    micro = top(1, "accuracy, micro", cases, grids, headline=not counted)
    note = "all cases, as GDBench counts: ties to the true caption, which comes first there"
    measures = [micro, top_as_published(1, "accuracy, micro", cases, grids, note=note)]
    if counted:
        inside, scores = zip(*counted)
        tags = [case.tag for case in inside]
        name = f"accuracy, macro over {len(set(tags))} classes"
        without = len(sizes) - len(set(tags))
        note = f"as ARO counts: a tie is wrong{f'; {without:,} other classes are left out' * bool(without)}"
        strict = [float(grid[0, 0] > grid[0, 1]) for grid in scores]
        as_published = mean_of(name, "published", inside, strict, 1 / 2, strata=tags, note=note)
        measures = [top(1, name, inside, scores, True, tags), as_published, *measures]
    if len(sizes) <= tabled:
        measures += by_tag(micro, cases)
    return measures
