"""The main job from Python: settings that fit, the run, and what it came to in a few lines."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

from pairloom.clean.plan import CleanSettings, permit
from pairloom.clean.run import CleanResult, clean, demand_usable
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
    permit(pairs.path, out, settings)
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
    workers: int = 0,
    device: str = "auto",
    restart: bool = False,
    tell: Callable[..., None] = lambda *arguments, **more: None,
) -> CleanResult:
    """Clean a set into `out`; the same call goes on after a stop."""
    return clean(
        pairs.path, out, settings, judge=None if judge == "self" else judge, captioner=captioner, format=pairs.format,
        execution=Execution(workers=worker_count(workers, 99)), device=resolve_device(device), restart=restart, tell=tell,
    )  # fmt: skip


def summary_lines(facts: dict[str, Any], where: Path) -> list[str]:
    """What a clean run did, in a few lines."""
    counts, known, calibration = facts["counts"], facts["set"], facts.get("calibration") or {}
    gone = counts["drop"] + counts["replace"] - counts["textless"]
    lines: list[str] = []
    say = lines.append
    say(
        f"{known['pairs']:,} pairs read ({known['format']}): {gone:,} bad text{'' if gone == 1 else 's'} found, {counts['replace']:,} replaced by new captions."
    )
    if counts["textless"]:
        say(f"  textless     {counts['textless']:,} pairs came without a text and have none")
    by_rule = sum(entry["count"] for entry in facts["audit"].values() if entry["severity"] == "bad")
    say(f"  audit        {by_rule:,} pictures or texts bad by rule")
    if calibration.get("decides"):
        say(
            f"  judge        AUROC {calibration['auroc']:.3f} [{calibration['auroc_low']:.3f}, {calibration['auroc_high']:.3f}] of own texts over "
            f"planted mismatches; about {calibration['bad_share']:.0%} of the texts look mismatched"
        )
        say(
            f"  limit        finds {calibration['found']:.0%} of planted mismatches, drops about {calibration['false_drop']:.1%} "
            f"of the good pairs (budget {calibration['false_drop_budget']:.0%})"
        )
    else:
        say(f"  judge        changes nothing. {calibration.get('why', '')}")
    for row in (facts.get("truth") or {}).get("kinds", []):
        exact = "" if row["precision"] is None else f", precision {row['precision']:.0%}"
        say(
            f"  planted      {row['kind']:<15} {row['found']:>5} of {row['planted']:<5} found ({row['recall']:.0%}{exact})"
        )
    for name, value in ((facts.get("truth") or {}).get("numbers") or {}).items():
        say(f"  truth        {name}: {value:.3f}")
    for row in (facts.get("prove") or {}).get("rows", []):
        say(
            f"  proof        {row['metric']}: raw {row['raw']:.3f}, clean {row['clean']:.3f}, difference {row['difference']:+.3f} [{row['low']:+.3f}, {row['high']:+.3f}]"
        )
    say(f"  written to   {where}/pairs  {where}/pairs.parquet  {where}/report.html")
    return lines
