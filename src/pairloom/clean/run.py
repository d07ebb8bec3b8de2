"""The main job: audit, judge, calibrate, caption, filter and merge, prove, report.

Every step is a task for each shard, which writes a part that is its own commit mark, so that the same command resumes after
any kill and ends with the same bytes. This process has counts and scores in memory, never the set's texts.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

import pairloom
from pairloom.clean import capfilt, decisions, ledger, plan, rows, scoring, self_judge, writing
from pairloom.clean.audit_set import Findings, check
from pairloom.clean.calibrate import LEAST, Calibration, calibrate
from pairloom.clean.capfilt import Captioner, CaptionTask, ModelCaptioner
from pairloom.clean.decisions import CalibratedRules, DecideTask, Rules
from pairloom.clean.judges import Judge, JudgeAt, PairJudge, is_judge
from pairloom.clean.plan import CLEAN, CleanSettings
from pairloom.clean.result import CleanResult
from pairloom.clean.rows import LEARN, Rows, column_of, read_part
from pairloom.clean.scoring import ScoreTask
from pairloom.clean.writing import WriteTask
from pairloom.data.disk import atomic_write, unwritable
from pairloom.data.shards import PairSet, open_set
from pairloom.scale import Execution

FEWEST = 10  # least pictures for a judge: each fold needs some, and each mismatch another picture
STILL = 0.005  # rounds end when a smaller share of the texts changes its decision

Tell = Callable[..., None]  # tell(step, done, total, bad=0, note="")
Truth = Callable[[Path], dict[str, Any]]


def silent(*_: Any, **__: Any) -> None:
    """A `tell` that shows no progress."""


@dataclass
class Run:
    """State of a run: its inputs and outputs, its judge and captioner, and the facts for run.json so far.

    judge: None where it is trained on the set itself. captioner: None where it is trained too, or where there is none.
    """

    pairs: PairSet
    out: Path
    work: Path
    settings: CleanSettings
    judge: PairJudge | None
    captioner: Captioner | None = None
    execution: Execution = Execution()
    device: str = "cpu"
    tell: Tell = silent
    facts: dict[str, Any] = field(default_factory=dict)

    @cached_property
    def names(self) -> list[str]:
        return [shard.name for shard in self.pairs.shards]

    def each(self, step: str, function: Callable[[Any], int], tasks: Sequence[Any]) -> None:
        """Run the tasks of a step, and report progress."""
        self.tell(step, 0, len(tasks), note=plan.already(task.part for task in tasks))
        for _, count in self.execution.run(function, tasks):
            self.tell(step, 1, len(tasks), note=f"{count} texts")


@dataclass(frozen=True)
class RoundResult:
    """Result of a round: its folder and that of its decisions, its judge, and the calibration."""

    folder: Path
    decisions: Path
    judge: PairJudge | None
    verdict: CalibratedRules


def clean(
    source: Path | str, out: Path | str, settings: CleanSettings = CleanSettings(), *,
    judge: PairJudge | Path | str | None = None, captioner: Captioner | Path | str | None = None,
    format: str | None = None, execution: Execution = Execution(), device: str = "cpu", restart: bool = False,
    truth: Truth | None = None, tell: Tell = silent,
) -> CleanResult:  # fmt: skip
    """Clean a set of pairs into `out`.

    `out` gets pairs/ (the clean set, in the format of the raw one), pairs.parquet (the ledger), run.json,
    report.html and models/ (judge and captioner). judge: "self", the folder of a judge or model, or an object; captioner: a
    model folder or an object; both override the settings. truth: for a set with known truth, a function that compares the
    ledger with it. Mistake where the set, the output folder or a model cannot be used.
    """
    pairs, out = open_set(source, format), Path(out)
    settings = _named(settings, judge, captioner)
    demand_usable(settings, judge, device)
    plan.permit(pairs.path, out, settings)
    with plan.alone(out):
        work = plan.prepare(pairs, out, settings, restart)
        done = plan.finished(out)
        if done is not None:
            tell("clean", 0, None, note="this run is finished already")
            plan.tidy(out)
            return CleanResult(out, done)
        named = judge is None or isinstance(judge, (str, Path))
        agents = _judge(settings, judge, work, device), _captioner(settings, captioner, named, device)
        run = Run(pairs, out, work, settings, *agents, execution, device, tell)
        try:
            return CleanResult(out, _steps(run, truth))
        except OSError as error:
            raise unwritable(Path(error.filename or out), error) from error


def _named(
    settings: CleanSettings, judge: PairJudge | Path | str | None, captioner: Captioner | Path | str | None
) -> CleanSettings:
    """The settings with the names of the judge and the captioner, since a run is resumed only with the same ones."""
    if judge is not None:
        name = f"judge {judge.identity}" if isinstance(judge, Judge) else _name(judge)
        settings = replace(settings, model=name)
    if captioner is not None:
        settings = replace(settings, captioner=_name(captioner))
    return settings


def _name(handed: PairJudge | Captioner | Path | str) -> str:
    """Name of a judge or captioner: the path itself, or the object's name."""
    return str(handed) if isinstance(handed, (str, Path)) else getattr(handed, "name", str(handed))


