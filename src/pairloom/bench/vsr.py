"""Visual Spatial Reasoning (Liu et al. 2023, arXiv 2205.00363): is a sentence about the positions of things true?

A case has one picture and one sentence, true or false: accuracy needs a threshold, which is chosen on the release's dev split;
AUROC needs none. The paper's table is about systems that are fine-tuned on the training split.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

import numpy as np

from pairloom.bench._case import Case, CaseReader, Cases, as_released, read_lines, released, text_of
from pairloom.bench._drawn import PAIRS, Studio
from pairloom.bench._measure import Floats, Measure, mean_of
from pairloom.metrics.calibrate import auroc_interval
from pairloom.world import Scene
from pairloom.world.negatives import negative

CLAIM = "VSR, zero-shot split: is a sentence about where two things are true of a picture?"
FOLDERS = ("vsr",)
PLACES = ("splits/zeroshot", "data/splits/zeroshot", "")


def read(root: Path) -> Cases:
    """Read test.jsonl and dev.jsonl in splits/zeroshot: image, caption, label (1 true, 0 false), relation ...; pictures in
    images/. The dev cases are for the threshold alone."""
    reading = CaseReader(root)
    test = released(root, *(f"{place}/test.jsonl".lstrip("/") for place in PLACES))
    files = [(test, ""), (test.with_name("dev.jsonl"), "dev")]
    for file, part in files:
        if not file.is_file():
            reading.notes.append("dev.jsonl is not there: no threshold can be set, AUROC alone is given")
            continue
        rows = read_lines(file)
        if not rows:
            reading.notes.append(f"{file.name} is empty")
        for number, row in enumerate(rows):
            with as_released(file, f"line {number + 1}"):
                name = text_of(row["image"])
                places = [
                    f"{data}{folder}/{name}"
                    for data in ("", "data/")
                    for folder in ("images", "trainval2017")
                ]
                picture = reading.picture(*places)
                right = {1: ((0, 0),), 0: ()}[row["label"]]
                key = f"{part or 'test'}/{number}"
                reading.add(
                    Case(
                        key,
                        (picture,),
                        (text_of(row["caption"]),),
                        right,
                        text_of(row["relation"]),
                        name,
                        part,
                    )
                )
    return reading.finish()


def measures(cases: Sequence[Case], grids: Sequence[Floats]) -> list[Measure]:
    """AUROC; accuracy at the dev split's threshold, as the mean over true and false sentences and over all sentences."""
    scores = np.array([float(grid[0, 0]) for grid in grids])
    true = np.array([bool(case.right) for case in cases])
    dev = np.array([case.part == "dev" for case in cases])
    measure_rows = []
    if true[~dev].any() and not true[~dev].all():
        area = auroc_interval(scores[~dev & true], scores[~dev & ~true])
        measure_rows.append(Measure("AUROC", "sound", area, int((~dev).sum()), 0.5))
        if true[dev].any() and not true[dev].all():
            limit = threshold(scores[dev], true[dev])
            asked_cases = [case for case in cases if case.part != "dev"]
            above = np.where(scores[~dev] == limit, 0.5, scores[~dev] > limit)
            credit = np.where(true[~dev], above, 1 - above)
            labels = ["true" if case.right else "false" for case in asked_cases]
            name, note = "accuracy", "threshold set on the dev split"
            measure_rows.append(
                mean_of(f"balanced {name}", "sound", asked_cases, credit, 0.5, True, labels, note)
            )
            measure_rows.append(mean_of(name, "published", asked_cases, credit, 0.5, note=note))
    return measure_rows


def threshold(scores: Floats, true: np.ndarray) -> float:
    """Threshold with the highest mean of both classes' accuracies, between two scores (or at the only one)."""
    steps = np.unique(scores)
    limits = (steps[1:] + steps[:-1]) / 2 if len(steps) > 1 else steps
    good, bad = np.sort(scores[true]), np.sort(scores[~true])
    kept = 1 - np.searchsorted(good, limits, "right") / len(good)
    dropped = np.searchsorted(bad, limits, "left") / len(bad)
    return float(limits[np.argmax(kept + dropped)])


def mini(out: Path, seed: int, count: int = 60) -> dict[Path, Scene]:
    """Miniature: 2 x `count` test and `count` dev sentences about left, right, above and below; every other one is false."""
    studio = Studio(out, "vsr", seed)
    for part, size in (("test", 2 * count), ("dev", count)):
        rows: list[dict[str, object]] = []
        bent = ((scene, negative(scene, "swap_relation")) for scene in studio.scenes(PAIRS, part))
        for scene, entry in islice(((scene, entry) for scene, entry in bent if entry), size):
            name = studio.put(scene, f"images/{part}{len(rows):06d}.jpg").removeprefix("images/")
            label = len(rows) % 2
            rows.append({
                "image": name, "image_link": f"http://images.cocodataset.org/train2017/{name}",
                "caption": entry.caption if label else entry.negative, "label": label,
                "relation": scene.relations[0].name,
            })  # fmt: skip
        studio.write(f"{PLACES[0]}/{part}.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    return studio.shown
