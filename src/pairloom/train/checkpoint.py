"""Checkpoints: folders with tensors and one JSON file, written atomically.

A checkpoint is written beside its place, flushed to the disk, then renamed: after a kill at any moment the one before it is
usable. Nothing is pickled.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from pairloom.data.disk import sync_folder, unwritable
from pairloom.errors import Mistake

PART = ".part-"
Groups = Mapping[str, Mapping[str, Tensor]]


def save_checkpoint(
    folder: Path, step: int, groups: Groups, state: Mapping[str, Any], keep_last: int
) -> Path:
    """Save a checkpoint: `folder/STEP/` with GROUP.safetensors for each group and state.json; then remove all but the newest
    `keep_last`.

    Mistake where the disk cannot be written.
    """
    final = folder / f"{step:08d}"
    part = folder / f"{PART}{final.name}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for stale in folder.glob(f"{PART}*"):
            shutil.rmtree(stale)
        part.mkdir()
        for name, tensors in groups.items():
            if tensors:
                flat = {key: tensor.detach().cpu().contiguous() for key, tensor in tensors.items()}
                _write(part / f"{name}.safetensors", save(flat))
        _write(part / "state.json", json.dumps({"step": step, **state}, indent=1).encode())
        sync_folder(part)
        os.rename(part, final)
        sync_folder(folder)
        for old in checkpoints(folder)[:-keep_last]:
            shutil.rmtree(old.rename(folder / f"{PART}{old.name}"))
    except OSError as error:
        raise unwritable(final, error) from error
    return final


def checkpoints(folder: Path) -> list[Path]:
    """Complete checkpoints of a folder, oldest first."""
    entries = folder.iterdir() if folder.is_dir() else ()
    return sorted(entry for entry in entries if entry.name.isdigit() and (entry / "state.json").is_file())


def load_checkpoint(path: Path) -> tuple[dict[str, dict[str, Tensor]], dict[str, Any]]:
    """Load the groups and the state of a checkpoint. Mistake where a file cannot be read."""
    try:
        state = json.loads((path / "state.json").read_text("utf-8"))
        groups = {file.stem: load_file(file) for file in sorted(path.glob("*.safetensors"))}
    except (OSError, ValueError, SafetensorError) as error:
        raise Mistake(
            f"The checkpoint {path} cannot be read.", str(error), "Remove it to go on from the one before."
        ) from error
    return groups, state


def clear(folder: Path) -> None:
    """Remove all checkpoints, incomplete ones of a killed run included, and the folder if nothing else is in it."""
    if not folder.is_dir():
        return
    for entry in list(folder.iterdir()):
        if entry.name.isdigit() or entry.name.startswith(PART):
            shutil.rmtree(entry)
    if not any(folder.iterdir()):
        folder.rmdir()


def _write(file: Path, data: bytes) -> None:
    with open(file, "wb") as stream:
        stream.write(data)
        stream.flush()
        os.fsync(stream.fileno())