def demand_usable(settings: CleanSettings, judge: PairJudge | Path | str | None, device: str) -> None:
    """Raise Mistake, before any work, where a set, a model or the size cannot be used."""
    self_judge.demand_size(settings.size)
    if settings.model == "self":
        self_judge.demand_judge(settings.self_system, settings.size)
    elif judge is None or isinstance(judge, (str, Path)):
        JudgeAt(settings.model, device).way()  # loads it
    for other in (settings.trusted, settings.test):
        if other is not None:
            open_set(other)


def _judge(
    settings: CleanSettings, judge: PairJudge | Path | str | None, work: Path, device: str
) -> PairJudge | None:
    """The judge of the run's tasks; None for "self". A judge in memory is saved first, so that workers can load it."""
    if isinstance(judge, Judge):
        folder = work / "judge"
        if not is_judge(folder):
            shutil.rmtree(folder, ignore_errors=True)  # an incomplete judge, after a kill
            judge.save(folder)
        return JudgeAt(str(folder), device)
    if judge is not None and not isinstance(judge, (str, Path)):
        return judge
    return None if settings.model == "self" else JudgeAt(settings.model, device)


def _captioner(
    settings: CleanSettings, captioner: Captioner | Path | str | None, named: bool, device: str
) -> Captioner | None:
    """The captioner of the run; None where it is trained or missing. named: the judge is a model folder, which may write
    too."""
    if captioner is not None and not isinstance(captioner, (str, Path)):
        return captioner
    where = settings.captioner
    if where is None and named and settings.model != "self":
        where = settings.model
    return None if where is None else _model_captioner(settings, where, where, device)


def _model_captioner(settings: CleanSettings, where: str, name: str, device: str) -> ModelCaptioner:
    return ModelCaptioner(where, name, settings.decode, settings.top_p, settings.proposals, device)


def _steps(run: Run, truth: Truth | None) -> dict[str, Any]:
    findings = _audit(run)
    last = _rounds(run)
    _write(run, last)
    if run.settings.prove:
        from pairloom.clean.prove import prove

        run.facts["prove"] = prove(
            run.work, last.decisions, run.settings, run.execution, run.tell, run.device
        )
    return _finish(run, last, findings, truth)


def _audit(run: Run) -> Findings:
    parts = [run.work / "audit" / f"{name}.parquet" for name in run.names]
    run.tell("audit", 0, None, note=plan.already(parts))
    (run.work / "audit").mkdir(exist_ok=True)
    findings = check(
        run.pairs, run.execution, folder=run.work / "audit", size=run.settings.size,
        tell=lambda pairs, bad: run.tell("audit", pairs, None, bad=bad),
    )  # fmt: skip
    rows.gather(run.work, run.names, findings)
    run.facts["set"] = {
        "path": str(run.pairs.path), "format": run.pairs.format,
        "pairs": findings.pairs, "texts": findings.texts, "images": findings.images,
    }  # fmt: skip
    run.facts["audit"] = findings.audit()
    return findings


def audited(pairs: PairSet, work: Path, size: int, execution: Execution = Execution()) -> Rows:
    """Audit a second set into rows and pixels."""
    names = [shard.name for shard in pairs.shards]
    (work / "audit").mkdir(parents=True, exist_ok=True)
    rows.gather(work, names, check(pairs, execution, folder=work / "audit", size=size))
    return rows.load(work)


# -- rounds ------------------------------------------------------------------------------------------------------------


def _rounds(run: Run) -> RoundResult:
    """Run the rounds of judging, calibrating and captioning, up to the number in the settings, or until the decisions no
    longer change."""
    data = rows.load(run.work)
    rows.write_donors(data)
    texts, history = data.folder, []
    last: RoundResult | None = None
    for number in range(1, run.settings.rounds + 1):
        before, last = last, _round(run, data, texts, run.work / f"round-{number}")
        moved = 1.0
        if before is not None:
            moved = decisions.changed(last.decisions, before.decisions, run.work, run.names)
        auroc = last.verdict.calibration.facts.get("auroc")
        history.append({"round": number, "auroc": auroc, "changed": moved})
        texts = last.decisions
        if moved < STILL or last.verdict.calibration.threshold is None:
            break
    run.facts["rounds"] = history
    assert last is not None
    return last


