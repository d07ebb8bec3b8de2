"""Apply: write the clean set again as the reader of the report wants it. The judge is not asked again.

Takes the ledger of a finished run and the decisions that the report exported; everything else stays as it was decided.
Does not know: how a decision came about, on either side.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

import pairloom
from pairloom.clean import ledger, merging, plan
from pairloom.clean.ledger import ADD, DROP, KEEP, REJECT, REPLACE
from pairloom.clean.merge import Decision, Judged, Outcome
from pairloom.clean.pictures import Pictures
from pairloom.clean.plan import CLEAN, Settings
from pairloom.clean.report import write_report
from pairloom.data.disk import atomic_write, unwritable
from pairloom.data.shards import PairSet, open_set
from pairloom.errors import Mistake

Place = tuple[str, str, str, int]  # shard, name, key, text_id
COLUMNS = ("shard", "name", "key", "text_id", "decision", "wanted")
MAY = {
    KEEP: (KEEP, DROP),
    DROP: (KEEP, DROP),
    REPLACE: (KEEP, DROP, REPLACE),
    ADD: (ADD, REJECT),
    REJECT: (ADD, REJECT),
}


def read_decisions(file: Path) -> dict[Place, tuple[str, str]]:
    """Place -> (decision of the run, decision wanted) from decisions.json or decisions.csv, as the report exports them."""
    try:
        text = file.read_text("utf-8-sig")
        rows = (
            list(csv.DictReader(text.splitlines()))
            if file.suffix == ".csv"
            else json.loads(text)["decisions"]
        )
        found = {_place(row): (row["decision"], row["wanted"]) for row in rows}
    except FileNotFoundError as error:
        raise Mistake(
            f"There is no file {file}.", "", "Export it from report.html: triage, then Export JSON."
        ) from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        why = f"Each decision needs {', '.join(COLUMNS)} ({type(error).__name__}: {error})."
        raise Mistake(f"{file} does not hold decisions.", why, "Export it from report.html again.") from error
    for (_, name, _, _), (was, wanted) in found.items():
        if wanted not in MAY.get(was, ()):
            raise Mistake(
                f"{file}: '{was}' of {name} cannot become '{wanted}'.", f"It may become {MAY.get(was)}."
            )
    if not found:
        raise Mistake(
            f"{file} holds no decision.", "", "In the report, agree or overrule first, then export."
        )
    return found


def _place(row: dict[str, Any]) -> Place:
    return str(row["shard"]), str(row["name"]), str(row["key"]), int(row["text_id"])


def apply(cleaned: Path, decisions: Path, out: Path, tell: Callable[..., None]) -> dict[str, Any]:
    """Write `out` like the --out of the run `cleaned`, with the reader's decisions. Returns what run.json holds.

    Mistake where a decision names no text of the ledger, or one that was decided otherwise; where the raw set changed.
    """
    facts = plan.finished(cleaned)
    table = ledger.ledger_of(cleaned)
    if facts is None:
        raise Mistake(f"{cleaned} holds no finished run.", "", f"Run: pairloom clean PAIRS --out {cleaned}")
    wanted = read_decisions(decisions)
    found, settings = open_set(facts["set"]["path"], facts["set"]["format"]), Settings(**facts["command"])
    plan.permit(found.path, out, settings)
    plan.permit(cleaned, out, settings)
    outcomes = _decided(found, table, wanted, settings)
    facts["applied"] = {
        "decisions": len(wanted),
        "overruled": sum(was != now for was, now in wanted.values()),
    }
    with plan.alone(out):
        work = plan.prepare(found, out, settings, also={"ledger": table, "decisions": decisions})
        done = plan.finished(out)
        if done is not None:
            return done
        try:
            _merge(found, outcomes, out, work, tell)
            return _finish(found, out, work, facts)
        except OSError as error:
            raise unwritable(Path(error.filename or out), error) from error


def _decided(
    found: PairSet, table: Path, wanted: dict[Place, tuple[str, str]], settings: Settings
) -> list[tuple[Outcome, ...]]:
    """The outcomes of every shard's pairs. Mistake where a decision finds no text."""
    left, outcomes = dict(wanted), []
    for shard in found.shards:
        rows = pq.read_table(table, filters=[("shard", "=", shard.name)]).to_pylist()
        outcomes.append(tuple(_outcomes(rows, left, settings.keep_alt_text)))
    if left:
        shard_name, name, key, at = next(iter(left))
        raise Mistake(
            f"{len(left)} of {len(wanted)} decisions do not belong to {table}.",
            f"Text {at} of {name} (key {key[:12]}, shard {shard_name}) is not there, or was decided otherwise.",
            "Export them from its own report.",
        )
    return outcomes


