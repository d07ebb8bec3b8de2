"""CLEVR as GDBench asks it (Krojer et al. 2023, arXiv 2305.16397): seven questions about scenes of two objects.

Recognition: which objects there are. Binding: which object has which attribute. Spatial: what is left and right.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from pathlib import Path

from pairloom.bench._case import Case, CaseReader, Cases, as_released, read_json, released, several, text_of
from pairloom.bench._drawn import Studio
from pairloom.bench._measure import Floats, Measure, by_tag, top, top_as_published
from pairloom.world import Scene
from pairloom.world.level import Level

CLAIM = (
    "CLEVR, seven subtasks: recognition, binding and place of two objects, a true text against a false one"
)
FOLDERS = ("clevr",)
SUBTASKS = (
    "pair_binding_size", "pair_binding_color", "recognition_color", "recognition_shape", "spatial",
    "binding_color_shape", "binding_shape_color",
)  # fmt: skip
TWO = Level(
    kinds=("ball", "box", "cup"), patterns=("plain",), places=("plain",), things=(0.0, 1.0),
    colours=("red", "green", "blue", "purple", "yellow", "brown"), relations=("left of",), groups=0.0,
)  # fmt: skip


def read(root: Path) -> Cases:
    """Read captions/SUBTASK.json: {picture: [[true, false], [true, false]]}; pictures: images/PICTURE."""
    reading = CaseReader(root)
    for subtask in SUBTASKS:
        file = released(root, f"captions/{subtask}.json")
        for name, items in read_json(file, dict).items():
            with as_released(file, name):
                for number, item in enumerate(several(items)):
                    if len(several(item)) < 2:
                        raise ValueError(f"a true and a false text are needed, not {item}")
                    texts = text_of(item[0]), text_of(item[1])
                    picture = reading.picture(f"images/{name}")
                    reading.add(
                        Case(f"{subtask}/{name}/{number}", (picture,), texts, ((0, 0),), subtask, name)
                    )
    return reading.finish()


def measures(cases: Sequence[Case], grids: Sequence[Floats]) -> list[Measure]:
    """Accuracy over all and by subtask."""
    measure_rows = top(1, "accuracy", cases, grids, headline=True)
    as_published = top_as_published(
        1, "accuracy", cases, grids, note="ties to the true text, which comes first"
    )
    return [measure_rows, *by_tag(measure_rows, cases), as_published, *by_tag(as_published, cases)]


def mini(out: Path, seed: int, count: int = 40) -> dict[Path, Scene]:
    """Miniature: `count` scenes of two things side by side, different in kind, colour and size; all seven subtasks of each."""
    studio = Studio(out, "clevr", seed)
    texts: dict[str, dict[str, list[list[str]]]] = {subtask: {} for subtask in SUBTASKS}
    unlike = (scene for scene in studio.scenes(TWO) if _unlike(scene))
    for number, scene in enumerate(islice(unlike, count)):
        name = f"CLEVR_val2_{number:06d}.png"
        studio.put(scene, f"images/{name}")
        for subtask, items in _ask(scene).items():
            texts[subtask][name] = items
    for subtask in SUBTASKS:
        studio.write(f"captions/{subtask}.json", texts[subtask])
    return studio.shown


def _unlike(scene: Scene) -> bool:
    return all(
        getattr(scene.things[0], sort) != getattr(scene.things[1], sort)
        for sort in ("kind", "colour", "size")
    )


def _ask(scene: Scene) -> dict[str, list[list[str]]]:
    """Both items of every subtask; scene.things[0] is on the left."""
    texts_by_subtask: dict[str, list[list[str]]] = {subtask: [] for subtask in SUBTASKS}
    left, right = scene.things
    for a, b, here, there in ((left, right, "left", "right"), (right, left, "right", "left")):
        colours = [colour for colour in TWO.colours if colour not in (a.colour, b.colour)]
        kinds = [kind for kind in TWO.kinds if kind not in (a.kind, b.kind)]
        texts_by_subtask["pair_binding_size"].append(
            [f"A {a.size} {a.kind} and a {b.size} {b.kind}.", f"A {b.size} {a.kind} and a {a.size} {b.kind}."]
        )
        texts_by_subtask["pair_binding_color"].append(
            [
                f"A {a.colour} {a.kind} and a {b.colour} {b.kind}.",
                f"A {b.colour} {a.kind} and a {a.colour} {b.kind}.",
            ]
        )
        texts_by_subtask["recognition_color"].append(
            [f"A {a.colour} object.", f"A {colours[scene.seed % len(colours)]} object."]
        )
        texts_by_subtask["recognition_shape"].append([f"A {a.kind}.", f"A {kinds[0]}."])
        texts_by_subtask["spatial"].append(
            [f"On the {side} is a {a.colour} {a.kind}." for side in (here, there)]
        )
        texts_by_subtask["binding_color_shape"].append([f"A {a.colour} {a.kind}.", f"A {b.colour} {a.kind}."])
        texts_by_subtask["binding_shape_color"].append([f"A {a.colour} {a.kind}.", f"A {a.colour} {b.kind}."])
    return texts_by_subtask
