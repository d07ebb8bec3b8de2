"""The main job, step by step: audit, judge, calibrate, caption, filter and merge, prove, report.

Every step leaves parts on disk that are their own commit marks, so that the same command goes on after any kill and
ends with the same bytes. Does not know: how a step does its work.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

import pairloom
from pairloom import scale
from pairloom.clean import capfilt, deciding, judging, learning, ledger, merging, plan, rows, selfjudge
from pairloom.clean.calibrate import LEAST, Calibration, calibrate
from pairloom.clean.check import Findings, check
from pairloom.clean.deciding import Deciding
from pairloom.clean.merge import Rules
from pairloom.clean.plan import CLEAN, Settings
from pairloom.data.disk import atomic_write, unwritable
from pairloom.data.shards import PairSet, open_set

PLANTED = 2  # planted mismatches for each pair
FEWEST = 10  # pictures without which no judge is asked: each fold needs some, and each text another's
STILL = 0.005  # rounds stop when fewer texts than this share change their decision

Tell = Callable[..., None]  # tell(step, done, total, bad=0, note="")


def silent(*_: Any, **__: Any) -> None:
    """Says nothing."""


@dataclass
class Run:
    """One run: where it reads and writes, what it was asked, and what it has found so far."""

    found: PairSet
    out: Path
    work: Path
    settings: Settings
    workers: int = 1
    tell: Tell = silent
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def names(self) -> list[str]:
        return [shard.name for shard in self.found.shards]


def clean(
    source: Path | str, out: Path | str, settings: Settings = Settings(), *, format: str | None = None,
    workers: int = 1, restart: bool = False, truth: Callable[[Path], dict[str, Any]] | None = None, tell: Tell = silent,
) -> dict[str, Any]:  # fmt: skip
    """Clean a set of pairs into `out`. Returns what run.json holds.

    `out` gets pairs/ (the clean set, in the format of the raw one), pairs.parquet (the ledger), run.json,
    report.html and models/ (judge and captioner). truth: where the noise was planted and is known, a function that
    compares the ledger with it. Raises Mistake where the set or the output folder cannot be used.
    """
    found, out = open_set(source, format), Path(out)
    _usable(settings)
    plan.permit(found.path, out, settings)
    with plan.alone(out):
        work = plan.prepare(found, out, settings, restart)
        done = plan.finished(out)
        if done is not None:
            tell("clean", 0, None, note="finished already; nothing is left to do")
            plan.tidy(out)
            return done
        run = Run(found, out, work, settings, workers, tell)
        try:
            return _steps(run, truth)
        except OSError as error:
            raise unwritable(Path(error.filename or out), error) from error


def _usable(settings: Settings) -> None:
    """Mistake, before hours of work, where a set or a model that is named, or the size, cannot be used."""
    learning.shape(settings.size)
    if settings.model != "self":
        judging.able(settings.model)
    for other in (settings.trusted, settings.test):
        if other is not None:
            open_set(other)


def _steps(run: Run, truth: Callable[[Path], dict[str, Any]] | None) -> dict[str, Any]:
    findings = _audit(run)
    decided = _rounds(run)
    _merge(run, decided)
    if run.settings.prove:
        from pairloom.clean.prove import prove

        run.facts["prove"] = prove(run.work / "prove", decided, run.settings, run.workers, run.tell)
    return _finish(run, findings, truth)


def _audit(run: Run) -> Findings:
    parts = [run.work / "audit" / f"{name}.parquet" for name in run.names]
    run.tell("audit", 0, None, note=plan.already(parts))
    (run.work / "audit").mkdir(exist_ok=True)
    findings = check(
        run.found, run.workers, keep=run.work / "audit", size=run.settings.size,
        tell=lambda pairs, bad: run.tell("audit", pairs, None, bad=bad),
    )  # fmt: skip
    rows.gather(run.work, run.names, findings)
    run.facts["set"] = {
        "path": str(run.found.path), "format": run.found.format,
        "pairs": findings.pairs, "texts": findings.texts, "images": findings.images,
    }  # fmt: skip
    run.facts["audit"] = findings.audit()
    return findings


def _rounds(run: Run) -> Deciding:
    """Judge, calibrate and caption, as often as asked, or until the decisions stand still."""
    data = rows.load(run.work, run.names)
    judging.write_planted(run.work, data, PLANTED)
    texts = [[data.texts[row][at] for at in data.judged(row)] for row in range(len(data))]
    before: list[str] | None = None
    history = []
    for number in range(1, run.settings.rounds + 1):
        decided = _round(run, data, texts, run.work / f"round-{number}")
        now = [
            item.decision
            for row in range(len(data))
            for item in decided.outcome(row).decisions[: len(data.texts[row])]
        ]
        moved = float(np.mean([a != b for a, b in zip(before, now)])) if before else 1.0
        history.append({"round": number, "auroc": decided.calibration.facts.get("auroc"), "changed": moved})
        before, texts = now, decided.texts()
        if moved < STILL or decided.calibration.threshold is None:
            break
    run.facts["rounds"] = history
    return decided


def _round(run: Run, data: rows.Rows, texts: list[list[str]], folder: Path) -> Deciding:
    settings = run.settings
    shown = len({data.image_keys[row] for row, given in enumerate(texts) if given})
    if (count := sum(map(len, texts))) < LEAST or shown < FEWEST:
        why = (
            f"Only {count:,} texts on {shown:,} pictures can be judged; at least {LEAST} texts on {FEWEST} pictures are "
            "needed to tell good from bad."
        )
        return _unjudged(run, data, why, folder)
    trusted = _trusted(run)
    if settings.model == "self":
        selfjudge.fit(folder, data, texts, settings, trusted, run.workers, run.tell)
    jobs = [
        judging.Job(run.work, run.found.shards, index, folder, settings.model)
        for index in range(len(run.names))
    ]
    _each(run, "judge", judging.score_shard, jobs)
    scores, own, planted = deciding.read_scores(folder, run.names)
    calibration = calibrate(own[np.isfinite(own)], planted[np.isfinite(planted)], settings.false_drop)
    run.facts["judge"] = (
        selfjudge.describe(folder)
        if settings.model == "self"
        else {"model": settings.model, "way": _way(jobs[0])}
    )
    run.facts["calibration"] = calibration.facts
    decided = Deciding(data, scores, calibration, {}, _rules(settings, calibration))
    run.facts["captioner"] = None
    if settings.captions and calibration.threshold is not None:
        decided = _caption(run, decided, jobs, trusted, folder)
    return decided


def _unjudged(run: Run, data: rows.Rows, why: str, folder: Path) -> Deciding:
    """A set too small for any judge to be calibrated on: what the rules keep stays."""
    folder.mkdir(exist_ok=True)
    calibration = Calibration(None, None, why, {"planted": 0, "decides": False, "why": why})
    run.facts |= {"judge": {"model": run.settings.model, "way": ""}, "captioner": None}
    run.facts["calibration"] = calibration.facts
    return Deciding(data, {}, calibration, {}, _rules(run.settings, calibration))


def _way(job: judging.Job) -> str:
    return judging.judge_of(job).way


def _rules(settings: Settings, calibration: Calibration) -> Rules:
    return Rules(
        calibration.threshold, calibration.p_threshold, settings.false_drop, settings.accept,
        add=settings.add, replace=settings.captions, keep_alt_text=settings.keep_alt_text,
    )  # fmt: skip


def _trusted(run: Run) -> rows.Rows | None:
    """The human-made set that captioner and filter are fine-tuned on, audited like the set itself."""
    if run.settings.trusted is None:
        return None
    return audited(open_set(run.settings.trusted), run.work / "trusted", run.settings.size, run.workers)


def audited(found: PairSet, work: Path, size: int, workers: int) -> rows.Rows:
    """A second set, read and audited into rows and pixels."""
    names = [shard.name for shard in found.shards]
    (work / "audit").mkdir(parents=True, exist_ok=True)
    rows.gather(work, names, check(found, workers, keep=work / "audit", size=size))
    return rows.load(work, names)


def _caption(
    run: Run, decided: Deciding, jobs: Sequence[judging.Job], trusted: rows.Rows | None, folder: Path
) -> Deciding:
    settings = run.settings
    wanted = (
        [row for row in range(len(decided.rows)) if decided.rows.usable[row]]
        if settings.add
        else decided.wordless()
    )
    if not wanted:
        return decided
    if settings.model == "self":
        captioner = str(selfjudge.fit_captioner(folder, decided, settings, trusted, run.workers, run.tell))
        name = "self"
    else:
        captioner = name = settings.model
        if not judging.can_write(settings.model):
            run.facts["captioner"] = {"model": None, "why": f"{settings.model} cannot write texts."}
            return decided
    asked = np.array(wanted)
    first = decided.rows.first
    proposals = [
        capfilt.Proposing(
            job, captioner, tuple(asked[(asked >= first[job.index]) & (asked < first[job.index + 1])].tolist()),
            settings.decode, settings.top_p, settings.proposals, settings.seed,
        )
        for job in jobs
    ]  # fmt: skip
    _each(run, "caption", capfilt.propose_shard, proposals)
    found = deciding.read_proposals(folder, run.names)
    run.facts["captioner"] = {
        "model": name, "decode": settings.decode, "pictures": len(wanted), "proposals": sum(map(len, found.values())),
        "noise_ratio": _rejected(found, decided),
    }  # fmt: skip
    return replace(decided, proposals=found, writer=f"synthetic:{name}")


def _rejected(found: deciding.Proposals, decided: Deciding) -> float:
    """The paper's noise ratio: the share of proposed captions that the filter turns down."""
    scores = np.array([score for given in found.values() for _, score in given])
    if not len(scores):
        return 0.0
    return float((decided.calibration.p_match(scores) < decided.rules.accept).mean())


