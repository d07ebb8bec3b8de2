"""SugarCrepe++, image-text task (Dumpala et al. 2024, arXiv 2406.11171): two captions of the same meaning in different words,
and a false one.

A case is right where both true captions have a higher score than the false one. The text-only task is sugarcrepe_pp_text.py.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

from pairloom.bench._case import Case, CaseReader, Cases, as_released, read_json, released, text_of
from pairloom.bench._drawn import PAIRS, Studio
from pairloom.bench._measure import Floats, Measure, all_above, by_tag, expected, mean_of
from pairloom.bench.sugarcrepe import SWAPS
from pairloom.world import Scene
from pairloom.world.negatives import negative
from pairloom.world.words import caption

CLAIM = "SugarCrepe++: two captions of one meaning, each to be above a false one (image-text task)"
FOLDERS = ("sugarcrepe_pp", "scpp")
SUBSETS = ("replace_obj", "replace_att", "replace_rel", "swap_obj", "swap_att")
FIELDS = ("caption", "caption2", "negative_caption")


def read(root: Path) -> Cases:
    """Read SUBSET.json in the root or in data/: a list of id, filename, caption, caption2, negative_caption; COCO pictures in
    val2017/."""
    reading = CaseReader(root)
    for file, subset, number, row in triples(reading, root):
        with as_released(file, f"entry {number}"):
            name = text_of(row["filename"])
            picture = reading.picture(f"val2017/{name}", f"images/{name}", name)
            texts = tuple(text_of(row[field]) for field in FIELDS)
            reading.add(Case(f"{subset}/{number}", (picture,), texts, ((0, 0), (0, 1)), subset, name))
    return reading.finish()


def triples(reading: CaseReader, root: Path) -> Iterator[tuple[Path, str, int, dict[str, Any]]]:
    """The rows of all subsets that exist, as (file, subset, number, row); a note names the missing subsets."""
    present = [
        name for name in SUBSETS if any((root / place / f"{name}.json").is_file() for place in ("", "data"))
    ]
    for subset in present or SUBSETS[:1]:
        file = released(root, f"{subset}.json", f"data/{subset}.json")
        for number, row in enumerate(read_json(file, list)):
            yield file, subset, number, row
    reading.notes += [f"{subset}.json is not there" for subset in SUBSETS if subset not in present]


def measures(cases: Sequence[Case], grids: Sequence[Floats]) -> list[Measure]:
    """Accuracy of the image-text task, macro over the subsets and of each; as published a tie is wrong."""
    tags = [case.tag for case in cases]
    credit = [expected(all_above, grid) for grid in grids]
    measure_rows = mean_of(
        f"ITT, macro over {len(set(tags))} subsets", "sound", cases, credit, 1 / 3, True, tags
    )
    strict = [float(all_above(grid)) for grid in grids]
    as_published = mean_of("ITT", "published", cases, strict, 1 / 3, note="a tie is wrong")
    return [measure_rows, *by_tag(replace(measure_rows, name="ITT"), cases), *by_tag(as_published, cases)]


def mini(out: Path, seed: int, count: int = 25) -> dict[Path, Scene]:
    """Miniature: `count` cases of each subset; the second caption is a paraphrase by the drawn world."""
    studio = Studio(out, "sugarcrepe_pp", seed)
    for subset in SUBSETS:
        rows: list[dict[str, object]] = []
        bent = ((scene, negative(scene, SWAPS[subset])) for scene in studio.scenes(PAIRS, subset))
        for scene, entry in islice(((scene, entry) for scene, entry in bent if entry), count):
            name = studio.put(scene, f"val2017/{subset}{len(rows):04d}.jpg").removeprefix("val2017/")
            rows.append({
                "id": len(rows), "filename": name, "caption": entry.caption, "caption2": caption(scene, "paraphrase"),
                "negative_caption": entry.negative,
            })  # fmt: skip
        studio.write(f"{subset}.json", rows)
    return studio.shown
