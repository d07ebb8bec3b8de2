"""Comparison of a ledger with the known truth of a drawn world."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from pairloom.clean.ledger import ADD, DROP, REPLACE
from pairloom.metrics.calibrate import auroc_interval, found_at
from pairloom.metrics.compare import wilson
from pairloom.world import NOISES, World, read


def measure(table: Path, world: World) -> dict[str, Any]:
    """Measure a ledger against the truth. kinds: for each kind of noise the number of texts, the share that was removed
    (recall), and the precision: among removed texts that are of this kind or good, the share of this kind. numbers: how well
    P(match) separates mismatches from good texts, the fate of the good texts, and the share of new captions with all facts
    right."""
    truth = {row.name: row for row in world.rows()}
    entries = pq.read_table(table).to_pylist()
    taken, score, captions = _sort(entries)
    names: dict[str, list[str]] = defaultdict(list)
    for name, row in truth.items():
        names[row.truth.noise].append(name)
    lost = sum(taken[name] for name in names[""])
    kinds = [_kind(kind, names[kind], taken, lost) for kind in NOISES if names[kind]]
    kinds.append(_kind("any", [name for kind in NOISES for name in names[kind]], taken, lost))
    numbers = {"good texts taken out": lost / max(1, len(names[""]))}
    good, bad = ([score[name] for name in names[kind] if name in score] for kind in ("", "mismatch"))
    if good and bad:
        area, caught = auroc_interval(good, bad), found_at(good, bad, 0.05)
        numbers |= {
            "AUROC of P(match), mismatches": area.value,
            "mismatches found at 5 % false drop": caught.value,
        }
    if captions:
        right = [read(text, truth[name].scene).right for name, text in captions]
        share = wilson(sum(right), len(right))
        numbers |= {"new captions": len(right), "right in all they state": share.value}
        numbers |= {"right in all they state, low": share.low, "right in all they state, high": share.high}
    return {"kinds": kinds, "numbers": numbers}


def _sort(
    entries: Iterable[Mapping[str, Any]],
) -> tuple[dict[str, bool], dict[str, float], list[tuple[str, str]]]:
    """By name: whether the original text was removed, and its score; and the captions that were added."""
    taken: dict[str, bool] = {}
    score: dict[str, float] = {}
    captions = []
    for entry in entries:
        if entry["decision"] == ADD:
            captions.append((entry["name"], entry["text"]))
        elif entry["source"] == "original":
            taken[entry["name"]] = entry["decision"] in (DROP, REPLACE)
            if entry["score"] is not None:
                score[entry["name"]] = entry["score"]
    return taken, score, captions


def _kind(kind: str, names: list[str], taken: Mapping[str, bool], lost: int) -> dict[str, Any]:
    caught = sum(taken[name] for name in names)
    return {
        "kind": kind,
        "planted": len(names),
        "found": caught,
        "recall": caught / len(names),
        "precision": caught / (caught + lost) if caught + lost else None,
    }
