"""Folders of training runs: marked by run.json before the first step, recognised when the run is resumed, removed by restart."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pairloom
from pairloom.data.disk import atomic_write
from pairloom.errors import Mistake
from pairloom.frozen import forget
from pairloom.model import MARK, claim, read_json
from pairloom.train import checkpoint

OWN = (
    "log.jsonl times.jsonl config.json tokenizer.json README.md run.json encoders.json space.json".split()
)  # and *.safetensors


def begun_in(out: Path) -> dict[str, Any] | None:
    """The content of run.json in `out`; None where there is none, or one of another command."""
    facts = read_json(out / "run.json")
    return facts if MARK in facts and "system" in facts else None


def demand_room(out: Path) -> None:
    """Raise Mistake where `out` holds files that are not of a training run: another model, or files of another command."""
    if begun_in(out) is None and any(not entry.name.startswith(".") for entry in out.iterdir()):
        raise Mistake(
            f"{out} holds a model or the work of another command.",
            "Nothing of yours is overwritten.",
            "Name an empty or a new folder; --init starts from a model.",
        )


def demand_same(out: Path, facts: Mapping[str, Any]) -> None:
    """Raise Mistake where `out` holds another run, one with other facts."""
    begun, now = begun_in(out), json.loads(json.dumps(facts))
    changed = [name for name, value in now.items() if begun and begun.get(name) != value]
    if changed:
        raise Mistake(
            f"{out} holds another run: {_differences(begun or {}, now, changed)}.",
            "A run is resumed only with the settings and data that it began with.",
            "Give the same settings, another folder, or --restart to begin again.",
        )


def sign(out: Path, facts: Mapping[str, Any], tokenizer: str = "") -> None:
    """Write run.json, and the tokenizer of a run that has one."""
    about = {MARK: pairloom.__version__, **facts}
    files = {"run.json": json.dumps(about, indent=1) + "\n", "tokenizer.json": tokenizer}
    for name, text in files.items():
        if not text:
            continue
        with atomic_write(out / name, replace=True) as file:
            file.write(text.encode())


def restart(out: Path) -> None:
    """Remove a run: its checkpoints, log and model. Mistake for a folder that is not of a training run."""
    if not out.exists():
        return
    claim(out)
    demand_room(out)
    checkpoint.clear(out / "checkpoints")
    shutil.rmtree(out / "tensorboard", ignore_errors=True)
    forget(out)
    for file in (*(out / name for name in OWN), *out.glob("*.safetensors")):
        file.unlink(missing_ok=True)


def _differences(before: Mapping[str, Any], now: Mapping[str, Any], names: Iterable[str]) -> str:
    """The settings that differ, with their group."""
    words = []
    for name in names:
        if isinstance(now[name], dict) and isinstance(before.get(name), dict):
            words += [f"{name}.{key}" for key in now[name] if before[name].get(key) != now[name][key]]
        else:
            words.append(name)
    return ", ".join(words)