def _round(run: Run, data: Rows, texts: Path, folder: Path) -> RoundResult:
    """Run one round. texts: the folder of parts with the judge's training texts."""
    settings = run.settings
    folder.mkdir(exist_ok=True)
    run.facts["captioner"] = None
    few = _too_few(data, texts)
    if few:
        calibration = Calibration(None, None, few, {"planted": 0, "decides": False, "why": few})
        run.facts |= {"judge": {"model": settings.model, "way": ""}, "calibration": calibration.facts}
        return _decide(run, folder, None, CalibratedRules(calibration, _rules(settings, calibration)))
    judge = run.judge
    if judge is None:
        where = self_judge.train_judge(folder, data, texts, settings, run.execution, run.tell, run.device)
        judge = JudgeAt(str(where), run.device)
    tasks = [ScoreTask(run.work, shard, folder, judge) for shard in run.pairs.shards]
    run.each("judge", scoring.score_shard, tasks)
    calibration = calibrate(*scoring.read_scores(folder, run.names), settings.false_drop)
    run.facts["judge"] = (
        self_judge.describe(folder / "folds")
        if run.judge is None
        else {"model": settings.model, "way": judge.way()}
    )
    run.facts["calibration"] = calibration.facts
    verdict = CalibratedRules(calibration, _rules(settings, calibration))
    if settings.captions and calibration.threshold is not None:
        return _caption(run, data, folder, judge, verdict)
    return _decide(run, folder, judge, verdict)


def _too_few(data: Rows, texts: Path) -> str:
    """The reason why a set is too small for a calibration; "" where it is not."""
    count, shown = 0, set[str]()
    for key, each in zip(data.column("image_key"), column_of(texts, data.shards, LEARN)):
        count += len(each)
        if each and len(shown) < LEAST:  # more are not counted
            shown.add(key)
    if count >= LEAST and len(shown) >= FEWEST:
        return ""
    return (
        f"Only {count:,} texts on {len(shown):,} pictures can be judged; at least {LEAST} texts on {FEWEST} pictures are "
        "needed to tell good from bad."
    )


def _rules(settings: CleanSettings, calibration: Calibration) -> Rules:
    return Rules(
        calibration.threshold, calibration.p_threshold, settings.false_drop, settings.accept,
        add=settings.add, replace=settings.captions, keep_alt_text=settings.keep_alt_text,
    )  # fmt: skip


def _decide(run: Run, folder: Path, judge: PairJudge | None, verdict: CalibratedRules) -> RoundResult:
    """Decide about all shards, without captions."""
    file, place = verdict.save(folder / "verdict.json"), folder / "decisions"
    scores = None if judge is None else folder / "scores"
    tasks = [DecideTask(run.work, name, file, place, scores) for name in run.names]
    for _ in run.execution.run(decisions.decide_shard, tasks):
        pass
    return RoundResult(folder, place, judge, verdict)


def _caption(run: Run, data: Rows, folder: Path, judge: PairJudge, verdict: CalibratedRules) -> RoundResult:
    """Decide without captions, propose captions where pairs need them, and decide again about pairs with proposals."""
    settings, first = run.settings, _decide(run, folder, judge, verdict)
    wanted = _wanted(run, first.decisions)
    captioner = _teach(run, data, folder, first.decisions) if wanted else None
    if captioner is None:
        return first
    captions, place = folder / "captions", folder / "captioned"
    tasks = [
        CaptionTask(run.work, shard, captions, first.decisions, judge, captioner, settings.seed, settings.add)
        for shard in run.pairs.shards
    ]
    run.each("caption", capfilt.caption_shard, tasks)
    chances = verdict.calibration.p_match(_column(captions, run.names, "score"))
    run.facts["captioner"] = {
        "model": captioner.name, "decode": settings.decode, "pictures": wanted, "proposals": len(chances),
        # as in the paper: the share of the proposals that the filter rejects
        "noise_ratio": float((chances < settings.accept).mean()) if len(chances) else 0.0,
    }  # fmt: skip
    verdict = replace(verdict, writer=f"synthetic:{captioner.name}")
    file = verdict.save(folder / "verdict-captions.json")
    again = [
        DecideTask(run.work, name, file, place, captions=captions, draft=first.decisions)
        for name in run.names
    ]
    for _ in run.execution.run(decisions.decide_shard, again):
        pass
    return RoundResult(folder, place, judge, verdict)


