"""SugarCrepe (Hsieh et al. 2023, arXiv 2306.14610): a caption against a fluent false one, in seven subsets by the kind of
change.

Its negatives were chosen so that language models cannot recognise them, which the text-only baseline checks. Two thirds of
the swaps have the same words in another order, on which a system that ignores word order is at chance; a note has their
number.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path

from pairloom.bench._case import Case, CaseReader, Cases, as_released, read_json, released, text_of
from pairloom.bench._drawn import PAIRS, Studio, describe, fits
from pairloom.bench._measure import Floats, Measure, by_tag, mean_of, top
from pairloom.world import Scene
from pairloom.world.claim import Mention
from pairloom.world.negatives import negative
from pairloom.world.words import claim_of

CLAIM = "SugarCrepe: the caption, or a fluent false one (objects, attributes, relations: added, replaced, swapped)"
FOLDERS = ("sugarcrepe", "sugar-crepe")
SUBSETS = ("add_obj", "add_att", "replace_obj", "replace_att", "replace_rel", "swap_obj", "swap_att")
SWAPS = {
    "replace_obj": "replace_object", "replace_att": "replace_attribute", "replace_rel": "swap_relation",
    "swap_obj": "swap_order", "swap_att": "swap_attribute",
}  # fmt: skip


def read(root: Path) -> Cases:
    """Read SUBSET.json in the root or in data/: {index: {filename, caption, negative_caption}}; COCO pictures in val2017/."""
    reading = CaseReader(root)
    present = [
        name for name in SUBSETS if any((root / place / f"{name}.json").is_file() for place in ("", "data"))
    ]
    for subset in present or SUBSETS[:1]:
        file = released(root, f"{subset}.json", f"data/{subset}.json")
        for index, row in read_json(file, dict).items():
            with as_released(file, f"entry {index}"):
                name = text_of(row["filename"])
                picture = reading.picture(f"val2017/{name}", f"images/{name}", name)
                texts = text_of(row["caption"]), text_of(row["negative_caption"])
                reading.add(Case(f"{subset}/{index}", (picture,), texts, ((0, 0),), subset, name))
    reading.notes += [f"{subset}.json is not there" for subset in SUBSETS if subset not in present]
    return reading.finish()


def measures(cases: Sequence[Case], grids: Sequence[Floats]) -> list[Measure]:
    """Accuracy, macro over the subsets and of each; as published a tie is wrong."""
    tags = [case.tag for case in cases]
    measure_rows = top(1, f"accuracy, macro over {len(set(tags))} subsets", cases, grids, True, tags)
    strict = [float(grid[0, 0] > grid[0, 1]) for grid in grids]
    as_published = mean_of("accuracy", "published", cases, strict, 1 / 2, note="a tie is wrong")
    return [
        measure_rows,
        *by_tag(replace(measure_rows, name="accuracy"), cases),
        *by_tag(as_published, cases),
    ]


def mini(out: Path, seed: int, count: int = 25) -> dict[Path, Scene]:
    """Miniature: `count` cases of each subset."""
    studio = Studio(out, "sugarcrepe", seed)
    for subset in SUBSETS:
        rows: dict[str, dict[str, str]] = {}
        bent = ((scene, _bend(scene, subset)) for scene in studio.scenes(PAIRS, subset))
        for scene, texts in islice(((scene, texts) for scene, texts in bent if texts), count):
            name = studio.put(scene, f"val2017/{subset}{len(rows):04d}.jpg").removeprefix("val2017/")
            rows[str(len(rows))] = {"filename": name, "caption": texts[0], "negative_caption": texts[1]}
        studio.write(f"{subset}.json", rows)
    return studio.shown


def _bend(scene: Scene, subset: str) -> tuple[str, str] | None:
    """A true caption and a false one with the subset's kind of change."""
    if subset in SWAPS:
        bent = negative(scene, SWAPS[subset])
        return (bent.caption, bent.negative) if bent else None
    claim = claim_of(scene)
    if subset == "add_obj":
        kind = scene.level.kinds[scene.seed % len(scene.level.kinds)]
        false = replace(
            claim, mentions=(*claim.mentions, Mention(kind, (("colour", scene.things[0].colour),)))
        )
    else:
        first = claim.mentions[0]
        striped = replace(first, attributes=(("pattern", "striped"), *first.attributes))
        false = replace(claim, mentions=(striped, *claim.mentions[1:]))
    return None if fits(scene, false) else (describe(claim, scene), describe(false, scene))
