"""Report of a cleaning run: report.html, one offline file with the calibration, the measurements, and every decision with its
reason. The same ledger and run give the same bytes.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow

from pairloom.clean import charts
from pairloom.clean.certainty import LabelRequest, certainty
from pairloom.clean.gallery import Columns, JsonStream, Pairs, sampled_pictures, write_gallery
from pairloom.clean.page_file import PACKED, count, fill, write_file

SCRIPTS = (
    "ledger",
    "decisions",
    "cards",
    "triage",
    "large",
    "threshold",
    "label",
    "keys",
    "verdict_keys",
    "start",
)
PARTS = {
    "set": ("path", "format", "pairs", "texts", "images"),
    "captioner": ("model",),
    "prove": ("seeds",),
    "calibration": (
        "auroc", "auroc_low", "auroc_high", "auroc_good", "planted", "found", "found_low", "found_high",
        "false_drop", "false_drop_budget", "bad_share", "ece", "curve",
    ),
}  # fmt: skip
HOLLOW = ("p_threshold", "auroc_good", "false_drop", "bad_share", "ece", "bins", "curve")
TRUTH = ("kind", "planted", "found", "recall", "precision")
DOUBT = 0.1  # P(match) this near to the threshold is doubtful


def write_report(
    path: Path,
    run: Mapping[str, Any],
    ledger: pyarrow.Table | Path,
    thumbnail: Callable[[str], bytes | None],
    link: Callable[[str], str | None],
    sample: int = 600,
    request: LabelRequest | None = None,
) -> None:
    """Write the report to `path`, atomically.

    run: the content of run.json; audit, judge, calibration, captioner, prove and truth may be missing or None.
    ledger: pairs.parquet or its table, one row per text. thumbnail(key): the encoded picture of a pair, of any size, or None;
    it is called for `sample` pairs at most. link(key): path of the picture relative to the report, or None. request: the
    texts that the reader is asked to label.
    ValueError where the ledger lacks a column, Mistake where the file cannot be written.
    """
    calibration = _meant(run.get("calibration") or {})
    run = {**run, "calibration": calibration}
    columns, out = Columns(ledger), JsonStream()
    pairs = Pairs.read(columns)
    settings, middle = _settings(run, calibration), calibration.get("p_threshold")
    settings["ask"] = None if request is None else request.for_page(link)
    pictures = sampled_pictures(columns, pairs, thumbnail, sample, middle)
    write_gallery(out, columns, pairs, settings, pictures, pairs.links(link))
    packed, data_name = out.close()
    write_file(path, render(run, _counted(columns, pairs), PACKED, data_name, request), packed)


def _meant(calibration: Mapping[str, Any]) -> dict[str, Any]:
    """The calibration; where it has no threshold, without the estimates that depend on P(match)."""
    hollow = () if calibration.get("decides") else HOLLOW
    return {name: value for name, value in calibration.items() if name not in hollow}


def _settings(run: Mapping[str, Any], calibration: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of the page's script, from run.json."""
    counts = calibration.get("histogram")
    return {
        "version": run.get("pairloom"),
        "set": (run.get("set") or {}).get("path"),
        "threshold": calibration.get("threshold"),
        "p_threshold": calibration.get("p_threshold"),
        "doubt": DOUBT,
        "decides": bool(calibration.get("decides")),
        "histogram": counts if charts.drawable(counts) else None,
        "curve": calibration.get("curve") or [],
    }


def counted(ledger: pyarrow.Table | Path) -> dict[str, int]:
    """Counts of a ledger: of every decision, of the set's original texts, of its pairs, and of pairs without a kept or added
    text."""
    columns = Columns(ledger)
    return _counted(columns, Pairs.read(columns))


def _counted(columns: Columns, pairs: Pairs) -> dict[str, int]:
    counts: Counter[str] = Counter()
    left = np.zeros(len(pairs), bool)
    for pair, decision in zip(pairs.of, columns.values("decision")):
        counts[decision] += 1
        left[pair] |= decision in ("keep", "add")
    return {
        **{name: counts[name] for name in ("keep", "drop", "replace", "add", "reject")},
        "originals": counts["keep"] + counts["drop"] + counts["replace"],
        "pairs": len(pairs),
        "gone": int((~left).sum()),
    }


