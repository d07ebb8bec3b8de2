"""Decisions of a shard: the rules of a whole set, applied to the pairs of one shard and written as a part. Step 5 of `clean`.

A calibration is a few numbers, so that the task of a shard can decide about its pairs itself.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pairloom.clean.calibrate import Calibration
from pairloom.clean.decisions import Judged, Outcome, Rules, TextDecision, decide
from pairloom.clean.rows import LEARN, read_part
from pairloom.clean.scoring import PLANTED
from pairloom.clean.shared_budget import DOUBT
from pairloom.clean.text_faults import text_faults
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
                        ("end_score", pa.float64()),
                        ("p_complete", pa.float64()),
                        ("word_score", pa.float64()),
                        ("p_words", pa.float64()),
                        ("wrong_words", pa.list_(pa.string())),
                        ("original", pa.string()),
                        ("decision", pa.string()),
                        ("reason", pa.string()),
                    ]
                )
            ),
        ),
    ]
)


@dataclass(frozen=True)
class CalibratedRules:
    """Everything that the decisions of a set depend on: the calibration, the rules, the source of the proposals, and the
    calibrations of single words, where the judge tells these, and of endings."""

    calibration: Calibration
    rules: Rules
    writer: str = ""  # the source of proposals: "synthetic:MODEL"
    words: Calibration | None = None
    endings: Calibration | None = None

    def save(self, file: Path) -> Path:
        """Write a JSON file for the tasks of all shards."""
        known = {
            "calibration": self.calibration.to_dict(),
            "rules": asdict(self.rules),
            "writer": self.writer,
            "words": None if self.words is None else self.words.to_dict(),
            "endings": None if self.endings is None else self.endings.to_dict(),
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
        endings: Sequence[float | None] | None = None,
        originals: Sequence[str | None] | None = None,
    ) -> list[Judged]:
        """Texts with their scores and P(match), and the same of their endings and words where these were judged; a score that
        is not finite counts as missing."""
        known = np.array([np.nan if score is None else score for score in scores], np.float64)
        chances = self.calibration.p_match(known)
        judged = []
        for at, (text, source, faults) in enumerate(zip(texts, sources, findings)):
            score, p = float(known[at]), float(chances[at])
            end_score, p_complete = self._ending(None if endings is None else endings[at])
            word_score, p_words, wrong = self._words(None if words is None else words[at])
            codes = tuple(code for code in faults if code != "wrong_word")
            new = Judged(
                text, source, codes, score if np.isfinite(score) else None,
                p if np.isfinite(score) and np.isfinite(p) else None, end_score, p_complete, word_score, p_words, wrong,
                None if originals is None else originals[at],
            )  # fmt: skip
            judged.append(self._with_doubts(new))
        return judged

    def _ending(self, score: float | None) -> tuple[float | None, float | None]:
        """end_score and p_complete of a text."""
        if score is None or self.endings is None or not np.isfinite(score):
            return None, None
        chance = float(self.endings.p_match(np.array([score]))[0])
        return score, chance if np.isfinite(chance) else None

    def _words(self, words: WordsOfText | None) -> tuple[float | None, float | None, tuple[str, ...]]:
        """word_score, p_words and wrong_words of a text."""
        if words is None or not words.words or self.words is None:
            return None, None, ()
        chance = float(self.words.p_match(np.array([words.score]))[0])
        return words.score, chance if np.isfinite(chance) else None, words.doubted(self.words)

    def _with_doubts(self, text: Judged) -> Judged:
        """The text with the findings of a wrong word and of a cut ending, where it has these."""
        codes = ["wrong_word"] if text.wrong_words else []
        if text.end_score is not None and "cut_off" not in text.findings:
            limit = None if self.endings is None else self.endings.threshold
            below = limit is not None and text.end_score < limit
            codes += ["cut_off"] if below or (text.p_complete or 0.0) < DOUBT else []
        return replace(text, findings=(*text.findings, *codes))


@lru_cache(maxsize=1)
def _verdict(file: Path, _: int) -> CalibratedRules:
    known = json.loads(file.read_text())
    words, endings = (
        None if known[name] is None else Calibration.from_dict(known[name]) for name in ("words", "endings")
    )
    return CalibratedRules(
        Calibration.from_dict(known["calibration"]), Rules(**known["rules"]), known["writer"], words, endings
    )


@dataclass(frozen=True)
class DecideTask:
    """Task of deciding about one shard. verdict: the file of CalibratedRules; scores, captions: folders of parts, None where
    there are none; words: folder with the words of the texts that are decided about, of proposals where there are captions;
    endings: folder with the scores of endings; draft: folder of the decisions before captions, which stay for rows without a proposed caption."""

    work: Path
    shard: str
    verdict: Path
    folder: Path
    scores: Path | None = None
    captions: Path | None = None
    draft: Path | None = None
    words: Path | None = None
    endings: Path | None = None

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
    names = ["image_faults", "problem", "texts", "sources", "text_faults", "originals"]
    columns = read_part(task.work / "rows", task.shard, names)
    scores, endings = (_scores(folder, task.shard) for folder in (task.scores, task.endings))
    words = read_words(task.words, task.shard)
    values = zip(*(columns.column(name).to_pylist() for name in names))
    for row, (findings, problem, texts, sources, faults, originals) in enumerate(values):
        known = [scores.get((row, at)) for at in range(len(texts))]
        spoken = [words.get((row, at)) for at in range(len(texts))]
        last = [endings.get((row, at)) for at in range(len(texts))]
        judged = verdict.judged(texts, sources, faults, known, spoken, last, originals)
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
        proposed = verdict.judged(written, sources, [text_faults(text) for text in written], scores, judged)
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
                decisions.append(TextDecision(Judged.of(item), item["decision"], item["reason"]))
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
