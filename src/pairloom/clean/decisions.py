"""Decisions: keep, replace, add or drop, by P(match) and the audit. Step 5 of `clean`, shard by shard.

A calibration is a few numbers, so that the task of a shard can decide about its pairs and write them as a part. `decide` is
a pure function of the facts about one pair, so that every decision can be explained and tested by hand.
Source: BLIP, section 3.3 (CapFilt): the filter removes unmatched texts, web and synthetic alike.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pairloom.clean.calibrate import Calibration
from pairloom.clean.faults import FAULTS
from pairloom.clean.ledger import ADD, DROP, KEEP, REJECT, REPLACE
from pairloom.clean.plan import CleanSettings
from pairloom.clean.rows import LEARN, read_part
from pairloom.clean.scoring import PLANTED
from pairloom.clean.word_scores import WordsOfText, read_words
from pairloom.data.disk import atomic_write

TEXT = [("text", pa.string()), ("source", pa.string())]
SCHEMA = pa.schema(
    [
        ("findings", pa.list_(pa.string())),  # of the picture
        (LEARN, pa.list_(pa.string())),  # the texts of the clean set
        ("sources", pa.list_(pa.string())),  # of these
        (
            "decisions",
            pa.list_(
                pa.struct(
                    [
                        *TEXT,
                        ("findings", pa.list_(pa.string())),
                        ("score", pa.float64()),
                        ("p_match", pa.float64()),
                        ("word_score", pa.float64()),
                        ("p_words", pa.float64()),
                        ("wrong_words", pa.list_(pa.string())),
                        ("decision", pa.string()),
                        ("reason", pa.string()),
                    ]
                )
            ),
        ),
    ]
)


@dataclass(frozen=True)
class Judged:
    """A text with its findings, score and P(match). score and p_match are None for a text that was not scored. word_score: of
    its worst word; p_words: the least P(all its words are right); both None where no word was judged. wrong_words: words that may
    well be wrong."""

    text: str
    source: str = "original"
    findings: Sequence[str] = ()
    score: float | None = None
    p_match: float | None = None
    word_score: float | None = None
    p_words: float | None = None
    wrong_words: Sequence[str] = ()


@dataclass(frozen=True)
class Rules:
    """Rules of deciding.

    threshold: texts with a lower score are unmatched; None: no threshold, so nothing is dropped by score. word_threshold: the
    same of the score of a text's worst word.
    accept: a proposed caption needs at least this P(match) (BLIP's filter: 0.5), and a score that would keep an original.
    add: accepted captions are also added to kept texts (the paper's union). keep_alt_text: a replaced text stays in the
    clean set, after the caption that replaces it. replace: whether proposals may replace dropped texts.
    """

    threshold: float | None
    p_threshold: float | None = None
    false_drop: float = 0.05
    accept: float = 0.5
    add: bool = False
    replace: bool = True
    keep_alt_text: bool = False
    word_threshold: float | None = None
    p_word_threshold: float | None = None

    @property
    def needed_of_words(self) -> float:
        """Least P(all words are right) of a proposed caption."""
        return max(self.accept, self.p_word_threshold or 0.0)

    @property
    def needed(self) -> float:
        """Least P(match) of a proposed caption: what is dropped as an original is not accepted as a proposal."""
        return max(self.accept, self.p_threshold or 0.0)


def rules_of(
    settings: CleanSettings, calibration: Calibration, words: Mapping[str, Any] | None = None
) -> Rules:
    """The rules of a run's settings, with the threshold of a calibration, and of that of single words, given its facts."""
    known = words if words is not None and words["decides"] else {}
    return Rules(
        calibration.threshold, calibration.p_threshold, settings.false_drop, settings.accept,
        add=settings.add, replace=settings.captions, keep_alt_text=settings.keep_alt_text,
        word_threshold=known.get("threshold"), p_word_threshold=known.get("p_threshold"),
    )  # fmt: skip


@dataclass
class TextDecision:
    """Decision about one text, a row of the ledger: the text, the decision and its reason."""

    judged: Judged
    decision: str
    reason: str


@dataclass
class Outcome:
    """Outcome of a pair: a decision for each text and proposal, and the (text, source) list of the clean set."""

    decisions: list[TextDecision] = field(default_factory=list)
    texts: list[tuple[str, str]] = field(default_factory=list)
    findings: tuple[str, ...] = ()  # of the picture


def decide(
    image_findings: Sequence[str],
    problem: str,
    texts: Sequence[Judged],
    proposals: Sequence[Judged],
    rules: Rules,
) -> Outcome:
    """Decide about one pair: first its original texts, then the proposals, which are in falling order of certainty."""
    outcome = Outcome(findings=tuple(image_findings))
    broken = next((code for code in image_findings if FAULTS[code].severity == "bad"), None)
    if broken is not None:
        why = FAULTS[broken].says + (f" ({problem})" if problem else "")
        outcome.decisions = [TextDecision(text, DROP, why) for text in texts or [Judged("", "")]]
        return outcome
    outcome.decisions = [_original(text, rules) for text in texts]
    kept = [item for item in outcome.decisions if item.decision == KEEP]
    taken = _choose(proposals, rules, needed=not kept)
    if taken and not kept:
        for item in outcome.decisions:
            item.decision = REPLACE
    outcome.decisions += [_proposal(proposal, proposal is taken, rules) for proposal in proposals]
    if not texts and not taken:
        why = FAULTS["no_text"].says + (f" ({problem})" if problem not in ("", "no text") else "")
        outcome.decisions.insert(0, TextDecision(Judged("", ""), DROP, why))
    outcome.texts = [(item.judged.text, item.judged.source) for item in kept]
    if taken:
        outcome.texts.append((taken.text, taken.source))
        if rules.keep_alt_text:
            replaced = [item.judged for item in outcome.decisions if item.decision == REPLACE]
            outcome.texts += [(text.text, text.source) for text in replaced if text.text.strip()]
    return outcome


def _original(text: Judged, rules: Rules) -> TextDecision:
    fault = next((code for code in text.findings if FAULTS[code].severity == "bad"), None)
    if fault is not None:
        return TextDecision(text, DROP, FAULTS[fault].says)
    doubts = " ".join(
        FAULTS[code].says
        for code in text.findings
        if FAULTS[code].severity == "doubt" and code != "wrong_word"
    )  # of wrong words there is a sentence that names them
    if "labelled_good" in text.findings:
        return TextDecision(text, KEEP, FAULTS["labelled_good"].says)
    if text.score is None:
        return TextDecision(
            text, KEEP, doubts or "No judge scored this text, and the audit found nothing against it."
        )
    if rules.threshold is not None and text.score < rules.threshold:
        limit = f" the limit of {rules.p_threshold:.0%}" if rules.p_threshold is not None else " the limit"
        why = f"P(match) is {text.p_match:.0%}, below{limit} that drops at most {rules.false_drop:.0%} of the good pairs."
        return TextDecision(text, DROP, f"{why} {doubts}".strip())
    if rules.threshold is None:
        says = "Nothing is dropped by score on this set."
    else:
        says = f"P(match) is {text.p_match:.0%}."
    decision = DROP if _has_wrong_word(text, rules) else KEEP
    return TextDecision(text, decision, " ".join(filter(None, (says, _of_words(text), doubts))))


def _has_wrong_word(text: Judged, rules: Rules) -> bool:
    """Whether the worst word of a text is below the limit of single words."""
    limit = rules.word_threshold
    return limit is not None and text.word_score is not None and text.word_score < limit


def _of_words(text: Judged) -> str:
    """What the judge says of a text's words, in one sentence; "" where it doubts none."""
    if not text.wrong_words:
        return ""
    named = " and ".join(f"\u201c{word}\u201d" for word in text.wrong_words[:3])
    return f"{named} may not fit the picture: P(all words are right) is at least {text.p_words:.0%}."


def _choose(proposals: Sequence[Judged], rules: Rules, needed: bool) -> Judged | None:
    """The first accepted proposal, where the pair needs one."""
    if not (rules.add or (needed and rules.replace)):
        return None
    return next((proposal for proposal in proposals if _accepted(proposal, rules)), None)


def _accepted(proposal: Judged, rules: Rules) -> bool:
    if rules.threshold is None or proposal.score is None or proposal.p_match is None:
        return False
    if proposal.p_words is not None and (
        proposal.p_words < rules.needed_of_words or _has_wrong_word(proposal, rules)
    ):
        return False
    return proposal.score >= rules.threshold and proposal.p_match >= rules.needed


def _proposal(proposal: Judged, taken: bool, rules: Rules) -> TextDecision:
    p = "unknown" if proposal.p_match is None else f"{proposal.p_match:.0%}"
    if taken:
        return TextDecision(proposal, ADD, f"The best of the proposed captions; P(match) is {p}.")
    if rules.threshold is None:
        return TextDecision(proposal, REJECT, "No limit of scores holds on this set, so no caption is added.")
    if _accepted(proposal, rules):
        return TextDecision(proposal, REJECT, f"P(match) is {p}, but another text is better.")
    if proposal.wrong_words and (proposal.p_match or 0) >= rules.needed:
        return TextDecision(proposal, REJECT, f"P(match) is {p}. {_of_words(proposal)}")
    return TextDecision(
        proposal, REJECT, f"P(match) is {p}, under the {rules.needed:.0%} that a new caption needs."
    )


# -- by the shard ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class CalibratedRules:
    """Everything that the decisions of a set depend on: the calibration, the rules, the source of the proposals, and the
    calibration of single words, where the judge tells these."""

    calibration: Calibration
    rules: Rules
    writer: str = ""  # the source of proposals: "synthetic:MODEL"
    words: Calibration | None = None

    def save(self, file: Path) -> Path:
        """Write a JSON file for the tasks of all shards."""
        known = {
            "calibration": self.calibration.to_dict(),
            "rules": asdict(self.rules),
            "writer": self.writer,
            "words": None if self.words is None else self.words.to_dict(),
        }
        with atomic_write(file, replace=True) as out:
            out.write(json.dumps(known).encode())
        return file

    @classmethod
    def load(cls, file: Path) -> CalibratedRules:
        return _verdict(file, file.stat().st_mtime_ns)

    def judged(
        self,
        texts: Sequence[str],
        sources: Sequence[str],
        findings: Sequence[Sequence[str]],
        scores: Sequence[float | None],
        words: Sequence[WordsOfText | None] | None = None,
    ) -> list[Judged]:
        """Texts with their scores and P(match), and the same of their words where these were judged; a score that is not
        finite counts as missing."""
        known = np.array([np.nan if score is None else score for score in scores], np.float64)
        chances = self.calibration.p_match(known)
        return [
            _with_finding(
                Judged(
                    text,
                    source,
                    tuple(code for code in faults if code != "wrong_word"),
                    float(score) if np.isfinite(score) else None,
                    float(p) if np.isfinite(score) and np.isfinite(p) else None,
                    *self._words(each),
                )
            )
            for text, source, faults, score, p, each in zip(
                texts, sources, findings, known, chances, words or [None] * len(texts)
            )
        ]

    def _words(self, words: WordsOfText | None) -> tuple[float | None, float | None, tuple[str, ...]]:
        """word_score, p_words and wrong_words of a text."""
        if words is None or not words.words or self.words is None:
            return None, None, ()
        chance = float(self.words.p_match(np.array([words.score]))[0])
        return words.score, chance if np.isfinite(chance) else None, words.doubted(self.words)


def _with_finding(text: Judged) -> Judged:
    """The text with the finding of a wrong word, where it has one."""
    return replace(text, findings=(*text.findings, "wrong_word")) if text.wrong_words else text


@lru_cache(maxsize=1)
def _verdict(file: Path, _: int) -> CalibratedRules:
    known = json.loads(file.read_text())
    words = None if known["words"] is None else Calibration.from_dict(known["words"])
    return CalibratedRules(
        Calibration.from_dict(known["calibration"]), Rules(**known["rules"]), known["writer"], words
    )


@dataclass(frozen=True)
class DecideTask:
    """Task of deciding about one shard. verdict: the file of CalibratedRules; scores, captions: folders of parts, None where
    there are none; words: folder with the words of the texts that are decided about, of proposals where there are captions;
    draft: folder of the decisions before captions, which stay for rows without a proposed caption."""

    work: Path
    shard: str
    verdict: Path
    folder: Path
    scores: Path | None = None
    captions: Path | None = None
    draft: Path | None = None
    words: Path | None = None

    @property
    def part(self) -> Path:
        return self.folder / f"{self.shard}.parquet"


def decide_shard(task: DecideTask) -> int:
    """Decide about a shard's pairs; the part on disk is the commit mark. Returns the number of usable pairs without a text."""
    if not task.part.exists():
        write_outcomes(task.part, list(_outcomes(task)))
    learnt = read_part(task.folder, task.shard, [LEARN]).column(LEARN).to_pylist()
    usable = read_part(task.work / "rows", task.shard, ["usable"]).column("usable").to_pylist()
    return sum(fine and not texts for fine, texts in zip(usable, learnt))


def _outcomes(task: DecideTask) -> Iterator[Outcome]:
    verdict = CalibratedRules.load(task.verdict)
    if task.draft is not None and task.captions is not None:
        yield from _with_captions(task, verdict, task.draft, task.captions)
        return
    names = ["image_faults", "problem", "texts", "sources", "text_faults"]
    columns = read_part(task.work / "rows", task.shard, names)
    scores, words = _scores(task.scores, task.shard), read_words(task.words, task.shard)
    values = zip(*(columns.column(name).to_pylist() for name in names))
    for row, (findings, problem, texts, sources, faults) in enumerate(values):
        known = [scores.get((row, at)) for at in range(len(texts))]
        spoken = [words.get((row, at)) for at in range(len(texts))]
        judged = verdict.judged(texts, sources, faults, known, spoken)
        yield decide(findings, problem, judged, [], verdict.rules)


def _scores(folder: Path | None, shard: str) -> dict[tuple[int, int], float]:
    """Scores of a shard's own texts by (row, text_id)."""
    if folder is None:
        return {}
    table = read_part(folder, shard, ["row", "text_id", "score"])
    columns = (table.column(name).to_pylist() for name in ("row", "text_id", "score"))
    return {(row, at): score for row, at, score in zip(*columns) if at != PLANTED}


def _with_captions(
    task: DecideTask, verdict: CalibratedRules, draft: Path, captions: Path
) -> Iterator[Outcome]:
    """The draft's outcomes, with new decisions for pairs with proposed captions."""
    proposals: dict[int, list[tuple[str, float, WordsOfText | None]]] = {}
    words = read_words(task.words, task.shard)
    for entry in read_part(captions, task.shard).to_pylist():
        spoken = words.get((entry["row"], entry["text_id"]))
        proposals.setdefault(entry["row"], []).append((entry["text"], entry["score"], spoken))
    columns = read_part(task.work / "rows", task.shard, ["problem", "texts"])
    problems, texts = (columns.column(name).to_pylist() for name in ("problem", "texts"))
    for row, outcome in enumerate(read_outcomes(draft / f"{task.shard}.parquet")):
        if row not in proposals:
            yield outcome
            continue
        originals = [item.judged for item in outcome.decisions[: len(texts[row])]]
        written, scores, judged = zip(*proposals[row])
        sources = [verdict.writer] * len(written)
        proposed = verdict.judged(written, sources, [()] * len(written), scores, judged)
        yield decide(outcome.findings, problems[row], originals, proposed, verdict.rules)


def write_outcomes(path: Path, outcomes: Sequence[Outcome]) -> None:
    """Write the outcomes of a shard's pairs, atomically."""
    rows: list[dict[str, Any]] = [
        {
            "findings": list(outcome.findings),
            LEARN: [text for text, _ in outcome.texts],
            "sources": [source for _, source in outcome.texts],
            "decisions": [
                {**asdict(item.judged), "decision": item.decision, "reason": item.reason}
                for item in outcome.decisions
            ],
        }
        for outcome in outcomes
    ]
    with atomic_write(path) as file:
        pq.write_table(pa.Table.from_pylist(rows, SCHEMA), file)


def read_outcomes(path: Path) -> Iterator[Outcome]:
    """Read the outcomes of a shard: the inverse of `write_outcomes`."""
    with pq.ParquetFile(path) as part:
        for row in part.read(use_threads=False).to_pylist():
            decisions = []
            for item in row["decisions"]:
                decision, reason = item.pop("decision"), item.pop("reason")
                lists = {name: tuple(item[name]) for name in ("findings", "wrong_words")}
                judged = Judged(**{**item, **lists})
                decisions.append(TextDecision(judged, decision, reason))
            yield Outcome(decisions, list(zip(row[LEARN], row["sources"])), tuple(row["findings"]))


def changed(folder: Path, before: Path, work: Path, shards: Sequence[str]) -> float:
    """Share of the set's own texts whose decision differs from that of the round before."""
    moved = total = 0
    for shard in shards:
        counts = [len(texts) for texts in read_part(work / "rows", shard, ["texts"]).column(0).to_pylist()]
        pairs = (read_outcomes(place / f"{shard}.parquet") for place in (folder, before))
        for count, now, then in zip(counts, *pairs):
            both = list(zip(now.decisions[:count], then.decisions[:count]))
            moved += sum(one.decision != other.decision for one, other in both)
            total += len(both)
    return moved / total if total else float("nan")
