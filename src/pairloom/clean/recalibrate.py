"""Recalibration: decide about a finished run again, given labels, from the scores that it kept. No model is loaded.

The whole new result is written into the work folder, and then takes the place of the old one (`plan.replace_result`).
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, fields, replace
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

import pairloom
from pairloom.clean import ledger, plan, writing
from pairloom.clean.calibrate import Calibration
from pairloom.clean.decisions import Judged, Outcome, TextDecision, decide, rules_of
from pairloom.clean.faults import OF_TEXT, is_bad
from pairloom.clean.judge_file import FILE as JUDGE
from pairloom.clean.kept_scores import KeptScores
from pairloom.clean.label_file import FINDINGS, LabelFile, SampledText
from pairloom.clean.label_sample import labels_of
from pairloom.clean.ledger import ADD, ORIGINAL, REJECT
from pairloom.clean.pictures import ReportPictures
from pairloom.clean.plan import CLEAN, NEXT, CleanSettings
from pairloom.clean.report import write_report
from pairloom.clean.shard_decisions import CalibratedRules, write_outcomes
from pairloom.data.disk import atomic_write, json_bytes
from pairloom.data.pair import content_hash
from pairloom.data.several import open_again
from pairloom.data.shards import PairSet, Shard
from pairloom.data.shards import read as read_shard
from pairloom.scale import Execution

Tell = Callable[..., None]
Place = tuple[str, str, int]  # key, name, text_id


@dataclass(frozen=True)
class Recalibration:
    """What labels come to for a finished run: the calibration with them, and how many texts it drops by score. before: the
    same of the run as it stands. answers: to each text."""

    calibration: Calibration
    labels: dict[str, Any]
    dropped: int
    before: dict[str, Any]
    dropped_before: int
    answers: dict[SampledText, str]

    def facts(self) -> dict[str, Any]:
        """The numbers in JSON types."""
        names = ("threshold", "p_threshold", "confidence", "basis", "decides", "why")
        now = {name: self.calibration.facts.get(name) for name in names}
        return {**self.labels, **now, "dropped": self.dropped, "dropped_before": self.dropped_before}

    def sentence(self) -> str:
        """What the labels change, in one sentence."""
        now, count = self.calibration.facts, sum(self.labels[name] for name in ("good", "bad", "skipped"))
        start = f"With {count} label{'s' * (count != 1)} ({self.labels['good']} good, {self.labels['bad']} bad, {self.labels['skipped']} skipped)"
        if not now["decides"]:
            return f"{start} nothing is dropped by score. {now['why']}"
        moved = self.dropped - self.dropped_before
        kept = f"It keeps the budget of {now['false_drop_budget']:.0%} false drops with a confidence of {now['confidence']:.0%}."
        if not moved:
            return (
                f"{start} the limit stays where it was: {self.dropped:,} texts are dropped by score. {kept}"
            )
        was = f"from {self.before['threshold']:.4g} " if self.before.get("decides") else ""
        change = f"{abs(moved):,} {'more' if moved > 0 else 'fewer'} texts are dropped by score, {self.dropped:,} in all"
        return f"{start} the limit moves {was}to a score of {now['threshold']:.4g}: {change}. {kept}"


def with_labels(out: Path, facts: dict[str, Any], file: Path) -> Recalibration:
    """What a label file comes to for a finished run. facts: the content of run.json. Mistake where it is about another one."""
    kept, held = KeptScores.read(out, facts), LabelFile.load(file)
    labels = labels_of(held, str(file), ledger.ledger_of(out), kept)
    calibration = kept.calibrate(facts["calibration"]["false_drop_budget"], labels)
    before = facts["calibration"]
    known = {"file": str(file), **held.counts(), "hash": content_hash(file.read_bytes())}
    limits = (calibration.threshold, before["threshold"] if before["decides"] else None)
    dropped, dropped_before = (0 if limit is None else int((kept.own < limit).sum()) for limit in limits)
    return Recalibration(calibration, known, dropped, before, dropped_before, held.answers)


def command(out: Path, facts: dict[str, Any], labels: Path) -> str:
    """The command that applies labels to a run: the run's own options, and `--labels`."""
    from pairloom.towers import wanted_towers

    towers = dict(
        zip(("image_tower", "text_tower"), (name or plan.NONE for name in wanted_towers(None, None)))
    )
    words = ["pairloom", "clean", facts["set"]["path"], "--out", str(out)]
    settings = {**asdict(CleanSettings()), **facts["command"]}
    if settings["model"] != "self" and not Path(settings["model"]).exists():  # an object that was handed in
        return f"pairloom.load_result({str(out)!r}).recalibrate({str(labels)!r})"
    names = {"self_system": "self-judge-system"}
    off = {"captions": "--no-captions", "decoupled": "--shared"}
    for field in fields(CleanSettings):
        value, name = settings[field.name], names.get(field.name, field.name.replace("_", "-"))
        if value in (field.default, towers.get(field.name)) or field.name == "seeds":
            continue
        if isinstance(value, bool):
            words.append(f"--{name}" if value else off[field.name])
        else:
            words += [f"--{name}", str(value)]
    return shlex.join([*words, "--labels", str(labels)])


