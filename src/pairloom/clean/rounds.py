"""Rounds of a cleaning run: judge, calibrate, decide and caption, as often as the settings allow.

Each step is a task for every shard; the parts of a round are in its own folder.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from pairloom.clean import (
    capfilt,
    captioners,
    ending_scores,
    plan,
    ridge_training,
    rows,
    scoring,
    self_judge,
    shard_decisions,
    trusted_scores,
    word_scores,
)
from pairloom.clean.calibrate import LEAST, Calibration
from pairloom.clean.capfilt import Captioner, CaptionTask, ModelCaptioner
from pairloom.clean.decisions import rules_of
from pairloom.clean.ending_scores import EndingTask
from pairloom.clean.judge_file import is_judge
from pairloom.clean.judges import JudgeAt, cut_by
from pairloom.clean.kept_scores import keep_scores
from pairloom.clean.picture_source import PairJudge
from pairloom.clean.plan import CleanSettings
from pairloom.clean.rows import LEARN, SCORED, Rows, column_of, read_part
from pairloom.clean.scoring import ScoreTask
from pairloom.clean.shard_decisions import CalibratedRules, DecideTask
from pairloom.clean.shared_budget import FIRST, KnownErrors, share_budget
from pairloom.clean.word_scores import JudgesWords, WordTask, read_word_errors
from pairloom.data.shards import PairSet, open_set
from pairloom.scale import Execution

FEWEST = 10  # least pictures for a judge: each fold needs some, and each mismatch another picture
WORDS, ENDINGS = "words", "endings"  # in the folder of a round
STILL = 0.005  # rounds end when a smaller share of the texts changes its decision

Tell = Callable[..., None]  # tell(step, done, total, bad=0, note="")


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


def run_rounds(run: Run) -> RoundResult:
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
            moved = shard_decisions.changed(last.decisions, before.decisions, run.work, run.names)
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
        run.facts |= {
            "judge": {"model": settings.model, "way": ""},
            "calibration": calibration.facts,
            "words": None,
            "endings": None,
        }
        return _decide(run, folder, None, CalibratedRules(calibration, rules_of(settings, calibration)))
    judge = run.judge
    if judge is None:
        if settings.self_system == self_judge.RIDGE:
            where = ridge_training.train_judge(
                folder, run.pairs, data, texts, settings, run.execution, run.tell, run.device
            )
        else:
            where = self_judge.train_judge(folder, data, texts, settings, run.execution, run.tell, run.device)
        run.facts["judge"] = self_judge.describe(where)
        judge = JudgeAt(str(where), run.device)
    else:
        run.facts["judge"] = {"model": settings.model, "way": judge.way()}
    if isinstance(judge, JudgeAt):
        run.facts["judge"]["cut"] = asdict(
            cut_by(judge.judge, (text for row in data.column(SCORED) for text in row))
        )
    tasks = [ScoreTask(run.work, shard, folder, judge) for shard in run.pairs.shards]
    run.each("judge", scoring.score_shard, tasks)
    own, planted, owner = scoring.read_scores(folder / "scores", run.names)
    known = _score_trusted(run, data, folder, judge)
    keep_scores(folder, planted, known)
    calibration, endings, words = _calibrate(run, folder, judge, KnownErrors(own, planted, owner, known))
    run.facts |= {
        "calibration": calibration.facts,
        "endings": endings.facts,
        "words": None if words is None else words.facts,
    }
    rules = rules_of(settings, calibration, run.facts["words"], endings.facts)
    verdict = CalibratedRules(calibration, rules, words=words, endings=endings)
    if settings.captions and calibration.threshold is not None:
        return _caption(run, data, folder, judge, verdict)
    return _decide(run, folder, judge, verdict)


def _calibrate(
    run: Run, folder: Path, judge: PairJudge, whole: KnownErrors
) -> tuple[Calibration, Calibration, Calibration | None]:
    """Calibrations of whole texts, of their endings and of their words, which share the budget of false drops; that of the words
    is None where the judge tells none."""
    shards, scores, budget = run.pairs.shards, folder / "scores", run.settings.false_drop
    tasks = [EndingTask(run.work, shard, scores, folder / ENDINGS) for shard in shards]
    run.each("judge endings", ending_scores.score_endings, tasks)
    endings = KnownErrors(*scoring.read_scores(folder / ENDINGS, run.names), cautious=True)
    if not isinstance(judge, JudgesWords) or not judge.tells_words:
        known, cut = share_budget([whole, endings], budget)
        return known, cut, None
    # texts that are dropped as a whole, whatever its share of the budget, are no examples of right words
    least = whole.calibrate(min(FIRST) * budget).threshold
    spoken = [WordTask(run.work, shard, scores, folder / WORDS, judge, least) for shard in shards]
    run.each("judge words", word_scores.score_words, spoken)
    known, cut, words = share_budget([whole, endings, read_word_errors(folder / WORDS, run.names)], budget)
    return known, cut, words


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


def _decide(run: Run, folder: Path, judge: PairJudge | None, verdict: CalibratedRules) -> RoundResult:
    """Decide about all shards, without captions."""
    file, place = verdict.save(folder / "verdict.json"), folder / "decisions"
    scores = None if judge is None else folder / "scores"
    words = None if verdict.words is None else folder / WORDS
    endings = None if verdict.endings is None else folder / ENDINGS
    tasks = [
        DecideTask(run.work, name, file, place, scores, words=words, endings=endings) for name in run.names
    ]
    for _ in run.execution.run(shard_decisions.decide_shard, tasks):
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
    words = None
    if verdict.words is not None:
        words = folder / "caption-words"
        spoken = [
            WordTask(run.work, shard, captions, words, judge, edits=False) for shard in run.pairs.shards
        ]
        run.each("judge words", word_scores.score_words, spoken)
    chances = verdict.calibration.p_match(_column(captions, run.names, "score"))
    run.facts["captioner"] = {
        "model": captioner.name, "decode": settings.decode, "pictures": wanted, "proposals": len(chances),
        # as in the paper: the share of the proposals that the filter rejects
        "noise_ratio": float((chances < verdict.rules.needed).mean()) if len(chances) else 0.0,
    }  # fmt: skip
    verdict = replace(verdict, writer=f"synthetic:{captioner.name}")
    file = verdict.save(folder / "verdict-captions.json")
    again = [
        DecideTask(run.work, name, file, place, captions=captions, draft=first.decisions, words=words)
        for name in run.names
    ]
    for _ in run.execution.run(shard_decisions.decide_shard, again):
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
        learnt = (data, run.pairs.shards, draft)
        if trusted is not None and settings.trusted is not None:
            learnt = (trusted, open_set(settings.trusted).shards, trusted.folder)
        where = captioners.train_captioner(folder, *learnt, settings, run.execution, run.tell, run.device)
        if where is not None:
            return model_captioner(settings, str(where), "self", run.device)
        why = f"{settings.self_system} cannot write texts."
    run.facts["captioner"] = {"model": None, "why": why}
    return None


def _trusted(run: Run) -> Rows | None:
    """The human-annotated set for the fine-tuning of captioner and filter, audited like the set itself."""
    if run.settings.trusted is None:
        return None
    return rows.audit_rows(
        open_set(run.settings.trusted), run.work / "trusted", run.settings.size, run.execution
    )


def _score_trusted(run: Run, data: Rows, folder: Path, judge: PairJudge) -> np.ndarray | None:
    """Scores of the trusted pairs by the judge of a round; None without a trusted set."""
    rows = _trusted(run)
    if rows is None or run.settings.trusted is None:
        return None
    shards = open_set(run.settings.trusted).shards
    run.each("judge trusted", scoring.score_shard, trusted_scores.score_tasks(rows, shards, folder, judge))
    scores = trusted_scores.read_scores(rows, data, folder)
    run.facts["trusted"] = len(scores)
    return scores if len(scores) else None


def _column(folder: Path, names: Sequence[str], column: str) -> np.ndarray:
    """Concatenate a column of numbers over the parts of a folder."""
    parts = [read_part(folder, name, [column]).column(column).to_numpy() for name in names]
    return np.concatenate([np.zeros(0), *parts])


def model_captioner(settings: CleanSettings, where: str, name: str, device: str) -> ModelCaptioner:
    """The captioner of a model folder, with the settings' options of decoding."""
    return ModelCaptioner(where, name, settings.decode, settings.top_p, settings.proposals, device)
