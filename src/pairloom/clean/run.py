"""The main job: audit, judge, calibrate, caption, filter and merge, prove, report.

Every step is a task for each shard, which writes a part that is its own commit mark, so that the same command resumes after
any kill and ends with the same bytes. This process has counts and scores in memory, never the set's texts.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pairloom
from pairloom.clean import kept_scores, ledger, plan, ridge_training, rows, self_judge, writing
from pairloom.clean.audit_set import Findings, check, demand_few
from pairloom.clean.calibrated_judge import CalibratedJudge
from pairloom.clean.capfilt import Captioner
from pairloom.clean.judge_file import is_judge
from pairloom.clean.judges import Judge, JudgeAt
from pairloom.clean.kept_scores import KeptScores
from pairloom.clean.label_file import LabelFile
from pairloom.clean.picture_source import PairJudge
from pairloom.clean.plan import CLEAN, NONE, CleanSettings
from pairloom.clean.recalibrate import decide_again
from pairloom.clean.result import CleanResult
from pairloom.clean.rounds import RoundResult, Run, Tell, model_captioner, run_rounds, silent
from pairloom.clean.writing import WriteTask
from pairloom.data.disk import atomic_write, json_bytes, unwritable
from pairloom.data.several import open_sets
from pairloom.data.shards import ColumnNames, PairSet
from pairloom.errors import Mistake
from pairloom.scale import Execution

Truth = Callable[[Path], dict[str, Any]]


def clean(
    source: PairSet | Path | str, out: Path | str, settings: CleanSettings = CleanSettings(), *,
    judge: PairJudge | Path | str | None = None, captioner: Captioner | Path | str | None = None,
    labels: Path | str | None = None, format: str | None = None, columns: ColumnNames = ColumnNames(),
    execution: Execution = Execution(), device: str = "cpu",
    restart: bool = False, truth: Truth | None = None, tell: Tell = silent,
) -> CleanResult:  # fmt: skip
    """Clean a set of pairs into `out`.

    `out` gets pairs/ (the clean set, in the format of the raw one), pairs.parquet (the ledger), run.json,
    report.html and models/ (judge and captioner). judge: "self", the folder of a judge or model, or an object; captioner: a
    model folder or an object; both override the settings. labels: a label file about this run, by which it is decided again
    from the kept scores once it has finished. truth: for a set with known truth, a function that compares the
    ledger with it. Mistake where the set, the output folder or a model cannot be used.
    """
    pairs = source if isinstance(source, PairSet) else open_sets(source, format, columns)
    out = Path(out)
    if labels is not None:
        LabelFile.load(Path(labels))  # a Mistake in it is reported before any work
    settings = _named(settings, judge, captioner)
    if restart or plan.finished(out) is None:
        demand_usable(settings, judge, device)
    plan.permit(pairs.sources, out, settings)
    with plan.alone(out):
        plan.replace_result(out)
        work = plan.prepare(pairs, out, settings, restart)
        facts = plan.finished(out)
        try:
            if facts is None:
                named = judge is None or isinstance(judge, (str, Path))
                agents = _judge(settings, judge, work, device), _captioner(settings, captioner, named, device)
                facts = _steps(Run(pairs, out, work, settings, *agents, execution, device, tell), truth)
            elif labels is None:
                tell("clean", 0, None, note="this run is finished already")
            if labels is not None:
                facts = decide_again(pairs, out, facts, Path(labels), execution, tell)
            plan.tidy(out)
            return CleanResult(out, facts)
        except OSError as error:
            raise unwritable(Path(error.filename or out), error) from error


def _named(
    settings: CleanSettings, judge: PairJudge | Path | str | None, captioner: Captioner | Path | str | None
) -> CleanSettings:
    """The settings with the names of the judge and the captioner, since a run is resumed only with the same ones."""
    if judge is not None:
        name = f"judge {judge.identity}" if isinstance(judge, CalibratedJudge) else _name(judge)
        settings = replace(settings, model=name)
    if captioner is not None:
        settings = replace(settings, captioner=_name(captioner))
    return with_towers(settings)


def with_towers(settings: CleanSettings) -> CleanSettings:
    """The settings with the towers of the judge "self": those that are named, else installed ones, or "none"."""
    if settings.model != "self" or settings.self_system != self_judge.RIDGE:
        return settings
    from pairloom.towers import wanted_towers

    image, text = wanted_towers(settings.image_tower, settings.text_tower)
    return replace(settings, image_tower=image or NONE, text_tower=text or NONE)


def _name(handed: PairJudge | Captioner | Path | str) -> str:
    """Name of a judge or captioner: the path itself, or the object's name."""
    return str(handed) if isinstance(handed, (str, Path)) else getattr(handed, "name", str(handed))