def recalibrate(
    out: Path, labels: Path, execution: Execution = Execution(), tell: Tell = lambda *arguments, **more: None
) -> dict[str, Any]:  # fmt: skip
    """Decide about a finished run again, given a label file. Returns the content of run.json. Mistake where the labels are
    about another run, or the set has changed since."""
    with plan.alone(out):
        plan.replace_result(out)
        facts = plan.demand_finished(out)
        pairs = open_again(facts["set"])
        plan.prepare(pairs, out, CleanSettings(**facts["command"]))
        return decide_again(pairs, out, facts, labels, execution, tell)


def decide_again(
    pairs: PairSet, out: Path, facts: dict[str, Any], labels: Path, execution: Execution, tell: Tell
) -> dict[str, Any]:  # fmt: skip
    """`recalibrate`, in a folder that is locked, of a set that has not changed."""
    tell("calibrate", 0, None)
    again = with_labels(out, facts, labels)
    if (facts.get("labels") or {}).get("hash") == again.labels["hash"]:
        tell("clean", 0, None, note="these labels are applied already")
        return facts
    settings = CleanSettings(**facts["command"])
    plan.tidy(out)
    work, new = out / plan.WORK, out / plan.WORK / NEXT
    with atomic_write(work / "plan.json") as file:  # by which the folder is known while it has no run.json
        file.write(json.dumps({"hash": facts["plan"], "settings": facts["command"]}).encode())
    rules = rules_of(settings, again.calibration, facts.get("words"), facts.get("endings"))
    verdict = CalibratedRules(again.calibration, rules).save(work / "verdict.json")
    labelled: dict[str, dict[Place, str]] = {}
    for text, answer in again.answers.items():
        if answer in FINDINGS:
            labelled.setdefault(text.shard, {})[text.key, text.name, text.text_id] = FINDINGS[answer]
    tasks = [
        RedecideTask(shard, out / "pairs.parquet", verdict, work, new / CLEAN, labelled.get(shard.name, {}))
        for shard in pairs.shards
    ]
    tell("merge", 0, len(tasks))
    for _, count in execution.run(redecide_shard, tasks):
        tell("merge", 1, len(tasks), note=f"{count} texts")
    writing.finish(pairs, new / CLEAN)
    return _finish(pairs, out, facts, again, [task.part for task in tasks], tell)


def _finish(
    pairs: PairSet, out: Path, facts: dict[str, Any], again: Recalibration, parts: Sequence[Path], tell: Tell
) -> dict[str, Any]:  # fmt: skip
    """Write ledger, judge, report and run.json, without what was measured on the set before, and replace the old result."""
    work, new = out / plan.WORK, out / plan.WORK / NEXT
    tell("report", 0, None)
    table = new / "pairs.parquet"
    counts = ledger.join_parts(parts, table)
    facts = {
        **facts, "pairloom": pairloom.__version__, "calibration": again.calibration.facts, "counts": counts,
        "captioner": _captioner(facts, table, again.calibration), "labels": again.labels, **dict.fromkeys(("truth", "prove")),
    }  # fmt: skip
    judge = out / "models" / "judge" / JUDGE
    if judge.exists():
        known = json.loads(judge.read_text("utf-8"))
        with atomic_write(new / "models" / "judge" / JUDGE) as file:
            file.write(
                (json.dumps({**known, "calibration": again.calibration.to_dict()}, indent=1) + "\n").encode()
            )
    shown = ReportPictures(pairs, out, work)
    write_report(new / "report.html", facts, table, shown.encoded, shown.link)
    with atomic_write(new / "run.json") as file:  # last, since it marks a whole result
        file.write(json_bytes(facts))
    plan.replace_result(out)
    return facts


