"""Regions of the pictures of a source into a folder, a file a picture; what is there already is not made again."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy

from pairloom.api.lines import Entry, pictures_of
from pairloom.data.ahead import ahead
from pairloom.data.detected import Detected
from pairloom.data.disk import atomic_write, check_output, json_bytes
from pairloom.data.pixels import Unreadable, open_image
from pairloom.errors import Mistake
from pairloom.runtime.devices import resolve_device
from pairloom.tasks.regions import DetectedRegions, GridRegions, RegionMaker
from pairloom.towers import NONE, load_image_tower, wanted_towers
from pairloom.towers.detector import load_detector

ABOUT = "regions.json"
SHOWN = 5  # reasons of a summary
Tell = Callable[[int, int], None]  # tell(pictures, bad ones among them)


@dataclass
class MadeRegions:
    """What was made: `written` new files, `done` that were there before, pictures `without` any region, and the problems of those that
    cannot be read by name."""

    out: Path
    about: dict[str, Any]
    written: int = 0
    done: int = 0
    without: int = 0
    copies: int = 0
    problems: dict[str, str] = field(default_factory=dict)

    def facts(self) -> dict[str, Any]:
        """All of it as plain values."""
        counts = {"made": self.written, "done": self.done, "copies": self.copies, "without": self.without}
        reasons = Counter(self.problems.values()).most_common()
        about = {name: value for name, value in self.about.items() if name != "labels"}
        return {
            **counts,
            "unreadable": len(self.problems),
            "reasons": dict(reasons[:SHOWN]),
            **about,
            "out": str(self.out),
        }

    def lines(self) -> list[str]:
        """It in words, for people."""
        counts = {
            "made": self.written, "there already": self.done, "copies of others": self.copies, "without any region": self.without,
            "cannot be read": len(self.problems),
        }  # fmt: skip
        parts = [f"{count:,} {what}" for what, count in counts.items() if count] or ["no picture"]
        reasons = [f"{name}: {reason}" for name, reason in list(self.problems.items())[:SHOWN]]
        about = f"{self.about['features']} features, {self.about['classes']} classes"
        return [f"Regions of pictures: {', '.join(parts)}; {about}; in {self.out}", *reasons]


def region_maker(
    detector: str | Path | None,
    image_tower: str | None,
    grid: bool,
    most: int,
    threshold: float,
    device: str = "auto",
) -> RegionMaker:
    """A detector's regions, or with `grid` or `image_tower` the cells of a tower: the named one or one that is installed.

    Mistake where it is not clear which.
    """
    grid = grid or image_tower is not None
    if (detector is None) != grid:
        why = "They are made by a detector, or are the cells of an image tower."
        raise Mistake("Which regions?", why, "Give --detector FOLDER, or --grid, one of them.")
    chosen = str(resolve_device(device))
    if detector is not None:
        return DetectedRegions(load_detector(detector, chosen), str(detector), most, threshold)
    name, _ = wanted_towers(image_tower, NONE)
    if name is None:
        raise Mistake(
            "There is no image tower.", "None is named or installed.", "Give --image-tower (docs/towers.md)."
        )
    return GridRegions(load_image_tower(name, chosen))


def make_regions(
    pictures: Path,
    maker: RegionMaker,
    out: Path,
    restart: bool = False,
    dry_run: bool = False,
    tell: Tell = lambda done, bad: None,
) -> MadeRegions:
    """Make the regions of every picture of a file, folder, set or stream of names as OUT/KEY.npz, each written whole or not at all.

    Mistake where `out` holds regions of another detector, or of other settings, unless `restart` removes them; or no regions.
    """
    if pictures != Path("-"):
        check_output(out, pictures)
    result = MadeRegions(out, maker.about())
    _claim(out, result.about, restart, dry_run)
    seen: set[str] = set()

    def left() -> Iterator[Entry]:
        for entry in pictures_of(pictures):
            key = entry[1]
            if key and key in seen:
                result.copies += 1
            elif key and _file(out, key).exists() and not (restart and dry_run):
                seen.add(key)
                result.done += 1
                tell(1, 0)
            else:
                seen.add(key)
                yield entry

    for name, key, image, problem in ahead(_decoded, left()):
        if problem:
            result.problems[name] = problem
        else:
            result.written += 1
            if not dry_run:
                (detected,) = maker.make([image])
                result.without += not len(detected.features)
                _write(_file(out, key), detected)
        tell(1, int(bool(problem)))
    return result


def _decoded(entry: Entry) -> tuple[str, str, Any, str]:
    name, key, data = entry
    try:
        return name, key, open_image(data()), ""
    except (OSError, Unreadable) as error:
        return name, key, None, str(error)


def _file(out: Path, key: str) -> Path:
    return out / f"{key}.npz"


def _write(file: Path, detected: Detected) -> None:
    with atomic_write(file) as stream:
        numpy.savez(stream, **detected.arrays())


def _claim(out: Path, about: dict[str, Any], restart: bool, dry_run: bool) -> None:
    """Say in the folder what its regions are. Mistake where it says something else, or holds something else."""
    mark = out / ABOUT
    try:
        before = json.loads(mark.read_text("utf-8"))
    except (OSError, ValueError):
        before = None
    if before is None and out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise Mistake(
            f"{out} holds something else than regions.",
            "Nothing of yours is overwritten.",
            "Name another --out.",
        )
    if before not in (None, about) and not restart:
        other = [name for name in about if not isinstance(before, dict) or before.get(name) != about[name]]
        raise Mistake(
            f"{out} holds other regions.",
            f"Another {', '.join(other)}.",
            "Name another --out, or add --restart.",
        )
    if dry_run:
        return
    if restart and before is not None:
        for file in out.glob("*.npz"):
            file.unlink()
    with atomic_write(mark, replace=True) as stream:
        stream.write(json_bytes(about))
