"""Flickr30K as in GDBench (Krojer et al. 2023, arXiv 2305.16397): the right candidate among ten that a CLIP has retrieved.

The true picture or text was added to each list ("oracle candidates"), so that R@1 here is no retrieval result and is not
comparable with retrieval among all 1,014 pictures.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from pathlib import Path, PurePosixPath

from pairloom.bench._case import (
    Case,
    CaseReader,
    Cases,
    Picture,
    as_released,
    read_json,
    released,
    several,
    text_of,
)
from pairloom.bench._drawn import PAIRS, Studio, fits
from pairloom.bench._measure import Floats, Measure, top, top_as_published
from pairloom.world import Scene
from pairloom.world.words import STYLES, caption, claim_of

CLAIM = "Flickr30K, text to image and image to text, each among 10 candidates with the true one put in"
FOLDERS = ("flickr30k",)
IMAGES, TEXTS = "val_top10_RN50x64.json", "val_top10_RN50x64_text.json"
WAYS = ("text to image", "image to text")
NAMED = "10-way, oracle candidates"


def read(root: Path) -> Cases:
    """Read IMAGES: {caption: [10 picture paths]} and TEXTS: {picture path: [10 captions]}, the right one first in both.

    Text to image: the released code uses every fifth caption, which is one a picture if each has five. The sound protocol
    uses one caption of every picture: that one, or the first of a picture that the released code misses. Pictures: in
    images/, or at the path.
    """
    reading = CaseReader(root)
    file = released(root, IMAGES)
    queries: list[tuple[str, list[str]]] = []
    for number, (text, paths) in enumerate(read_json(file, dict).items()):
        with as_released(file, f"entry {number}"):
            queries.append((text_of(text), [text_of(path) for path in several(paths, 10)]))
    sound: dict[str, int] = {}
    for number in (*range(0, len(queries), 5), *range(len(queries))):
        sound.setdefault(queries[number][1][0], number)
    for number in sorted({*range(0, len(queries), 5), *sound.values()}):
        text, names = queries[number]
        part = "sound" if number % 5 else "" if sound[names[0]] == number else "published"
        pictures = tuple(_picture(reading, name) for name in names)
        reading.add(Case(f"t2i/{number}", pictures, (text,), ((0, 0),), WAYS[0], names[0], part))
    file = released(root, TEXTS)
    for number, (path, texts) in enumerate(read_json(file, dict).items()):
        with as_released(file, f"entry {number}"):
            own = tuple(text_of(text) for text in several(texts, 10))
            reading.add(Case(f"i2t/{number}", (_picture(reading, path),), own, ((0, 0),), WAYS[1], path))
    return reading.finish()


def _picture(reading: CaseReader, path: str) -> Picture:
    return reading.picture(f"images/{PurePosixPath(path).name}", path)


def measures(cases: Sequence[Case], grids: Sequence[Floats]) -> list[Measure]:
    """R@1 and R@5 of both directions."""
    measure_rows = []
    for way in WAYS:
        for k in (1, 5):
            name = f"R@{k} {way} ({NAMED})"
            sound = [at for at, case in enumerate(cases) if case.tag == way and case.part != "published"]
            if sound:
                measure_rows.append(
                    top(k, name, [cases[at] for at in sound], [grids[at] for at in sound], k == 1)
                )
            published_rows = [at for at, case in enumerate(cases) if case.tag == way and case.part != "sound"]
            if published_rows:
                note = (
                    "ties to the first candidate, which is the right one"
                    if k == 1
                    else "ties go against the first"
                )
                rows = [cases[at] for at in published_rows], [grids[at] for at in published_rows]
                measure_rows.append(top_as_published(k, name, *rows, note=note))
    return measure_rows


def mini(out: Path, seed: int, count: int = 50) -> dict[Path, Scene]:
    """Miniature: `count` pictures with five captions each; the candidates are pictures and captions that are false of each
    other."""
    studio = Studio(out, "flickr30k", seed)
    ways = [(style, 0) for style in STYLES] + [("paraphrase", 1)]
    scenes: list[Scene] = []
    said_before: set[str] = set()
    for scene in studio.scenes(PAIRS):
        texts = [caption(scene, *way) for way in ways]
        if len(set(texts)) == 5 and not said_before & set(texts):
            scenes.append(scene)
            said_before |= set(texts)
        if len(scenes) == count:
            break
    paths = [studio.put(scene, f"images/{1000 + at}.jpg") for at, scene in enumerate(scenes)]
    paths = [f"datasets/flickr30k/{path}" for path in paths]  # the form of the release
    queries: dict[str, list[str]] = {}
    answers: dict[str, list[str]] = {}
    for at, scene in enumerate(scenes):
        others = [(at + step) % count for step in range(1, count)]
        for way in ways:
            claim = claim_of(scene, *way)
            false = islice((paths[other] for other in others if not fits(scenes[other], claim)), 9)
            queries[caption(scene, *way)] = [paths[at], *false]
        unfit = (scenes[other] for other in others if not fits(scene, claim_of(scenes[other], *ways[0])))
        answers[paths[at]] = [caption(scene, *ways[0]), *(caption(one, *ways[0]) for one in islice(unfit, 9))]
    studio.write(IMAGES, queries)
    studio.write(TEXTS, answers)
    return studio.shown
