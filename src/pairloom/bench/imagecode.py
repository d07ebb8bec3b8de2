"""ImageCoDe (Krojer et al. 2022, arXiv 2203.15867): one caption, ten pictures that differ little.

GDBench uses the static sets (Open Images) of the validation split. The video sets are left out and counted here; they are
imagecode_video.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path

from pairloom.bench._case import Case, CaseReader, Cases, as_released, read_json, released, text_of
from pairloom.bench._drawn import PAIRS, Studio, fits, inside
from pairloom.bench._measure import Floats, Measure, top, top_as_published
from pairloom.world import Scene
from pairloom.world.words import caption, claim_of

CLAIM = "ImageCoDe, static sets: which of ten similar pictures a caption was written for"
FOLDERS = ("imagecode",)
FILES = ("valid_data.json", "data/valid_data.json")
STATIC, VIDEO = "open-images", "MSR-VTT-videoTrainVideo"
TEN = 10


def read(root: Path) -> Cases:
    """Read valid_data.json: {set: {"index": caption}}; pictures: image-sets/SET/img0.jpg ... img9.jpg."""
    return read_sets(root, static=True)


def read_sets(root: Path, static: bool) -> Cases:
    """Read the static sets, or the others (frames of videos); a note has the number of left-out captions."""
    reading = CaseReader(root)
    file = released(root, *FILES)
    others = 0
    for name, captions in read_json(file, dict).items():
        with as_released(file, name):
            if (STATIC in name) != static:
                others += len(captions)
                continue
            pictures = tuple(reading.picture(f"image-sets/{name}/img{at}.jpg") for at in range(TEN))
            for index, text in captions.items():
                if not 0 <= int(index) < TEN:
                    raise ValueError(f"there is no picture {index}")
                reading.add(
                    Case(f"{name}/{index}", pictures, (text_of(text),), ((int(index), 0),), group=name)
                )
    if others:
        left = "video sets, which GDBench leaves out" if static else "static sets"
        reading.notes.append(f"captions of {left}: {others:,}")
    return reading.finish()


def measures(cases: Sequence[Case], grids: Sequence[Floats]) -> list[Measure]:
    """R@1 and R@5 among the ten."""
    measure_rows = [top(k, f"R@{k} (10-way)", cases, grids, headline=k == 1) for k in (1, 5)]
    return measure_rows + [top_as_published(k, f"R@{k} (10-way)", cases, grids) for k in (1, 5)]


def mini(out: Path, seed: int, count: int = 24) -> dict[Path, Scene]:
    """Miniature: `count` sets of ten, a scene and nine that differ from it in one colour or kind; two captions a set."""
    return mini_sets(Studio(out, "imagecode", seed), count, STATIC, VIDEO)


def mini_sets(studio: Studio, count: int, kind: str, other: str) -> dict[Path, Scene]:
    """Write `count` sets named after `kind`, and one of the other kind without pictures, which the reader leaves out."""
    sets: dict[str, dict[str, str]] = {f"{other}-000": {"0": "a set that is left out"}}
    lists = (varied(scene) for scene in studio.scenes(PAIRS))
    for number, (pictures, texts) in enumerate(
        islice((entry for entry in lists if len(entry[1]) > 1), count)
    ):
        name = f"{kind}-{number:03d}"
        for at, scene in enumerate(pictures):
            studio.put(scene, f"image-sets/{name}/img{at}.jpg")
        first = pictures[0].seed % len(texts)
        sets[name] = {str(at): caption(pictures[at], "terse") for at in (texts[first:] + texts[:first])[:2]}
    studio.write("valid_data.json", sets)
    return studio.shown


def varied(scene: Scene) -> tuple[list[Scene], list[int]]:
    """Ten similar scenes, and the indices of those whose caption is true of them alone."""
    scenes = [scene]
    for at, thing in enumerate(scene.things):
        others = [replace(thing, colour=colour) for colour in scene.level.colours if colour != thing.colour][
            :3
        ]
        kinds = (replace(thing, kind=kind) for kind in scene.level.kinds if kind != thing.kind)
        others += islice(filter(inside, kinds), 2)
        scenes += [
            replace(
                scene, things=tuple(other if index == at else one for index, one in enumerate(scene.things))
            )
            for other in others
        ]
    if len(scenes) < TEN:
        return scenes, []
    scenes = scenes[:TEN]
    scenes = (
        scenes[scene.seed % TEN :] + scenes[: scene.seed % TEN]
    )  # the original scene is at a different place in each set
    claims = [claim_of(one, "terse") for one in scenes]
    alone = [
        at
        for at, claim in enumerate(claims)
        if [fits(one, claim) for one in scenes] == [at == i for i in range(TEN)]
    ]
    return scenes, alone
