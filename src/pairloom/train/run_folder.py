"""The folder of a run: signed before the first step, recognised when the run goes on, forgotten on request.

Does not know: what is trained, how.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pairloom
from pairloom.data.disk import atomic_write
from pairloom.errors import Mistake
from pairloom.model import MARK, claim, read_json
from pairloom.train import checkpoint

OWN = "log.jsonl times.jsonl config.json tokenizer.json README.md run.json".split()  # and *.safetensors


def begun_in(out: Path) -> dict[str, Any] | None:
    """What run.json in `out` tells of a run that began there; None where there is none, or one of another command."""
    facts = read_json(out / "run.json")
    return facts if MARK in facts and "system" in facts else None


def demand_room(out: Path) -> None:
    """Mistake where `out` holds what no run of training began: a model from elsewhere, or what another command made."""
    if begun_in(out) is None and any(not entry.name.startswith(".") for entry in out.iterdir()):
        raise Mistake(
            f"{out} holds a model or the work of another command.",
            "Nothing of yours is overwritten.",
            "Name an empty or a new folder; --init starts from a model.",
        )


def demand_same(out: Path, facts: Mapping[str, Any]) -> None:
    """Mistake where another run began in `out`: one with other facts."""
    begun, now = begun_in(out), json.loads(json.dumps(facts))
    changed = [name for name, value in now.items() if begun and begun.get(name) != value]
    if changed:
        raise Mistake(
            f"{out} holds another run: {_differences(begun or {}, now, changed)}.",
            "A run goes on only as it began.",
            "Give the same settings, another folder, or --restart to begin again.",
        )


def sign(out: Path, facts: Mapping[str, Any], tokenizer: str) -> None:
    """Write what the run is, and its tokenizer."""
    about = {MARK: pairloom.__version__, **facts}
    files = {"run.json": json.dumps(about, indent=1) + "\n", "tokenizer.json": tokenizer}
    for name, text in files.items():
        with atomic_write(out / name, replace=True) as file:
            file.write(text.encode())


def restart(out: Path) -> None:
    """Forget a run: its checkpoints, log and model. A folder that is not pairloom's is left alone with a Mistake."""
    if not out.exists():
        return
    claim(out)
    demand_room(out)
    checkpoint.clear(out / "checkpoints")
    shutil.rmtree(out / "tensorboard", ignore_errors=True)
    for file in (*(out / name for name in OWN), *out.glob("*.safetensors")):
        file.unlink(missing_ok=True)


def _differences(before: Mapping[str, Any], now: Mapping[str, Any], names: Iterable[str]) -> str:
    """The names that differ, with their group."""
    words = []
    for name in names:
        if isinstance(now[name], dict) and isinstance(before.get(name), dict):
            words += [f"{name}.{key}" for key in now[name] if before[name].get(key) != now[name][key]]
        else:
            words.append(name)
    return ", ".join(words)
