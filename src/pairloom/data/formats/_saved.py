"""Folders that `datasets` saves (`save_to_disk`): Arrow files, and the JSON that names them, their splits and their features.

Does not know: rows, columns.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pairloom.data.disk import atomic_write
from pairloom.data.formats import _files

STATE, INFO, SPLITS = "state.json", "dataset_info.json", "dataset_dict.json"
CACHE = "cache-"  # how names begin of what `map` and `filter` leave beside the data


def without_caches(root: Path, names: Iterable[str]) -> list[str]:
    """Names of files without the Arrow files that are no data of their folder: which its state.json does not name, or that are caches."""
    kept = []
    for name in names:
        folder, _, last = name.rpartition("/")
        if _files.split(name)[1] == ".arrow":
            data = _data_files(root / folder)
            if last not in data if data else last.startswith(CACHE):
                continue
        kept.append(name)
    return kept


def absent(root: Path, names: Iterable[str]) -> list[str]:
    """Data files that a state.json among the names speaks of and that are not there."""
    folders = [name.rpartition("/")[0] for name in names if name.rpartition("/")[2] == STATE]
    files = [f"{folder}/{last}".lstrip("/") for folder in folders for last in _data_files(root / folder)]
    return [name for name in files if not (root / name).is_file()]


def is_about_arrow(root: Path, name: str) -> bool:
    """Whether a file is JSON that `datasets` saves beside Arrow files, or a cache of them."""
    folder, _, last = name.rpartition("/")
    if last in (STATE, INFO, SPLITS):
        return last == SPLITS or any((root / folder).glob("*.arrow"))
    return last.startswith(CACHE) and _files.split(last)[1] == ".arrow"


@_files.once
def _data_files(folder: Path) -> tuple[str, ...]:
    """The Arrow files that a folder's state.json names; none without one."""
    try:
        state: Any = json.loads((folder / STATE).read_bytes())
        return tuple(str(entry["filename"]) for entry in state["_data_files"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return ()


def write(out: Path, files: Iterable[str]) -> None:
    """The JSON beside Arrow files, so that `datasets.load_from_disk` reads their folders."""
    folders: dict[str, list[str]] = {}
    for name in sorted(name for name in files if (out / name).is_file()):
        folder, _, last = name.rpartition("/")
        folders.setdefault(folder, []).append(last)
    for folder, names in folders.items():
        digest = hashlib.blake2b(digest_size=8)
        for name in names:
            with open(out / folder / name, "rb") as file:
                digest.update(hashlib.file_digest(file, "blake2b").digest())
        state: dict[str, Any] = {
            "_data_files": [{"filename": name} for name in names], "_fingerprint": digest.hexdigest(), "_format_columns": None,
            "_format_kwargs": {}, "_format_type": None, "_output_all_columns": False, "_split": None,
        }  # fmt: skip
        _write(out / folder / STATE, state)
        _write(out / folder / INFO, {})  # the features stand in the files
    inner = [folder for folder in folders if folder and "/" not in folder]
    if inner and len(inner) == len(folders):
        _write(out / SPLITS, {"splits": inner})


def _write(path: Path, value: dict[str, Any]) -> None:
    with atomic_write(path) as file:
        file.write(json.dumps(value, indent=2).encode())