def _merge(run: Run, decided: Deciding) -> None:
    """Write the clean set and the ledger's parts, shard by shard."""
    first = decided.rows.first
    jobs = [
        merging.Job(
            shard, run.out / CLEAN, run.work / "ledger" / f"{shard.name}.parquet",
            tuple(decided.outcome(row) for row in range(int(first[index]), int(first[index + 1]))),
        )
        for index, shard in enumerate(run.found.shards)
    ]  # fmt: skip
    _each(run, "merge", merging.merge_shard, jobs)
    merging.finish(run.found, run.out / CLEAN)


def _each(run: Run, step: str, function: Callable[[Any], int], jobs: Sequence[Any]) -> None:
    run.tell(step, 0, len(jobs), note=plan.already(job.part for job in jobs))
    for _, count in scale.run(function, jobs, run.workers):
        run.tell(step, 1, len(jobs), note=f"{count} texts")


def _finish(run: Run, findings: Findings, truth: Callable[[Path], dict[str, Any]] | None) -> dict[str, Any]:
    """Ledger, models, run.json and report; then no work is left behind."""
    from pairloom.clean import pictures, report

    run.tell("report", 0, None)
    table = run.out / "pairs.parquet"
    counts = ledger.join_parts([run.work / "ledger" / f"{name}.parquet" for name in run.names], table)
    run.facts["models"] = (
        selfjudge.publish(run.work, run.out / "models") if run.settings.model == "self" else None
    )
    facts = {
        "pairloom": pairloom.__version__, "command": asdict(run.settings), **run.facts, "counts": counts,
        "truth": truth(table) if truth is not None else None,
    }  # fmt: skip
    shown = pictures.Pictures(run.found, run.out, run.work)
    report.write_report(run.out / "report.html", facts, pq.read_table(table), shown.thumbnail, shown.link)
    facts["plan"] = json.loads((run.work / "plan.json").read_text())["hash"]
    with atomic_write(run.out / "run.json") as file:  # last: the run is finished
        file.write((json.dumps(facts, indent=1, ensure_ascii=False) + "\n").encode())
    plan.tidy(run.out)
    return facts
