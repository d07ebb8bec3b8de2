"""SVO-Probes (Hendricks & Nematzadeh 2021, arXiv 2106.09141): one sentence, two pictures that differ in its subject, verb
or object.

The set is a list of URLs, of which many are dead: the number of remaining cases is beside every result. Nothing is
downloaded.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

from pairloom.bench._case import Case, CaseReader, Cases, as_released, read_json, released, text_of
from pairloom.bench._drawn import Studio, fits
from pairloom.bench._measure import Floats, Measure, by_tag, top, top_as_published
from pairloom.errors import Mistake
from pairloom.world import Scene
from pairloom.world.claim import Claim, Link, Mention
from pairloom.world.kinds import CREATURES
from pairloom.world.level import LEVELS
from pairloom.world.words import say

CLAIM = "SVO-Probes: which of two pictures a sentence tells of, where subject, verb or object differs"
FOLDERS = ("svo_probes", "svo")
SORTS = ("subj", "verb", "obj")
FLAGS = {"true": True, "1": True, "1.0": True, "false": False, "0": False, "0.0": False}
ACTIONS = replace(
    LEVELS["medium"],
    kinds=(*CREATURES, "ball", "box", "car", "hat", "flower", "basket"),
    patterns=("plain",),
    places=("plain", "meadow", "beach"),
    things=(0.0, 1.0),
    relations=("chasing", "pushing", "holding", "lifting", "wearing"),
    sizes=False,
    groups=0.0,
)


def read(root: Path) -> Cases:
    """Read svo.json (diffusion-itm: pos_id, neg_id, sentence, neg_type ...) or svo_probes.csv (the release: pos_image_id,
    neg_image_id, subj_neg, verb_neg, obj_neg ...); pictures: images/ID (.jpg where the id has no ending). Where both exist
    svo.json is read, which lists pictures that could be downloaded, and a note has its share of the release."""
    reading = CaseReader(root)
    file, whole = released(root, "svo.json", "svo_probes.csv"), root / "svo_probes.csv"
    rows = read_json(file, list) if file.suffix == ".json" else _csv(file)
    if file != whole and whole.is_file():
        reading.notes.append(f"svo.json has {len(rows):,} of the {len(_csv(whole)):,} rows of svo_probes.csv")
    for number, row in enumerate(rows):
        with as_released(file, f"row {number}"):
            ids = [
                str(row[end])
                for end in (("pos_id", "neg_id") if "pos_id" in row else ("pos_image_id", "neg_image_id"))
            ]
            pictures = tuple(reading.picture(f"images/{name}", f"images/{name}.jpg") for name in ids)
            sort = _sort(row)
            if not str(row["sentence"] or "").strip():
                reading.lost(file.name, "has rows without a sentence")
                continue
            reading.add(Case(str(number), pictures, (text_of(row["sentence"]),), ((0, 0),), sort, ids[0]))
    return reading.finish()


def _csv(file: Path) -> list[dict[str, Any]]:
    try:
        with open(file, newline="", encoding="utf-8") as lines:
            rows = list(csv.DictReader(lines, strict=True))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise Mistake(
            f"{file} cannot be read.", str(error), "It may be half downloaded: get it again."
        ) from error
    for number, row in enumerate(rows):
        if None in row or None in row.values():
            raise Mistake(
                f"{file} is not laid out as released.",
                f"Row {number} has fewer or more cells than the header.",
                "It may be half downloaded: get it again.",
            )
    return rows


def _sort(row: dict[str, Any]) -> str:
    if "neg_type" in row:
        sort = str(row["neg_type"])
    else:
        flags = [FLAGS[str(row[f"{sort}_neg"]).strip().lower()] for sort in SORTS]
        sort = SORTS[flags.index(True)]
    if sort not in SORTS:
        raise ValueError(f"'{sort}' is none of {', '.join(SORTS)}")
    return sort


def measures(cases: Sequence[Case], grids: Sequence[Floats]) -> list[Measure]:
    """Accuracy over all, by what differs, and as published (a number for each of the three)."""
    measure_rows = top(1, "accuracy", cases, grids, headline=True)
    as_published = top_as_published(
        1, "accuracy", cases, grids, note="ties to the right picture, which comes first"
    )
    return [measure_rows, *by_tag(measure_rows, cases), *by_tag(as_published, cases)]


def mini(out: Path, seed: int, count: int = 40) -> dict[Path, Scene]:
    """Miniature: `count` pairs of each sort, scenes of two things in an action, with the other two parts the same."""
    studio = Studio(out, "svo_probes", seed)
    rows: list[dict[str, str]] = []
    for at, sort in enumerate(SORTS):
        for one, two in islice(_pairs(studio, at), count):
            names = [f"{len(rows)}-{end}.jpg" for end in ("pos", "neg")]
            for scene, name in zip((one, two), names):
                studio.put(scene, f"images/{name}")
            rows.append({
                "pos_id": names[0], "neg_id": names[1], "sentence": say(_claim(one), "full", one.seed),
                "pos_triplet": ",".join(_triplet(one)), "neg_triplet": ",".join(_triplet(two)), "neg_type": sort,
            })  # fmt: skip
    studio.write("svo.json", rows)
    return studio.shown


def _triplet(scene: Scene) -> tuple[str, str, str]:
    link = scene.relations[0]
    return scene.things[link.subject].kind, link.name, scene.things[link.object].kind


def _claim(scene: Scene) -> Claim:
    subject, verb, object_ = _triplet(scene)
    return Claim((Mention(subject), Mention(object_)), (Link(verb, 0, 1),))


def _pairs(studio: Studio, differs: int) -> Iterator[tuple[Scene, Scene]]:
    """Two scenes whose triplets differ in one place alone, each scene used once."""
    waiting: dict[tuple[str, ...], Scene] = {}
    for scene in studio.scenes(ACTIONS, SORTS[differs]):
        triplet = _triplet(scene)
        if len(scene.relations) != 1 or triplet[0] == triplet[2]:
            continue
        rest = triplet[:differs] + triplet[differs + 1 :]
        other = waiting.get(rest)
        if other is None or _triplet(other) == triplet:
            waiting[rest] = scene
        elif not fits(other, _claim(scene)):
            del waiting[rest]
            yield scene, other
