"""The plan of a run: its settings, its fingerprint, and where its unfinished work lies. Resume is the default.

Does not know: what the steps do.
"""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import pairloom
from pairloom.data.disk import atomic_write, check_output
from pairloom.data.pair import content_hash
from pairloom.data.shards import PairSet
from pairloom.errors import Mistake

WORK = ".pairloom"  # inside the output folder while a run is unfinished
CLEAN = "pairs"  # the clean set, in the format of the raw one
RESULTS = ("pairs.parquet", "run.json", "report.html")


@dataclass(frozen=True)
class Settings:
    """What a user may decide about a run.

    model: "self" (trained on these very pairs, cross-fitted) or a model folder. false_drop: largest share of the good
    pairs that may be dropped. captions: propose captions where no text is left. add: also beside kept texts (the
    paper's union). keep_alt_text: a replaced text stays behind its replacement. decode, top_p, proposals: how captions
    are proposed (CapFilt: nucleus, 0.9). accept: P(match) that a proposal needs (the paper's filter: 0.5).
    decoupled: captioner and filter are two models, fine-tuned apart (section 4.3 of BLIP); else one. trusted: a
    human-made set they are fine-tuned on. rounds: how often judge and captions are made anew from the last result.
    prove: train the same new model on raw and on clean pairs and compare; test: a set to compare on. size: pixels a
    side that the self judge reads. effort: its training time, 1 as measured in docs/papers/blip.md.
    """

    model: str = "self"
    false_drop: float = 0.05
    captions: bool = True
    add: bool = False
    keep_alt_text: bool = False
    decode: Literal["nucleus", "beam"] = "nucleus"
    top_p: float = 0.9
    proposals: int = 6
    accept: float = 0.5
    decoupled: bool = True
    trusted: str | None = None
    rounds: int = 1
    prove: bool = False
    test: str | None = None
    seeds: int = 3
    size: int = 64
    effort: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("false_drop", "top_p", "accept"):
            if not 0 < getattr(self, name) <= 1:
                raise ValueError(f"{name} is a share between 0 and 1, got {getattr(self, name)}")
        for name in ("proposals", "rounds", "seeds", "size"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")


def prepare(found: PairSet, out: Path, settings: Settings, restart: bool = False) -> Path:
    """Make or find the work folder of this very run. Returns it; raises Mistake where the output folder is not ours,
    lies inside the input (or around it), cannot be written, or holds a run with other settings."""
    check_output(out, found.path)
    plan = {"pairloom": pairloom.__version__, "settings": asdict(settings), "set": _fingerprint(found)}
    held = out / WORK / "plan.json"
    done = out / "run.json"
    if restart:
        _forget(out)
    for file in (held, done):
        if file.is_file():
            theirs = json.loads(file.read_text()).get("plan" if file == done else "hash")
            if theirs != _hash(plan):
                raise Mistake(
                    f"{out} holds a run with other settings or another set.",
                    _difference(file, plan) or "The pictures, the texts or the version of pairloom changed.",
                    "Choose another --out, or add --restart to replace that run.",
                )
    if out.is_dir() and not held.exists() and not done.exists() and any(out.iterdir()):
        raise Mistake(
            f"{out} is not empty.", "Nothing of yours is ever overwritten.", "Choose a new folder for --out."
        )
    try:
        (out / WORK).mkdir(parents=True, exist_ok=True)
        if not done.exists():
            with atomic_write(held, replace=True) as mark:
                mark.write(json.dumps({"hash": _hash(plan), **plan}, indent=1).encode())
    except OSError as error:
        raise Mistake(
            f"{out} cannot be written.", error.strerror or str(error), "Choose another --out."
        ) from error
    return out / WORK


def _fingerprint(found: PairSet) -> str:
    """Format, and name, size and time of every file: a changed set is another set."""
    parts = [found.format]
    if found.path.is_file():
        parts.append(_stamp(found.path.stat()))
    for folder, inner, files in os.walk(found.path):
        inner[:] = sorted(name for name in inner if not name.startswith("."))
        for name in sorted(files):
            path = os.path.join(folder, name)
            parts.append(os.path.relpath(path, found.path) + _stamp(os.stat(path, follow_symlinks=False)))
    return content_hash(*(part.encode("utf-8", "surrogateescape") for part in parts))


def _stamp(facts: os.stat_result) -> str:
    return f"/{facts.st_size}/{facts.st_mtime_ns}"


def _hash(plan: dict[str, Any]) -> str:
    return content_hash(json.dumps(plan, sort_keys=True).encode())


def _difference(file: Path, plan: dict[str, Any]) -> str:
    theirs = json.loads(file.read_text())
    old = theirs.get("settings") or theirs.get("command") or {}
    changed = [
        f"{name} was {old[name]!r}, is {value!r}"
        for name, value in plan["settings"].items()
        if name in old and old[name] != value
    ]
    return "; ".join(changed)


def _forget(out: Path) -> None:
    """Remove what an earlier run of ours made, and nothing else."""
    if not (out / "run.json").is_file() and not (out / WORK / "plan.json").is_file():
        return
    for name in (*RESULTS, WORK, CLEAN, "models"):
        entry = out / name
        if entry.is_dir():
            shutil.rmtree(entry)
        else:
            entry.unlink(missing_ok=True)


def finished(out: Path) -> dict[str, Any] | None:
    """run.json of a finished run of this folder, or None."""
    file = out / "run.json"
    return json.loads(file.read_text()) if file.is_file() else None


def tidy(out: Path) -> None:
    """A finished run leaves no work behind."""
    shutil.rmtree(out / WORK, ignore_errors=True)