def demand_usable(settings: CleanSettings, judge: PairJudge | Path | str | None, device: str) -> None:
    """Raise Mistake, before any work, where a set, a model or the size cannot be used."""
    self_judge.demand_size(settings.size)
    if settings.model == "self":
        self_judge.demand_judge(settings.self_system, settings.size)
        if settings.self_system == self_judge.RIDGE:
            ridge_training.demand_towers(with_towers(settings), device)
        elif settings.image_tower or settings.text_tower:
            why = f"The judge that {settings.self_system} is trained to be has its own towers."
            raise Mistake(
                "Towers are for the judge `ridge`.", why, "Leave out --image-tower and --text-tower."
            )
    elif judge is None or isinstance(judge, (str, Path)):
        JudgeAt(settings.model, device).way()  # loads it
    for other in (settings.trusted, settings.test):
        if other is not None:
            open_sets(other)


def _judge(
    settings: CleanSettings, judge: PairJudge | Path | str | None, work: Path, device: str
) -> PairJudge | None:
    """The judge of the run's tasks; None for "self". A judge in memory is saved first, so that workers can load it."""
    if isinstance(judge, CalibratedJudge):
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
    return None if where is None else model_captioner(settings, where, where, device)


def _steps(run: Run, truth: Truth | None) -> dict[str, Any]:
    findings = _audit(run)
    last = run_rounds(run)
    _write(run, last)
    if run.settings.prove:
        from pairloom.clean.prove import prove

        run.facts["prove"] = prove(
            run.work, run.pairs.shards, last.decisions, run.settings, run.execution, run.tell, run.device
        )
    return _finish(run, last, findings, truth)


def _audit(run: Run) -> Findings:
    parts = [run.work / "audit" / f"{name}.parquet" for name in run.names]
    run.tell("audit", 0, None, note=plan.already(parts))
    (run.work / "audit").mkdir(exist_ok=True)
    findings = check(
        run.pairs, run.execution, folder=run.work / "audit", size=run.settings.size,
        tell=lambda pairs, bad: run.tell("audit", pairs, None, bad=bad), repairs=run.settings.repair,
    )  # fmt: skip
    demand_few(findings, run.pairs.path)
    rows.gather(run.work, run.names, findings, run.settings.repair, run.settings.merge_copies)
    run.facts["set"] = {**run.pairs.facts(), "notes": list(findings.notes), **findings.counts()}
    run.facts["audit"] = findings.audit()
    return findings


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
    if judge is not None and not (isinstance(judge, Judge) and not judge.folds):
        shutil.rmtree(run.out / "models" / "judge", ignore_errors=True)  # an incomplete judge, after a kill
        judge.calibrated(last.verdict.calibration, last.verdict.words).save(run.out / "models" / "judge")
        models["judge"] = "models/judge"
    if (last.folder / "captioner").exists():
        shutil.copytree(last.folder / "captioner", run.out / "models" / "captioner", dirs_exist_ok=True)
        models["captioner"] = "models/captioner"
    return models


def _finish(run: Run, last: RoundResult, findings: Findings, truth: Truth | None) -> dict[str, Any]:
    """Write ledger, models, run.json and report, and remove the work folder."""
    from pairloom.clean import certainty, pictures, recalibrate, report

    run.tell("report", 0, None)
    table = run.out / "pairs.parquet"
    counts = ledger.join_parts([run.work / "ledger" / f"{name}.parquet" for name in run.names], table)
    run.facts["models"] = _publish(run, last)
    kept_scores.publish(last.folder, run.out)
    run.facts["scores"] = KeptScores.of(table, run.out / kept_scores.FILE).identity
    facts = {
        "pairloom": pairloom.__version__, "command": asdict(run.settings), **run.facts, "counts": counts,
        "truth": truth(table) if truth is not None else None,
    }  # fmt: skip
    shown = pictures.ReportPictures(run.pairs, run.out, run.work)
    how = recalibrate.command(Path("OUT"), facts, Path(plan.LABELS))
    request = certainty.label_request(facts, table, run.out / kept_scores.FILE, shown.encoded, how)
    report.write_report(run.out / "report.html", facts, table, shown.thumbnail, shown.link, request=request)
    facts["plan"] = json.loads((run.work / "plan.json").read_text())["hash"]
    with atomic_write(run.out / "run.json") as file:  # last, since it marks a finished run
        file.write(json_bytes(facts))
    plan.tidy(run.out)
    return facts
