"""Writing of a model folder: whole files, and never over what is not ours."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from safetensors.torch import save as to_bytes

import pairloom
from pairloom.blocks.tensors import tensors_of
from pairloom.config_json import to_dict
from pairloom.data.disk import atomic_write, unwritable
from pairloom.data.feed import feed_name
from pairloom.errors import Mistake
from pairloom.model.card import card
from pairloom.model.folder import MARK, read_json
from pairloom.model.model import Model


@runtime_checkable
class OwnFiles(Protocol):
    """A system that writes the files of its model folder itself, without a tokenizer and a file of weights."""

    def write(self, folder: Path, about: Mapping[str, Any]) -> None:
        """Write them; config.json is the last."""
        ...


def save(model: Model, where: Path | str) -> Path:
    """Write a model folder; training state (momentum copies, queues) stays out. Each file appears whole.

    Raises Mistake where the folder holds something that is not a model of ours, or the disk refuses; ValueError for an
    engine (`at_speed`), which has no weights to save.
    """
    if hasattr(model.system, "speed"):
        raise ValueError("an engine cannot be saved: save the model that at_speed was asked of")
    where = Path(where)
    claim(where)
    if isinstance(model.system, OwnFiles):
        with atomic_write(where / "README.md", replace=True) as file:
            file.write(card(model).encode())
        model.system.write(where, model.about)
        return where
    drop = tuple(getattr(model.system, "training_state", ()))
    tensors = {name: tensor.cpu() for name, tensor in tensors_of(model.system, drop).items()}
    config = {
        MARK: pairloom.__version__,
        "system": model.name,
        "config": to_dict(model.config),
        feed_name(model.feed): to_dict(model.feed),
        "generation": to_dict(model.generation),
        "about": model.about,
    }
    files = {
        "model.safetensors": to_bytes(tensors, {"format": "pt"}),
        "tokenizer.json": model.tokens.to_json().encode(),
        "README.md": card(model).encode(),
        "config.json": (json.dumps(config, indent=1, ensure_ascii=False) + "\n").encode(),
    }
    for name, data in files.items():
        with atomic_write(where / name, replace=True) as file:
            file.write(data)
    return where


def claim(where: Path) -> None:
    """Make a folder, or take one that is empty or ours already. Mistake where it is someone else's."""
    try:
        where.mkdir(parents=True, exist_ok=True)
        entries = sorted(entry.name for entry in where.iterdir() if not entry.name.startswith("."))
    except OSError as error:
        raise unwritable(where, error) from error
    if entries and not any(MARK in read_json(where / name) for name in ("config.json", "run.json")):
        seen = ", ".join(entries[:3])
        raise Mistake(
            f"{where} is not a folder of pairloom's.", f"It holds {seen}.", "Name an empty or a new folder."
        )


def claim_empty(out: Path) -> None:
    """Make a folder for an export. Mistake where it holds anything."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        occupied = any(out.iterdir())
    except OSError as error:
        raise unwritable(out, error) from error
    if occupied:
        raise Mistake(f"{out} is not empty.", "Nothing of yours is overwritten.", "Name a new folder.")
