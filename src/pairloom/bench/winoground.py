"""Winoground (Thrush et al. 2022, arXiv 2204.03162): two pictures, two captions of the same words in another order.

Does not know: which of the 400 need reading or common sense rather than composition; the tags tell some of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pairloom.bench._case import Case, Cases, Reading, as_released, read_json, read_lines, released, said
from pairloom.bench._drawn import PAIRS, Studio, twins
from pairloom.bench._measure import Floats, Measure, by_tag, quads
from pairloom.data.world import Scene

CLAIM = "Winoground: which of two pictures goes with which of two captions made of the same words"
FOLDERS = ("winoground",)


def read(root: Path) -> Cases:
    """data.json (a list, as diffusion-itm ships it) or examples.jsonl (as the hub does): id, caption_0, caption_1,
    collapsed_tag ...; pictures images/ex_ID_img_0.png and _1."""
    reading = Reading(root)
    file = released(root, "data.json", "examples.jsonl", "data/examples.jsonl")
    rows = read_json(file, list) if file.suffix == ".json" else read_lines(file)
    for number, row in enumerate(rows):
        with as_released(file, f"entry {number}"):
            name = int(row["id"])
            pictures = tuple(
                reading.picture(f"images/ex_{name}_img_{side}.png", f"data/images/ex_{name}_img_{side}.png")
                for side in (0, 1)
            )
            texts = said(row["caption_0"]), said(row["caption_1"])
            reading.add(Case(str(name), pictures, texts, ((0, 0), (1, 1)), str(row.get("collapsed_tag", ""))))
    return reading.found()


def measures(cases: Sequence[Case], grids: Sequence[Floats]) -> list[Measure]:
    """Text, image and group score; the group score by tag."""
    made = quads(cases, grids)
    return made + by_tag(next(one for one in made if one.headline), cases)


def mini(out: Path, seed: int, count: int = 80) -> dict[Path, Scene]:
    """Pairs of scenes that exchange colours ("Relation") or kinds ("Object"), in turn."""
    studio = Studio(out, "winoground", seed)
    rows: list[dict[str, object]] = []
    for scene in studio.scenes(PAIRS):
        sort, tag, collapsed = (("colour", "Adjective-Color", "Relation"), ("kind", "Noun", "Object"))[
            len(rows) % 2
        ]
        made = twins(scene, (sort,))
        if made is None:
            continue
        name = len(rows)
        for side, shown in enumerate((made.first, made.second)):
            studio.put(shown, f"images/ex_{name}_img_{side}.png")
        rows.append({
            "id": name, "caption_0": made.captions[0], "caption_1": made.captions[1], "tag": tag,
            "secondary_tag": "", "num_main_preds": 1, "collapsed_tag": collapsed,
        })  # fmt: skip
        if len(rows) == count:
            break
    studio.write("data.json", rows)
    return studio.shown
