"""Bottom-up-attention TSV with base64, a picture a line: LXMERT's ten columns, or the six of the first release (Anderson et al.,
2018). A folder may hold several such files.

LXMERT's lines have the best object and the best attribute of each region, with their confidence; they become distributions over 1,600
objects behind background and over 400 attributes behind none (`detected.distributions`). Regions come surest first.
"""

from __future__ import annotations

import base64
import binascii
from pathlib import Path
from typing import Any

import numpy
from numpy.typing import NDArray

from pairloom.data.detected import Detected, distributions, shares
from pairloom.data.pixels import Unreadable
from pairloom.errors import Mistake

CLAIM = "bottom-up-attention .tsv with base64: img_id, img_h, img_w, objects ..., num_boxes, boxes, features (LXMERT)"
TEN = (
    "img_id", "img_h", "img_w", "objects_id", "objects_conf", "attrs_id", "attrs_conf", "num_boxes", "boxes", "features"
)  # fmt: skip
SIX = ("image_id", "image_w", "image_h", "num_boxes", "boxes", "features")
OBJECTS, ATTRIBUTES = 1600, 400  # of Visual Genome, without background and none
LONGEST = 1 << 26  # bytes of a line: 100 regions of 2,048 features have 1.1 million


def sniff(path: Path) -> bool:
    return any(_is_ours(file) for file in _files(path))


def index(path: Path) -> dict[str, tuple[str, int]]:
    """The id of each line -> its file and where the line begins. Mistake where two lines have one id."""
    places: dict[str, tuple[str, int]] = {}
    for file in filter(_is_ours, _files(path)):
        with open(file, "rb") as stream:
            start = 0
            while line := stream.readline(LONGEST):
                record = line[:300].partition(b"\t")[0].decode("utf-8", "replace").strip()
                if record in places:
                    raise Mistake(f"{file} has two lines called {record}.", "", "Name one file.")
                if record:
                    places[record] = (file.name, start)
                start += len(line)
    return places


def read(path: Path, where: tuple[str, int]) -> Detected:
    name, start = where
    try:
        with open(path / name if path.is_dir() else path, "rb") as stream:
            stream.seek(start)
            cells = stream.readline(LONGEST).rstrip(b"\r\n").split(b"\t")
    except OSError as error:
        raise Unreadable(f"the file cannot be read: {error.strerror}") from error
    columns = next((names for names in (TEN, SIX) if len(names) == len(cells)), None)
    if columns is None:
        raise Unreadable(f"its line is cut off: {len(cells)} columns of {len(TEN)} or {len(SIX)}")
    line = dict(zip(columns, cells))
    try:
        count, width, height = (_number(line, one) for one in ("num_boxes", "w", "h"))
        features = _array(line["features"], "<f4", count)
        boxes = shares(_array(line["boxes"], "<f4", count), float(width), float(height))
    except (ValueError, binascii.Error) as error:
        raise Unreadable(f"its line is cut off or broken: {error}") from error
    if columns is SIX:
        return Detected(features, boxes)
    return _labelled(line, Detected(features, boxes), count)


def _labelled(line: dict[str, bytes], detected: Detected, count: int) -> Detected:
    """Regions with the detector's classes and attributes, surest first."""
    try:
        best = {
            kind: (
                _array(line[f"{kind}_id"], "<i8", count)[:, 0],
                _array(line[f"{kind}_conf"], "<f4", count)[:, 0],
            )
            for kind in ("objects", "attrs")
        }
    except (ValueError, binascii.Error) as error:
        raise Unreadable(f"its objects or attributes are broken: {error}") from error
    classes, attributes = (
        distributions(*best[kind], kinds) for kind, kinds in (("objects", OBJECTS), ("attrs", ATTRIBUTES))
    )
    whole = Detected(detected.features, detected.boxes, classes, attributes)
    return whole.take(numpy.argsort(-best["objects"][1], kind="stable"))


def _number(line: dict[str, bytes], name: str) -> int:
    return int(next(value for column, value in line.items() if column == name or column.endswith(f"_{name}")))


def _array(data: bytes, kind: str, count: int) -> NDArray[Any]:
    """[R n] numbers of base64. ValueError where they are not those of R regions."""
    return numpy.frombuffer(base64.b64decode(data, validate=True), kind).reshape(count, -1)


def _files(path: Path) -> list[Path]:
    if path.is_dir():
        return sorted(path.glob("*.tsv"))
    return [path] if path.suffix == ".tsv" and path.is_file() else []


def _is_ours(file: Path) -> bool:
    """Whether the first line has the columns, and numbers where they belong."""
    with open(file, "rb") as stream:
        cells = stream.readline(LONGEST).split(b"\t")
    columns = next((names for names in (TEN, SIX) if len(names) == len(cells)), ())
    return bool(columns) and all(
        value.isdigit()
        for name, value in zip(columns, cells)
        if name.endswith(("_w", "_h")) or name == "num_boxes"
    )
