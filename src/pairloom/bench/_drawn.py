"""Miniatures of benchmarks: scenes of the drawn world in files, and pairs of scenes that differ in one thing.

A miniature has the layout of the release and is read by the same reader. Its truth is known: `Studio.shown` has the scene
of each file. Does not know: the layouts.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pairloom.data.pair import seed_of
from pairloom.world import Scene, Thing, picture, sample
from pairloom.world.claim import Claim, is_true
from pairloom.world.level import LEVELS, Level
from pairloom.world.words import claim_of, say
from pairloom.world.world import encode

SIZE = 128  # pixels of a side
SIMPLE = LEVELS["simple"]
PAIRS = replace(SIMPLE, things=(0.0, 1.0))  # always two things, and one relation between them


@dataclass
class Studio:
    """Writer of a miniature's pictures under `out`, a folder that is read only when it is complete. name, seed: no two
    miniatures have the same scenes."""

    out: Path
    name: str
    seed: int
    shown: dict[Path, Scene] = field(default_factory=dict)

    def scenes(self, level: Level = SIMPLE, salt: str = "") -> Iterator[Scene]:
        """An endless stream of scenes, the same ones for the same seed."""
        index = 0
        while True:
            yield sample(seed_of("bench", self.name, salt, self.seed, index), level)
            index += 1

    def put(self, scene: Scene, file: str) -> str:
        """Draw a scene to a file of the layout. Returns `file`."""
        image = picture(scene, SIZE)
        path = Path(os.path.normpath(self.out / file))
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".png":
            image.save(path, "PNG")
        else:
            path.write_bytes(encode(image))
        self.shown[path] = scene
        return file

    def write(self, file: str, rows: Any) -> None:
        """Write a JSON file of the layout; a text is written as it is."""
        text = rows if isinstance(rows, str) else json.dumps(rows, indent=1, ensure_ascii=False)
        path = self.out / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


@dataclass(frozen=True)
class Twins:
    """Two scenes with the same things, which have exchanged one sort of attribute, each with a caption in the same words."""

    first: Scene
    second: Scene
    captions: tuple[str, str]


def twins(scene: Scene, sorts: tuple[str, ...], style: str = "full") -> Twins | None:
    """Exchange `sorts` ("colour", "kind") between the two things of a scene; None unless each of the two captions is true of
    its own picture alone."""
    if len(scene.things) != 2:
        return None
    a, b = scene.things
    things = (
        replace(a, **{sort: getattr(b, sort) for sort in sorts}),
        replace(b, **{sort: getattr(a, sort) for sort in sorts}),
    )
    other = replace(scene, things=things)
    claims = claim_of(scene, style), claim_of(other, style)
    apart = all(map(inside, things)) and not is_true(claims[0], other) and not is_true(claims[1], scene)
    if not (apart and is_true(claims[0], scene) and is_true(claims[1], other)):
        return None
    return Twins(scene, other, (describe(claims[0], scene, style), describe(claims[1], scene, style)))


def inside(thing: Thing) -> bool:
    """Whether a thing is completely in the picture; a thing that has become another kind may be wider."""
    return min(thing.box()) >= 0 and max(thing.box()) <= 1


def describe(claim: Claim, scene: Scene, style: str = "full") -> str:
    """The sentence for a claim, in the words of the scene's own captions."""
    return say(claim, style, scene.seed)


def fits(scene: Scene, claim: Claim) -> bool:
    """Whether the claim is true of the scene."""
    return is_true(claim, scene)
