"""Winoground (Thrush et al. 2022, arXiv 2204.03162): two pictures, and two captions of the same words in another order.

Some of the 400 cases need reading or common sense rather than composition, which the tags tell in part.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from pairloom.bench._case import (
    Case,
    CaseReader,
    Cases,
    Picture,
    as_released,
    read_json,
    read_lines,
    released,
    text_of,
)
from pairloom.bench._drawn import PAIRS, Studio, twins
from pairloom.bench._measure import Floats, Measure, by_tag, quads
from pairloom.bench._table import parts, table
from pairloom.world import Scene

CLAIM = "Winoground: which of two pictures goes with which of two captions made of the same words"
FOLDERS = ("winoground",)
COLUMNS = ("id", "caption_0", "caption_1", "collapsed_tag")


def read(root: Path) -> Cases:
    """Read data.json (a list, from diffusion-itm), examples.jsonl (the hub's first layout) or data/test-*.parquet (its present
    one): id, caption_0, caption_1, collapsed_tag ...; pictures: images/ex_ID_img_0.png and _1, or inside the table."""
    reading = CaseReader(root)
    if tables := parts(root, "test") or parts(root / "data", "test"):
        for file in tables:
            for number, row in enumerate(table(file, COLUMNS)):
                name = file.relative_to(root).as_posix()
                sides = tuple(
                    replace(reading.picture(name), cell=(f"image_{side}", number)) for side in (0, 1)
                )
                _add(reading, file, number, row, sides)
        return reading.finish()
    file = released(root, "data.json", "examples.jsonl", "data/examples.jsonl")
    for number, row in enumerate(read_json(file, list) if file.suffix == ".json" else read_lines(file)):
        with as_released(file, f"entry {number}"):
            names = [f"images/ex_{int(row['id'])}_img_{side}.png" for side in (0, 1)]
        _add(reading, file, number, row, tuple(reading.picture(name, f"data/{name}") for name in names))
    return reading.finish()


def _add(
    reading: CaseReader, file: Path, number: int, row: dict[str, Any], pictures: tuple[Picture, ...]
) -> None:
    with as_released(file, f"entry {number}"):
        texts = text_of(row["caption_0"]), text_of(row["caption_1"])
        tag = str(row.get("collapsed_tag", ""))
        reading.add(Case(str(int(row["id"])), pictures, texts, ((0, 0), (1, 1)), tag))


def measures(cases: Sequence[Case], grids: Sequence[Floats]) -> list[Measure]:
    """Text, image and group score, and the group score by tag."""
    measure_rows = quads(cases, grids)
    return measure_rows + by_tag(next(one for one in measure_rows if one.headline), cases)


def mini(out: Path, seed: int, count: int = 80) -> dict[Path, Scene]:
    """Miniature: pairs of scenes that exchange colours ("Relation") or kinds ("Object"), in turn."""
    studio = Studio(out, "winoground", seed)
    rows: list[dict[str, object]] = []
    for scene in studio.scenes(PAIRS):
        sort, tag, collapsed = (("colour", "Adjective-Color", "Relation"), ("kind", "Noun", "Object"))[
            len(rows) % 2
        ]
        pair = twins(scene, (sort,))
        if pair is None:
            continue
        name = len(rows)
        for side, shown in enumerate((pair.first, pair.second)):
            studio.put(shown, f"images/ex_{name}_img_{side}.png")
        rows.append({
            "id": name, "caption_0": pair.captions[0], "caption_1": pair.captions[1], "tag": tag,
            "secondary_tag": "", "num_main_preds": 1, "collapsed_tag": collapsed,
        })  # fmt: skip
        if len(rows) == count:
            break
    studio.write("data.json", rows)
    return studio.shown
