"""The main job from Python: settings that fit, the run, and what it came to in a few lines."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

from pairloom.clean.audit_set import demand_understood
from pairloom.clean.plan import CleanSettings, permit
from pairloom.clean.result import CleanResult
from pairloom.clean.run import clean, demand_usable
from pairloom.data.shards import PairSet
from pairloom.errors import Mistake, nearest
from pairloom.runtime.devices import resolve_device
from pairloom.scale import Execution, worker_count


def clean_settings(**values: Any) -> CleanSettings:
    """Settings of a run (see `CleanSettings`). Mistake where one is not known, or they do not fit."""
    known = [entry.name for entry in fields(CleanSettings)]
    for name in values:
        if name not in known:
            raise Mistake(f"There is no setting '{name}' of clean.", "", nearest(name, known))
    try:
        return CleanSettings(**values)
    except ValueError as error:
        raise Mistake("These options do not fit.", str(error)) from error


def plan_clean(pairs: PairSet, out: Path, settings: CleanSettings, device: str = "auto") -> dict[str, Any]:
    """What a run would do; nothing is written. Mistake for everything that would stop it at its beginning."""
    permit(pairs.sources, out, settings)
    demand_usable(settings, None, resolve_device(device))
    facts = {"set": str(pairs.path), "format": pairs.format, "shards": len(pairs.shards), "out": str(out)}
    return {**facts, "settings": vars(settings)}


def clean_pairs(
    pairs: PairSet,
    out: Path,
    settings: CleanSettings,
    *,
    judge: Any = None,
    captioner: Any = None,
    labels: Path | str | None = None,
    workers: int = 0,
    device: str = "auto",
    restart: bool = False,
    tell: Callable[..., None] = lambda *arguments, **more: None,
) -> CleanResult:
    """Clean a set into `out`; the same call goes on after a stop. Mistake where not one picture has a text."""
    demand_understood(pairs)
    return clean(
        pairs, out, settings, judge=None if judge == "self" else judge, captioner=captioner, labels=labels, execution=Execution(workers=worker_count(workers, 99)),
        device=resolve_device(device),
        restart=restart, tell=tell,
    )  # fmt: skip