def render(
    run: Mapping[str, Any], counts: Mapping[str, int], packed: str, data_name: str, request: LabelRequest | None = None
) -> str:  # fmt: skip
    """The whole page. packed: base64 of the deflated gallery; data_name: hash of the gallery."""
    values = {
        "run": {
            "pairloom": run.get("pairloom"),
            **{part: _whole(run.get(part), PARTS[part]) for part in PARTS},
        },
        "counts": counts,
        "unit": _unit(counts),
        "sentence": sentence(counts),
        "warning": warning(run, counts),
        "certainty": certainty(run),
        "request": request,
        "audit": sorted(audit_rows(run.get("audit") or {}), key=lambda row: (-row["count"], row["code"])),
        "truth": [_whole(row, TRUTH) for row in (run.get("truth") or {}).get("kinds") or []],
        "prove": list(_prove((run.get("prove") or {}).get("rows") or [])),
        "command": [*flat(run.get("command") or {}), *flat({"judge": run.get("judge") or {}})],
        **_charts(run.get("calibration") or {}),
    }
    return fill("report", SCRIPTS, packed, data_name, values)


def _whole(part: Mapping[str, Any] | None, names: tuple[str, ...]) -> dict[str, Any] | None:
    """A part of run.json, with None for the names of the page that it lacks."""
    return {**dict.fromkeys(names), **part} if part else None


def _charts(calibration: Mapping[str, Any]) -> dict[str, str]:
    counts, bins = calibration.get("histogram"), calibration.get("bins") or []
    drawn = {"histogram": "", "reliability": charts.reliability(bins) if bins else ""}
    if counts and charts.drawable(counts):
        drawn["histogram"] = charts.histogram(
            counts, calibration.get("curve") or [], calibration.get("threshold")
        )
    return drawn


def _unit(counts: Mapping[str, int]) -> str:
    return "pair" if counts["originals"] == counts["pairs"] else "text"


def sentence(counts: Mapping[str, int]) -> str:
    """One-sentence summary of a run."""
    total, unit = counts["originals"], _unit(counts)
    read = f"{count(counts['pairs'])} pair{'s' if counts['pairs'] != 1 else ''}"
    if unit == "text":
        read += f" with {count(total)} texts"
    bad = counts["drop"] + counts["replace"]
    if not bad and not counts["add"]:
        return f"{read} read, nothing changed."
    words = [(counts["drop"], "dropped"), (counts["replace"], "replaced")]
    done = [(number, word) for number, word in words if number]
    bad_ones = f"{count(bad)} bad {unit}{'s' if bad != 1 else ''} found" if bad else "no bad ones found"
    if len(done) == 1:
        bad_ones += f" and {done[0][1]}"
    elif done:
        bad_ones += ": " + ", ".join(f"{count(number)} {word}" for number, word in done)
    added = f", {count(counts['add'])} new texts added" if counts["add"] and not counts["replace"] else ""
    return f"{read} read, {bad_ones}{added}."


def warning(run: Mapping[str, Any], counts: Mapping[str, int]) -> tuple[str, str] | None:
    """Warning (headline, reason) where no text was dropped by its score; else None."""
    calibration = run.get("calibration")
    changed = counts["drop"] + counts["replace"] + counts["add"]
    rest = "All dropped texts were dropped by the audit alone." if changed else "Nothing was changed."
    if not calibration:
        return "No scorer was calibrated.", rest
    if not calibration.get("decides"):
        return (
            "Nothing was dropped for its score.",
            f"{calibration.get('why') or ''} {rest}".strip(),
        )
    return None


def audit_rows(audit: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Rows of a table of findings, in their order, without those that do not occur."""
    rows = [
        {
            "code": code,
            **{name: entry.get(name, "") for name in ("severity", "says")},
            "count": entry.get("count", 0),
        }
        for code, entry in audit.items()
    ]
    return [row for row in rows if row["count"]]


def _prove(rows: list[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    for row in rows:
        low, high, difference = (float(row.get(name) or 0) for name in ("low", "high", "difference"))
        reach = 1.15 * max(abs(low), abs(high), abs(difference), 1e-12)
        verdict = "better" if low > 0 else "worse" if high < 0 else "undecided"
        yield {
            **dict.fromkeys(("metric", "raw", "clean", "p")),
            **row,
            "drawn": charts.interval(low, difference, high, reach),
            "verdict": verdict,
        }


def flat(settings: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, str]]:
    """Settings as (name, value in words), those inside others with a dot in their name."""
    for name, value in settings.items():
        if isinstance(value, Mapping):
            yield from flat(value, f"{before}{name}.")
        else:
            yield (
                f"{before}{name}",
                value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str),
            )
