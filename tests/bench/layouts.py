"""Layouts: a few rows of every release, written by hand with pictures of one colour each, and a judge by table."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from pairloom import registry
from pairloom.bench._case import Cases
from pairloom.bench._measure import Measure
from pairloom.bench._scoring import score


class Table:
    """Scores by hand: the pixel in a picture's corner (its grey) and the text -> a number; 0 where none is given."""

    way = "by hand"

    def __init__(self, told: dict[tuple[int, str], float]) -> None:
        self.told, self.cost = told, {"pairs": 0}

    def scores(self, images: Any, texts: Any, pairs: Any) -> np.ndarray:
        self.cost["pairs"] += len(pairs)
        grays = []
        for one in images:
            with Image.open(one) if isinstance(one, Path) else one.copy() as image:
                pixel = image.convert("RGB").getpixel((0, 0))
                assert isinstance(pixel, tuple)
                grays.append(round(pixel[0] / 10))
        return np.array([self.told.get((grays[image], texts[text]), 0.0) for image, text in pairs])


def picture(path: Path, gray: int, size: tuple[int, int] = (24, 24)) -> None:
    """A picture of one colour, gray * 10 (so that JPEG leaves no doubt)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (gray * 10,) * 3).save(path)


def write(path: Path, rows: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(rows if isinstance(rows, str) else json.dumps(rows), encoding="utf-8")


def write_csv(path: Path, rows: list[dict[str, Any]]) -> None:
    with open(path, "w", newline="", encoding="utf-8") as file:
        out = csv.DictWriter(file, list(rows[0]))
        out.writeheader()
        out.writerows(rows)


def measure(
    name: str, root: Path, told: dict[tuple[int, str], float]
) -> tuple[Cases, dict[tuple[str, str], Measure]]:
    """What the reader finds, and its measures by (kind, name), scored by the table."""
    module = registry.find("bench", name)
    cases = module.read(root)
    found = score(
        lambda: Table(told), repr(sorted(told.items())), cases.cases, root, root.with_name("scores")
    )
    made = module.measures(cases.cases, [found.grids[case.key] for case in cases.cases])
    return cases, {(one.kind, one.name): one for one in made}


def value(found: dict[tuple[str, str], Measure], kind: str, name: str) -> float:
    return found[kind, name].interval.value
