"""LMDB of UNITER (an npz or a msgpack of arrays a picture) and of ViLBERT (a pickled record with base64 a picture).

A pickle is never loaded: `_plain_pickle` reads records of plain values and refuses all else. Where UNITER's list of kept regions
(nbb_*.json) lies beside its data, it is applied, as UNITER's loader does.
"""

from __future__ import annotations

import base64
import binascii
import json
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy

from pairloom.data.detected import Detected, shares
from pairloom.data.pixels import Unreadable
from pairloom.data.region_files import _plain_pickle
from pairloom.data.region_files._arrays import absent, arrays_of, detected_of
from pairloom.errors import Mistake

CLAIM = "LMDB of UNITER (npz or msgpack of features, norm_bb, soft_labels) or ViLBERT (records of boxes and features)"
LISTS = (b"__keys__", b"keys")  # records that list the others
DATA = "data.mdb"


def sniff(path: Path) -> bool:
    return path.suffix == ".mdb" and path.is_file() or (path / DATA).is_file()


def index(path: Path) -> dict[str, tuple[str, int]]:
    """The key of each record -> itself and how many of its regions are kept (0: all). Mistake where the file is cut off."""
    with _environment(path).begin() as reading:
        keys = [bytes(key) for key in reading.cursor().iternext(values=False)]
    names = [key.decode("utf-8", "replace") for key in keys if key not in LISTS]
    kept = _kept(path)
    return {name: (name, kept.get(name, 0)) for name in names}


def read(path: Path, where: tuple[str, int]) -> Detected:
    record, kept = where
    with _environment(path).begin() as reading:
        value = reading.get(record.encode())
    if value is None:
        raise Unreadable("its record is gone")
    if _plain_pickle.is_pickle(value):
        return _vilbert(_plain_pickle.read(value))
    arrays = arrays_of(value) if value.startswith(b"PK") else _msgpack(value, path)
    return detected_of(
        {name: array[: kept or None] if array.ndim else array for name, array in arrays.items()}
    )


def _vilbert(record: Any) -> Detected:
    """ViLBERT's record: base64 of float32 features and of boxes in pixels, and the size of the picture."""
    try:
        count = int(record["num_boxes"])
        features, boxes, classes = (
            numpy.frombuffer(base64.b64decode(record[name], validate=True), "<f4").reshape(count, -1)
            if name in record
            else None
            for name in ("features", "boxes", "cls_prob")
        )
        width, height = (float(record[f"image_{side}"]) for side in "wh")
    except (LookupError, TypeError, ValueError, binascii.Error) as error:
        raise Unreadable(f"its record is not ViLBERT's: {type(error).__name__} {error}") from error
    if features is None or boxes is None:
        raise Unreadable(f"its record has {', '.join(record)}, and no features or no boxes")
    return Detected(features, shares(boxes, width, height), classes)


def _msgpack(value: bytes, path: Path) -> dict[str, Any]:
    """Arrays by name, of a map in which an array is a map of its type, its shape and its bytes (msgpack-numpy)."""
    try:
        import msgpack
    except ImportError as error:
        raise absent("msgpack", path) from error
    try:
        record = msgpack.unpackb(value, raw=False, strict_map_key=False)
        return {
            str(name): numpy.frombuffer(one[b"data"], numpy.dtype(one[b"type"])).reshape(one[b"shape"])
            for name, one in record.items()
            if isinstance(one, dict) and one.get(b"kind", b"") == b""
        }
    except (msgpack.UnpackException, LookupError, TypeError, ValueError, AttributeError) as error:
        raise Unreadable(f"its record is neither npz nor msgpack of arrays: {error}") from error


def _kept(path: Path) -> dict[str, int]:
    """How many regions of each record UNITER keeps, from the list in its folder, where there is exactly one."""
    folder = path.parent if path.is_file() else path
    lists = [*folder.glob("nbb_*.json"), *folder.parent.glob("nbb_*.json")]
    if len(lists) != 1:
        return {}
    try:
        counts = json.loads(lists[0].read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return (
        {name: count for name, count in counts.items() if isinstance(count, int)}
        if isinstance(counts, dict)
        else {}
    )


@lru_cache(maxsize=4)  # a process may open one environment only once
def _environment(path: Path) -> Any:
    """The environment, for reading alone. Mistake where it is not whole: a page behind the end of the file would end the process."""
    try:
        import lmdb
    except ImportError as error:
        raise absent("lmdb", path) from error
    cut = Mistake(f"{path} cannot be read.", "It is no LMDB, or cut off.", "Copy it again.")
    try:
        environment = lmdb.open(
            str(path), subdir=path.is_dir(), readonly=True, lock=False, readahead=False, max_readers=128
        )
    except lmdb.Error as error:
        raise cut from error
    pages = environment.info()["last_pgno"] + 1
    file = path / DATA if path.is_dir() else path
    if file.stat().st_size < pages * environment.stat()["psize"]:
        environment.close()
        raise cut
    return environment