def _wanted(run: Run, draft: Path) -> int:
    """Number of usable pairs that need a caption: those without a text, or all of them with `add`."""
    count = 0
    for name in run.names:
        usable = read_part(run.work / "rows", name, ["usable"]).column("usable").to_pylist()
        texts = read_part(draft, name, [LEARN]).column(LEARN).to_pylist()
        count += sum(fine and (run.settings.add or not each) for fine, each in zip(usable, texts))
    return count


def _teach(run: Run, data: Rows, folder: Path, draft: Path) -> Captioner | None:
    """The captioner: the run's, or one that is trained on the kept texts. None, with the reason in the facts, where there is
    none."""
    settings, why = run.settings, ""
    if run.captioner is not None:
        named = run.captioner.where if isinstance(run.captioner, ModelCaptioner) else None
        if named is None or (not is_judge(named) and capfilt.can_write(named)):
            return run.captioner
        why = f"{named} cannot write texts."
    elif run.judge is not None:
        why = "A judge alone cannot write texts."
    else:
        trusted = _trusted(run)
        learnt = (data, draft) if trusted is None else (trusted, trusted.folder)
        where = self_judge.train_captioner(folder, *learnt, settings, run.tell, run.device)
        if where is not None:
            return _model_captioner(settings, str(where), "self", run.device)
        why = f"{settings.self_system} cannot write texts."
    run.facts["captioner"] = {"model": None, "why": why}
    return None


def _trusted(run: Run) -> Rows | None:
    """The human-annotated set for the fine-tuning of captioner and filter, audited like the set itself."""
    if run.settings.trusted is None:
        return None
    return audited(open_set(run.settings.trusted), run.work / "trusted", run.settings.size, run.execution)


def _column(folder: Path, names: Sequence[str], column: str) -> np.ndarray:
    """Concatenate a column of numbers over the parts of a folder."""
    parts = [read_part(folder, name, [column]).column(column).to_numpy() for name in names]
    return np.concatenate([np.zeros(0), *parts])


# -- output ------------------------------------------------------------------------------------------------------------


def _write(run: Run, last: RoundResult) -> None:
    """Write the clean set and the ledger's parts, shard by shard."""
    tasks = [
        WriteTask(
            shard, run.out / CLEAN, run.work / "ledger" / f"{shard.name}.parquet",
            last.decisions / f"{shard.name}.parquet",
        )
        for shard in run.pairs.shards
    ]  # fmt: skip
    run.each("merge", writing.write_shard, tasks)
    writing.finish(run.pairs, run.out / CLEAN)


def _publish(run: Run, last: RoundResult) -> dict[str, str]:
    """Save the last round's judge, with its calibration, and the trained captioner. Returns name -> folder."""
    models: dict[str, str] = {}
    judge = last.judge.judge if isinstance(last.judge, JudgeAt) else None
    if judge is not None and judge.folds:
        shutil.rmtree(run.out / "models" / "judge", ignore_errors=True)  # an incomplete judge, after a kill
        judge.calibrated(last.verdict.calibration).save(run.out / "models" / "judge")
        models["judge"] = "models/judge"
    if (last.folder / "captioner").exists():
        shutil.copytree(last.folder / "captioner", run.out / "models" / "captioner", dirs_exist_ok=True)
        models["captioner"] = "models/captioner"
    return models


def _finish(run: Run, last: RoundResult, findings: Findings, truth: Truth | None) -> dict[str, Any]:
    """Write ledger, models, run.json and report, and remove the work folder."""
    from pairloom.clean import pictures, report

    run.tell("report", 0, None)
    table = run.out / "pairs.parquet"
    counts = ledger.join_parts([run.work / "ledger" / f"{name}.parquet" for name in run.names], table)
    run.facts["models"] = _publish(run, last)
    facts = {
        "pairloom": pairloom.__version__, "command": asdict(run.settings), **run.facts, "counts": counts,
        "truth": truth(table) if truth is not None else None,
    }  # fmt: skip
    shown = pictures.ReportPictures(run.pairs, run.out, run.work)
    report.write_report(run.out / "report.html", facts, table, shown.thumbnail, shown.link)
    facts["plan"] = json.loads((run.work / "plan.json").read_text())["hash"]
    with atomic_write(run.out / "run.json") as file:  # last, since it marks a finished run
        file.write((json.dumps(facts, indent=1, ensure_ascii=False) + "\n").encode())
    plan.tidy(run.out)
    return facts