def _merge(
    found: PairSet, outcomes: list[tuple[Outcome, ...]], out: Path, work: Path, tell: Callable[..., None]
) -> None:
    jobs = [
        merging.Job(shard, out / CLEAN, work / "ledger" / f"{shard.name}.parquet", given)
        for shard, given in zip(found.shards, outcomes)
    ]
    tell("merge", 0, len(jobs), note=plan.already(job.part for job in jobs))
    for job in jobs:
        try:
            merging.merge_shard(job)
        except ValueError as error:
            why = f"Its shard {job.shard.name} no longer has the pairs of the ledger."
            raise Mistake(
                f"{found.path} has changed since it was cleaned.", why, "Run pairloom clean again."
            ) from error
        tell("merge", 1, len(jobs))
    merging.finish(found, out / CLEAN)


def _finish(found: PairSet, out: Path, work: Path, facts: dict[str, Any]) -> dict[str, Any]:
    """Ledger, report and run.json. What was measured of the other clean set is not said of this one."""
    parts = [work / "ledger" / f"{shard.name}.parquet" for shard in found.shards]
    counts = ledger.join_parts(parts, out / "pairs.parquet")
    facts |= {
        "pairloom": pairloom.__version__,
        "counts": counts,
        **dict.fromkeys(("models", "truth", "prove")),
    }
    shown = Pictures(found, out, work)
    write_report(
        out / "report.html", facts, pq.read_table(out / "pairs.parquet"), shown.thumbnail, shown.link
    )
    facts["plan"] = json.loads((work / "plan.json").read_text())["hash"]
    with atomic_write(out / "run.json") as file:
        file.write((json.dumps(facts, indent=1, ensure_ascii=False) + "\n").encode())
    plan.tidy(out)
    return facts


def _outcomes(
    rows: list[dict[str, Any]], left: dict[Place, tuple[str, str]], keep_alt_text: bool
) -> Iterator[Outcome]:
    """The outcome of each pair of a shard, in the ledger's order. Takes out of `left` what it has applied."""
    for pair in _pairs(rows):
        decided = [_decision(row, left) for row in pair]
        if not any(item.decision == ADD for item in decided):
            for item in decided:  # nothing stands in their place any more
                item.decision = DROP if item.decision == REPLACE else item.decision
        kept = [item.judged for item in decided if item.decision == KEEP]
        added = [item.judged for item in decided if item.decision == ADD]
        behind = [item.judged for item in decided if item.decision == REPLACE and keep_alt_text]
        texts = [(one.text, one.source) for one in (*kept, *added, *behind) if one.text.strip()]
        yield Outcome(decided, texts)


def _pairs(rows: list[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    """The rows of one pair after the other: equal name and key, and text_id counting up."""
    for _, same in groupby(rows, key=lambda row: (row["name"], row["key"])):
        pair: list[dict[str, Any]] = []
        for row in same:
            if pair and row["text_id"] <= pair[-1]["text_id"]:
                yield pair
                pair = []
            pair.append(row)
        yield pair


def _decision(row: dict[str, Any], left: dict[Place, tuple[str, str]]) -> Decision:
    judged = Judged(row["text"], row["source"], tuple(row["findings"]), row["score"], row["p_match"])
    asked = left.get(_place(row))
    if asked is None or asked[0] != row["decision"]:
        return Decision(judged, row["decision"], row["reason"])
    del left[_place(row)]
    said = "You agreed." if asked[0] == asked[1] else f"You overruled: {asked[0]} became {asked[1]}."
    return Decision(judged, asked[1], f"{said} {row['reason']}")
