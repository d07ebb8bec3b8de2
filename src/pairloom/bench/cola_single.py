"""COLA, single-object (Ray et al. 2023, arXiv 2305.03689): find the pictures in which one object has several attributes,
among pictures with only some of them.

The number is the mean over labels of the average precision on each label's hard pictures, as in the release, which lists
easy pictures too but does not count them. COLA's other part is cola.py.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from pairloom.bench import cola
from pairloom.bench._case import Case, CaseReader, Cases, as_released, read_json, released, several, text_of
from pairloom.bench._drawn import SIMPLE, Studio, fits
from pairloom.bench._measure import Floats, Measure, interval_of
from pairloom.world import Scene
from pairloom.world.claim import Claim, Mention

CLAIM = "COLA single-object: the pictures of a thing with several attributes among those of parts of that (GQA, CLEVR, PACO)"
FOLDERS = ("cola",)
SETS = ("GQA", "CLEVR", "PACO")
PLACES = (*cola.PLACES, "train2017", "val2017")


def read(root: Path) -> Cases:
    """Read COLA_singleobjects_benchmark_SET.json in the root or in data/: labels (320 texts) and data, a list of [picture,
    annotation, label, hard] (PACO: without annotation) with a 0 or 1 for each label. Pictures: by the last part of their path
    in one of PLACES, or by its last two. A case is a picture with the labels for which it is hard."""
    reading = CaseReader(root)
    present = [name for name in SETS if any((root / place / _file(name)).is_file() for place in ("", "data"))]
    for name in present or SETS[:1]:
        file = released(root, _file(name), f"data/{_file(name)}")
        for number, (labels, row) in enumerate(_rows(file)):
            with as_released(file, f"entry {number}"):
                case = _case(reading, f"{name}/{number}", labels, several(row))
            if case:
                reading.add(replace(case, tag=name))
    reading.notes += [f"{_file(name)} is not there" for name in SETS if name not in present]
    return reading.finish()


def _file(name: str) -> str:
    return f"COLA_singleobjects_benchmark_{name}.json"


def _rows(file: Path) -> Iterator[tuple[list[str], Any]]:
    """The labels, with every row. Both are in a dict, as on the release's page, or in a list, as in its code."""
    document = read_json(file, dict | list)
    with as_released(file, "labels and data"):
        labels, data = (
            (document["labels"], document["data"]) if isinstance(document, dict) else several(document, 2)
        )
        labels = [text_of(_spelt(label)) for label in several(labels)]
        if len(set(labels)) < len(labels):
            raise ValueError("a label is there twice")
        data = several(data)
    for row in data:
        yield labels, row


def _spelt(label: object) -> object:
    """A label as a text, such as "square white plate", which the file may have as [["square", "white"], "plate"]."""
    return " ".join(str(_spelt(part)) for part in label) if isinstance(label, list) else label


def _case(reading: CaseReader, key: str, labels: list[str], row: list[Any]) -> Case | None:
    """The case of a row; None where the picture is hard for no label."""
    true, hard = (several(marks, len(labels)) for marks in row[-2:])
    if not set(true) | set(hard) <= {0, 1}:
        raise ValueError("a mark is neither 0 nor 1")
    hard_rows = [at for at, mark in enumerate(hard) if mark]
    if not hard_rows:
        return None
    path = PurePosixPath(text_of(row[0]))
    near = "/".join(path.parts[-2:])  # CLEVR's pictures are in a folder for each split
    right = tuple((0, place) for place, at in enumerate(hard_rows) if true[at])
    picture = reading.picture(*(f"{place}/{path.name}" for place in PLACES), f"images/{near}", near)
    return Case(key, (picture,), tuple(labels[at] for at in hard_rows), right, group=path.name)


def measures(cases: Sequence[Case], grids: Sequence[Floats]) -> list[Measure]:
    """Mean average precision of each set, with an interval over its labels; labels without a true or a hard picture are left
    out, as in the release."""
    measure_rows: list[Measure] = []
    for name in dict.fromkeys(case.tag for case in cases):
        by_label = _by_label([row for row in zip(cases, grids) if row[0].tag == name])
        if not by_label:
            continue
        keys = tuple(f"{name}: {label}" for label in by_label)
        values = [average_precision(scores, true) for scores, true in by_label.values()]
        chance = float(np.mean([true.mean() for _, true in by_label.values()]))
        title = f"mAP on hard pictures, {name}", interval_of(values, keys)
        note = f"mean over {len(keys):,} labels; pictures of one score count as one step"
        one = Measure(
            title[0], "sound", title[1], sum(len(true) for _, true in by_label.values()), chance, headline=True, note=note,
            keys=keys, values=tuple(values), groups=keys,
        )  # fmt: skip
        measure_rows += [one, replace(one, kind="published", headline=False, note="the same number")]
    return measure_rows


def _by_label(rows: Sequence[tuple[Case, Floats]]) -> dict[str, tuple[Floats, Floats]]:
    """Scores and truth [n] of the pictures of each label that has a true one."""
    scores: dict[str, list[float]] = {}
    truth: dict[str, list[float]] = {}
    for case, grid in rows:
        for at, (text, score) in enumerate(zip(case.texts, grid[0])):
            scores.setdefault(text, []).append(float(score))
            truth.setdefault(text, []).append(float((0, at) in case.right))
    return {text: (np.array(scores[text]), np.array(truth[text])) for text in scores if any(truth[text])}


def average_precision(scores: Floats, true: Floats) -> float:
    """Average precision: the area under the step function of precision over recall, with a step at each distinct score. For
    constant scores it is the share of true pictures."""
    order = np.argsort(-scores, kind="stable")
    ends = np.flatnonzero(np.r_[np.diff(scores[order]) != 0, True])
    hits = np.cumsum(true[order])[ends]
    return float((np.diff(hits, prepend=0.0) * hits / (ends + 1)).sum() / hits[-1])


def mini(out: Path, seed: int, count: int = 60) -> dict[Path, Scene]:
    """Miniature: `count` pictures of things in eight colours; a picture is hard for a colour and kind where it has one of the
    two."""
    studio = Studio(out, "cola_single", seed)
    kinds = SIMPLE.kinds[:4]
    level = replace(SIMPLE, kinds=kinds, colours=SIMPLE.colours[:4])
    pairs = [(colour, kind) for colour in level.colours for kind in kinds]
    data: list[list[Any]] = []
    for number, scene in enumerate(islice(studio.scenes(level), count)):
        studio.put(scene, f"images/{number}.jpg")
        true = [int(fits(scene, Claim((Mention(kind, (("colour", colour),)),)))) for colour, kind in pairs]
        hard = [
            int(any(thing.colour == colour or thing.kind == kind for thing in scene.things))
            for colour, kind in pairs
        ]
        things = {str(at): [thing.colour, thing.kind] for at, thing in enumerate(scene.things)}
        data.append([f"vg/images/{number}.jpg", things, true, hard])
    labels = [f"{colour} {kind}" for colour, kind in pairs]
    studio.write(_file("GQA"), {"labels": labels, "data": data})
    return studio.shown
