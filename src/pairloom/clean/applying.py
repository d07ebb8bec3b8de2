"""Manual decisions: write the clean set again with the decisions that a reader of the report has made and exported.

All other decisions are those of the run's ledger; nothing is scored again.
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
from pairloom.clean import ledger, plan, writing
from pairloom.clean.decisions import Judged, Outcome, TextDecision
from pairloom.clean.ledger import ADD, DROP, KEEP, REJECT, REPLACE
from pairloom.clean.pictures import ReportPictures
from pairloom.clean.plan import CLEAN, CleanSettings
from pairloom.clean.report import write_report
from pairloom.clean.shard_decisions import write_outcomes
from pairloom.data.disk import atomic_write, json_bytes, unwritable
from pairloom.data.several import open_again
from pairloom.data.shards import PairSet, Shard
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
    """Read decisions.json or decisions.csv, as the report exports them: place -> (decision of the run, the reader's)."""
    try:
        text = file.read_text("utf-8-sig")
        rows = (
            list(csv.DictReader(text.splitlines()))
            if file.suffix == ".csv"
            else json.loads(text)["decisions"]
        )
        decisions = {_place(row): (row["decision"], row["wanted"]) for row in rows}
    except FileNotFoundError as error:
        raise Mistake(
            f"There is no file {file}.", "", "Export it from report.html: triage, then Export JSON."
        ) from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        why = f"Each decision needs {', '.join(COLUMNS)} ({type(error).__name__}: {error})."
        raise Mistake(f"{file} does not hold decisions.", why, "Export it from report.html again.") from error
    for (_, name, _, _), (was, wanted) in decisions.items():
        if wanted not in MAY.get(was, ()):
            raise Mistake(
                f"{file}: '{was}' of {name} cannot become '{wanted}'.", f"It may become {MAY.get(was)}."
            )
    if not decisions:
        raise Mistake(
            f"{file} holds no decision.",
            "",
            "In the report, agree with or overrule some decisions, then export.",
        )
    return decisions


def _place(row: dict[str, Any]) -> Place:
    return str(row["shard"]), str(row["name"]), str(row["key"]), int(row["text_id"])


def apply(cleaned: Path, decisions: Path, out: Path, tell: Callable[..., None]) -> dict[str, Any]:
    """Apply a reader's decisions: write `out` like the output of the run `cleaned`. Returns the content of run.json.

    Mistake where a decision names no text of the ledger, or one with another decision; and where the raw set has changed.
    """
    facts = plan.demand_finished(cleaned)
    table = ledger.ledger_of(cleaned)
    wanted = read_decisions(decisions)
    pairs, settings = (
        open_again(facts["set"]),
        CleanSettings(**facts["command"]),
    )
    plan.permit(pairs.sources, out, settings)
    plan.permit([cleaned], out, settings)
    _demand_known(pairs, table, wanted, settings)
    facts["applied"] = {
        "decisions": len(wanted),
        "overruled": sum(was != now for was, now in wanted.values()),
    }
    with plan.alone(out):
        work = plan.prepare(pairs, out, settings, also={"ledger": table, "decisions": decisions})
        done = plan.finished(out)
        if done is not None:
            return done
        try:
            _write(pairs, _decided(pairs, table, dict(wanted), settings), out, work, tell)
            return _finish(pairs, out, work, facts)
        except OSError as error:
            raise unwritable(Path(error.filename or out), error) from error


def _decided(
    pairs: PairSet, table: Path, wanted: dict[Place, tuple[str, str]], settings: CleanSettings
) -> Iterator[tuple[Shard, list[Outcome]]]:
    """Shards with the outcomes of their pairs. Decisions that have been applied are removed from `wanted`."""
    for shard in pairs.shards:
        rows = pq.read_table(table, filters=[("shard", "=", shard.name)]).to_pylist()
        yield shard, list(_outcomes(rows, wanted, settings.keep_alt_text))


def _demand_known(
    pairs: PairSet, table: Path, wanted: dict[Place, tuple[str, str]], settings: CleanSettings
) -> None:
    """Raise Mistake where a decision belongs to no text of the ledger."""
    left = dict(wanted)
    for _ in _decided(pairs, table, left, settings):
        pass
    if left:
        shard_name, name, key, at = next(iter(left))
        raise Mistake(
            f"{len(left)} of {len(wanted)} decisions do not belong to {table}.",
            f"Text {at} of {name} (key {key[:12]}, shard {shard_name}) is not there, or was decided otherwise.",
            "Export the decisions from the report of this run.",
        )


def _write(
    pairs: PairSet, decided: Iterator[tuple[Shard, list[Outcome]]], out: Path, work: Path, tell: Callable[..., None]
) -> None:  # fmt: skip
    def task_of(shard: Shard) -> writing.WriteTask:
        name = f"{shard.name}.parquet"
        return writing.WriteTask(shard, out / CLEAN, work / "ledger" / name, work / "decisions" / name)

    note = plan.already(task_of(shard).part for shard in pairs.shards)
    tell("merge", 0, len(pairs.shards), note=note)
    for shard, outcomes in decided:
        task = task_of(shard)
        write_outcomes(task.decisions, outcomes)
        try:
            writing.write_shard(task)
        except ValueError as error:
            why = f"Its shard {shard.name} no longer has the pairs of the ledger."
            raise Mistake(
                f"{pairs.path} has changed since it was cleaned.", why, "Run pairloom clean again."
            ) from error
        tell("merge", 1, len(pairs.shards))
    writing.finish(pairs, out / CLEAN)


def _finish(pairs: PairSet, out: Path, work: Path, facts: dict[str, Any]) -> dict[str, Any]:
    """Write ledger, report and run.json, without the measurements that were made on the run's own clean set."""
    parts = [work / "ledger" / f"{shard.name}.parquet" for shard in pairs.shards]
    counts = ledger.join_parts(parts, out / "pairs.parquet")
    facts |= {
        "pairloom": pairloom.__version__,
        "counts": counts,
        **dict.fromkeys(("models", "truth", "prove")),
    }
    shown = ReportPictures(pairs, out, work)
    write_report(out / "report.html", facts, out / "pairs.parquet", shown.thumbnail, shown.link)
    facts["plan"] = json.loads((work / "plan.json").read_text())["hash"]
    with atomic_write(out / "run.json") as file:
        file.write(json_bytes(facts))
    plan.tidy(out)
    return facts


def _outcomes(
    rows: list[dict[str, Any]], left: dict[Place, tuple[str, str]], keep_alt_text: bool
) -> Iterator[Outcome]:
    """The outcome of each pair of a shard, in the ledger's order. Decisions that have been applied are removed from `left`."""
    for pair in _pairs(rows):
        decided = [_decision(row, left) for row in pair]
        if not any(item.decision == ADD for item in decided):
            for item in decided:  # no proposal replaces them any more
                item.decision = DROP if item.decision == REPLACE else item.decision
        kept = [item.judged for item in decided if item.decision == KEEP]
        added = [item.judged for item in decided if item.decision == ADD]
        behind = [item.judged for item in decided if item.decision == REPLACE and keep_alt_text]
        texts = [(one.text, one.source) for one in (*kept, *added, *behind) if one.text.strip()]
        yield Outcome(decided, texts)


def _pairs(rows: list[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    """Rows grouped by pair: equal name and key, and rising text_id."""
    for _, same in groupby(rows, key=lambda row: (row["name"], row["key"])):
        pair: list[dict[str, Any]] = []
        for row in same:
            if pair and row["text_id"] <= pair[-1]["text_id"]:
                yield pair
                pair = []
            pair.append(row)
        yield pair


def _decision(row: dict[str, Any], left: dict[Place, tuple[str, str]]) -> TextDecision:
    judged = Judged.of(row)
    wish = left.get(_place(row))
    if wish is None or wish[0] != row["decision"]:
        return TextDecision(judged, row["decision"], row["reason"])
    del left[_place(row)]
    note = "You agreed." if wish[0] == wish[1] else f"You overruled: {wish[0]} became {wish[1]}."
    return TextDecision(judged, wish[1], f"{note} {row['reason']}")