def _captioner(facts: dict[str, Any], table: Path, calibration: Calibration) -> dict[str, Any] | None:
    """The captioner's entry of run.json, with the share of its proposals that the new P(match) rejects."""
    captioner: dict[str, Any] | None = facts.get("captioner")
    if not captioner or "noise_ratio" not in captioner:
        return captioner
    rows = pq.read_table(table, columns=["p_match"], filters=[("decision", "in", [ADD, REJECT])])
    chances = np.array(rows.column("p_match").to_pylist(), np.float64)
    low = chances < rules_of(CleanSettings(**facts["command"]), calibration).needed
    return {**captioner, "noise_ratio": float(low.mean()) if len(low) else 0.0}


# -- by the shard ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class RedecideTask:
    """Task of deciding about one shard again and writing it. table: the ledger of the run; verdict: the file of
    CalibratedRules; out: for the clean set; labelled: what a person said about its texts, as findings."""

    shard: Shard
    table: Path
    verdict: Path
    work: Path
    out: Path
    labelled: dict[Place, str]

    @property
    def part(self) -> Path:
        return self.work / "ledger" / f"{self.shard.name}.parquet"


def redecide_shard(task: RedecideTask) -> int:
    """Decide about a shard's pairs by the scores in the ledger, and write its clean pairs and its part of the new ledger."""
    verdict = CalibratedRules.load(task.verdict)
    rows = pq.read_table(task.table, filters=[("shard", "=", task.shard.name)]).to_pylist()
    for row in rows:
        label = task.labelled.get((row["key"], row["name"], row["text_id"]))
        row["findings"] = [code for code in row["findings"] if code not in FINDINGS.values()]
        row["findings"] += [label] if label else []
    pairs = list(_pairs(rows))
    # the reason of a pair without a text names the problem of the set's reader
    textless = any(not any(map(_is_original, pair)) for pair in pairs)
    problems = [pair.problem for pair in read_shard(task.shard)] if textless else [""] * len(pairs)
    outcomes = [_outcome(pair, problem, verdict) for pair, problem in zip(pairs, problems, strict=True)]
    decisions = task.work / "decisions" / f"{task.shard.name}.parquet"
    write_outcomes(decisions, outcomes)
    return writing.write_shard(writing.WriteTask(task.shard, task.out, task.part, decisions))


def _pairs(rows: list[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    """Rows of a ledger grouped by pair: the first text of a pair has the id 0, or -1."""
    numbers = np.cumsum([row["text_id"] <= 0 for row in rows])
    for _, same in groupby(zip(numbers.tolist(), rows), key=lambda entry: entry[0]):
        yield [row for _, row in same]


def _is_original(row: dict[str, Any]) -> bool:
    """Whether a row of a ledger is a text of the set, not a proposed caption or the row of a pair without a text."""
    return row["text_id"] >= 0 and row["decision"] in ORIGINAL


def _outcome(rows: list[dict[str, Any]], problem: str, verdict: CalibratedRules) -> Outcome:
    """The outcome of a pair, from its rows of the ledger."""
    findings = tuple(code for code in rows[0]["findings"] if code not in OF_TEXT)
    scored = verdict.judged(
        [row["text"] for row in rows],
        [row["source"] for row in rows],
        [()] * len(rows),
        [row["score"] for row in rows],
    )
    judged = [
        replace(
            Judged.of(row),
            findings=tuple(code for code in row["findings"] if code in OF_TEXT),
            p_match=text.p_match,
        )
        for text, row in zip(scored, rows)
    ]
    if is_bad(findings):
        decided = [TextDecision(text, row["decision"], row["reason"]) for text, row in zip(judged, rows)]
        return Outcome(decided, findings=findings)
    originals = [text for text, row in zip(judged, rows) if _is_original(row)]
    proposals = [text for text, row in zip(judged, rows) if row["decision"] not in ORIGINAL]
    return decide(findings, problem, originals, proposals, verdict.rules)
