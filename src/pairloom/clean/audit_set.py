"""Audit of a whole set without a model: its shards one by one, then the faults that need all shards. The set is only read.
Does not know: scores, decisions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, fields
from itertools import islice
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np

from pairloom.clean import audit_languages, audit_phrases
from pairloom.clean.audit import EXAMPLES, SAMPLE, AuditTask, across, audit_shard
from pairloom.clean.audited_texts import names_and_texts
from pairloom.clean.duplicates import Groups, group_copies
from pairloom.clean.faults import FAULTS, OF_TEXT, REPAIRABLE
from pairloom.clean.repairs import repaired
from pairloom.clean.shard_facts import ShardFacts, joined_column, texts_of_pairs
from pairloom.clean.shared_phrases import SharedPhrases
from pairloom.data.shards import PairSet, description
from pairloom.errors import Mistake
from pairloom.scale import Execution

Tell = Callable[[int, int], None]  # (pairs done, bad ones among them)


@dataclass(frozen=True)
class ShardFindings:
    """Faults of one shard that need the whole set. pairwise: code -> rows of the shard; textwise: code -> texts of the shard;
    groups: of its pairs; phrases: that most texts of the set share."""

    pairwise: dict[str, np.ndarray]
    textwise: dict[str, np.ndarray]
    groups: Groups
    phrases: SharedPhrases = SharedPhrases()

    def add_to(self, image_faults: list[list[str]], text_faults: list[list[list[str]]]) -> None:
        """Add the faults to those of the shard's pictures, and of its texts."""
        for code, rows in self.pairwise.items():
            for row in rows.tolist():
                image_faults[row].append(code)
        owners = [(row, at) for row, faults in enumerate(text_faults) for at in range(len(faults))]
        for code in TEXTWISE:
            for index in self.textwise[code].tolist():
                row, at = owners[index]
                text_faults[row][at].append(code)


@dataclass
class Findings:
    """Result of an audit. pairwise: code -> indices of pairs; textwise: code -> indices of texts, in the set's order."""

    facts: list[ShardFacts]
    pairwise: dict[str, np.ndarray]
    textwise: dict[str, np.ndarray]
    groups: Groups  # of pairs whose pictures are copies of each other
    shown: dict[str, list[tuple[str, str]]] = field(default_factory=dict)  # examples of these: (name, text)
    notes: tuple[str, ...] = ()  # of the set: what was not read, what was guessed
    phrases: SharedPhrases = SharedPhrases()

    @property
    def pairs(self) -> int:
        return sum(facts.pairs for facts in self.facts)

    @property
    def texts(self) -> int:
        return sum(facts.texts for facts in self.facts)

    @property
    def images(self) -> int:
        """Number of distinct readable pictures."""
        keys = joined_column(self.facts, "images")
        return len(np.unique(keys[keys != 0]))

    def by_shard(self) -> Iterator[ShardFindings]:
        """Of each shard the faults that need the whole set."""
        pair = text = 0
        for facts in self.facts:
            after, last = pair + facts.pairs, text + facts.texts
            yield ShardFindings(
                {code: _inside(rows, pair, after) for code, rows in self.pairwise.items()},
                {code: _inside(rows, text, last) for code, rows in self.textwise.items()},
                Groups(*(getattr(self.groups, each.name)[pair:after] for each in fields(Groups))),
                self.phrases,
            )
            pair, text = after, last

    def audit(self) -> dict[str, dict[str, Any]]:
        """The faults by code, with count, severity, sentence and examples (name, text, and for what can be repaired the
        proposed text); the most severe and most frequent first."""
        counts = {code: len(indices) for code, indices in {**self.pairwise, **self.textwise}.items()}
        examples = {code: list(shown) for code, shown in self.shown.items()}
        for facts in self.facts:
            for code, count in facts.counts.items():
                counts[code] = counts.get(code, 0) + count
            for code, shown in facts.examples.items():
                examples.setdefault(code, []).extend(shown)
        order = {"bad": 0, "doubt": 1, "note": 2}
        ordered = sorted(
            (FAULTS[code] for code, count in counts.items() if count),
            key=lambda f: (order[f.severity], -counts[f.code]),
        )
        return {
            fault.code: {
                "count": counts[fault.code], "severity": fault.severity, "says": fault.says,
                "examples": [self._example(fault.code, *shown) for shown in examples.get(fault.code, [])[:EXAMPLES]],
            }
            for fault in ordered
        }  # fmt: skip

    def _example(self, code: str, name: str, text: str) -> dict[str, str]:
        new = proposal(text, [code], self.phrases)
        return {"name": name, "text": text, **({"proposal": new} if new else {})}

    def bad(self) -> int:
        """Number of texts that `clean` drops by rule: those with a bad fault, of themselves or of their pair, each once. A pair
        without a text counts as one."""
        return int(self._bad_units().sum())

    @property
    def bad_share(self) -> float:
        """`bad` as a share of the texts, a pair without one counted as one."""
        units = self._bad_units()
        return float(units.mean()) if len(units) else 0.0

    def bad_pairs(self) -> np.ndarray:
        """For each pair whether its picture, or the pair itself, has a bad fault [n]."""
        return self._bad("bad_pairs", self.pairwise)

    def _bad(self, name: str, across: dict[str, np.ndarray]) -> np.ndarray:
        bad = joined_column(self.facts, name, np.bool_)
        for code in (code for code in across if FAULTS[code].severity == "bad"):
            bad[across[code]] = True
        return bad

    def _bad_units(self) -> np.ndarray:
        """For each text, and for each pair without one, whether it is bad."""
        pairs, texts = self.bad_pairs(), self._bad("bad_texts", self.textwise)
        counts = texts_of_pairs(self.facts)
        owner = np.repeat(np.arange(len(pairs)), counts)
        return np.concatenate([texts | pairs[owner], pairs[counts == 0]])

    def counts(self) -> dict[str, int]:
        """Numbers of pairs, texts and distinct readable pictures."""
        return {"pairs": self.pairs, "texts": self.texts, "images": self.images}


def proposal(text: str, codes: Iterable[str], phrases: SharedPhrases) -> str:
    """A faulty text as `clean --repair` would write it; "" where it would stay. codes: of its faults."""
    new = text if REPAIRABLE.isdisjoint(codes) else phrases.strip(repaired(text))
    return new if new != text else ""


def _inside(indices: np.ndarray, first: int, stop: int) -> np.ndarray:
    """The indices in a span, relative to its first; indices must rise."""
    start, end = np.searchsorted(indices, [first, stop])
    return indices[start:end] - first


APART = 20_000  # pairs from which the faults of the whole set are sought in a process of their own, whose memory goes back
FEW = 5  # examples of each fault across shards
MOST, FEWEST = 0.5, 20  # largest share of the texts that one rule may drop, and of how many texts it is one
TEXTWISE = ("common_text", *audit_languages.CODES, audit_phrases.CODE)


def check(
    pairs: PairSet,
    execution: Execution = Execution(),
    against: PairSet | None = None,
    folder: Path | None = None,
    size: int = 64,
    tell: Tell | None = None,
    repairs: bool = False,
) -> Findings:
    """Audit every shard of a set. folder: for rows and pixels, from which a stopped audit resumes; against: a set whose
    pictures must not occur in this one; repairs: apply the repairs of texts. Mistake for a set without pairs."""
    aside = None if folder is None else folder / "against"
    other = None if against is None else _all(against, execution, aside, 0, tell)
    facts = _all(pairs, execution, folder, size, tell, repairs)
    if not sum(shard.pairs for shard in facts):
        raise Mistake(
            f"{pairs.path} has no pairs.",
            "Its files were read and not one picture or text was in them.",
            "Point at the folder that holds the pictures.",
        )
    task = WholeTask(
        [each.bare() for each in facts], None if other is None else [each.bare() for each in other]
    )
    alone = folder is not None and sum(shard.pairs for shard in facts) > APART
    groups, whole = execution.run_apart(audit_whole, task) if alone else audit_whole(task)
    whole |= audit_languages.find_languages(pairs, facts, execution, folder)
    phrases, whole[audit_phrases.CODE] = audit_phrases.find_phrases(pairs, facts, execution, folder)
    findings = Findings(
        facts,
        {code: rows for code, rows in whole.items() if code not in TEXTWISE},
        {code: rows for code, rows in whole.items() if code in TEXTWISE},
        groups,
    )
    findings.phrases = phrases
    findings.shown = _examples(pairs, findings, folder)
    findings.notes = (*pairs.notes, *([phrases.sentence] if phrases else []))
    return findings


@dataclass(frozen=True)
class WholeTask:
    """Task of finding the faults that need all shards of a set. other: the shards of a set whose pictures must not occur in it."""

    facts: list[ShardFacts]
    other: list[ShardFacts] | None = None


def audit_whole(task: WholeTask) -> tuple[Groups, dict[str, np.ndarray]]:
    """The groups of copies in a set, and its faults that need all shards."""
    groups = group_copies(task.facts)
    return groups, across(task.facts, groups, task.other)


def demand_understood(pairs: PairSet) -> None:
    """Mistake for a set in which not one picture has a text, with what was seen instead. Reads up to the first that has one."""
    problems: Counter[str] = Counter()
    pictures: list[str] = []
    texts: list[str] = []
    for pair in pairs.pairs():
        if pair.image_key and pair.texts:
            return
        for names, has in ((pictures, pair.image_key), (texts, pair.texts)):
            names += [pair.name] if has else []
        if len(problems) < EXAMPLES:
            problems["; ".join((pair.problem, *pair.notes))] += 1
    seen = [f"{len(pictures):,} pictures without a text, {len(texts):,} texts without a picture."]
    seen += [f"{why} ({count:,})" for why, count in problems.most_common(2)]
    both = {name.rpartition("/")[2] for name in pictures} & {name.rpartition("/")[2] for name in texts}
    if both:
        seen.append(f"{len(both):,} have the same names in other folders: put each text beside its picture.")
    raise Mistake(
        f"In {pairs.path} no picture with a text was understood ({pairs.format}).",
        "\n".join([*seen, *pairs.notes, description(pairs.path)]),
        "Name the columns with --text-column and --image-column, or the format with --format (docs/formats.md).",
    )


def demand_few(findings: Findings, path: Path) -> None:
    """Mistake where one rule would drop most texts of a set. Empty texts are excepted, since their pictures are captioned."""
    for code, entry in findings.audit().items():
        if not (entry["severity"] == "bad" and code in OF_TEXT and code != "empty"):
            continue
        if findings.texts >= FEWEST and entry["count"] > MOST * findings.texts:
            shown = ", ".join(repr(example["text"][:60]) for example in entry["examples"][:3])
            raise Mistake(
                f"The rule `{code}` would drop {entry['count']:,} of the {findings.texts:,} texts.",
                f"{entry['says']} For example: {shown}.\n"
                "A rule that takes most of a set has misread it, or the captions stand elsewhere. Nothing was written.",
                f"Look at `pairloom check {path}`. Name the captions with --text-column, or take these texts out of the set: "
                "pictures without a text are captioned.",
            )


def _examples(pair_set: PairSet, findings: Findings, folder: Path | None) -> dict[str, list[tuple[str, str]]]:
    """The first few pairs of each fault across shards. Their shards, or the audit's parts in a folder, are read again, since names are
    not kept in memory."""
    first = np.concatenate([[0], np.cumsum([facts.pairs for facts in findings.facts])])
    texts = np.concatenate([[0], np.cumsum([facts.texts for facts in findings.facts])])
    wanted: dict[
        int, dict[int, list[tuple[str, int]]]
    ] = {}  # shard -> pair in it -> (code, text of the pair)
    for code, indices in {**findings.pairwise, **findings.textwise}.items():
        for index in indices[:FEW].tolist():
            starts = texts if code in TEXTWISE else first
            shard = int(np.searchsorted(starts, index, "right")) - 1
            local, at = index - int(starts[shard]), 0
            if code in TEXTWISE:
                held = findings.facts[shard].column("first_text")
                owner = int(np.searchsorted(held, local, "right")) - 1
                local, at = owner, local - int(held[owner])
            wanted.setdefault(shard, {}).setdefault(local, []).append((code, at))
    shown: dict[str, list[tuple[str, str]]] = {}
    for shard, pairs in sorted(wanted.items()):
        named = names_and_texts(pair_set.shards[shard], folder)
        for local, (name, pair_texts) in enumerate(islice(named, max(pairs) + 1)):
            for code, at in pairs.get(local, ()):
                text = pair_texts[at][:300] if at < len(pair_texts) else ""
                shown.setdefault(code, []).append((name, text))
    return shown


def _all(
    pairs: PairSet,
    execution: Execution,
    folder: Path | None,
    size: int,
    tell: Tell | None,
    repairs: bool = False,
) -> list[ShardFacts]:
    if folder is not None:
        folder.mkdir(exist_ok=True)
    done: dict[str, ShardFacts] = {}
    shown: dict[str, list[tuple[int, tuple[str, str]]]] = {}  # examples with the numbers of their shards
    place = {shard.name: number for number, shard in enumerate(pairs.shards)}
    sample = max(1, SAMPLE // len(pairs.shards)) if pairs.shards else 0
    tasks = [AuditTask(shard, folder, size, sample, repairs) for shard in pairs.shards]
    for task, facts in execution.run(audit_shard, tasks):
        done[task.shard.name] = facts
        for code, examples in facts.examples.items():
            numbered = [*shown.get(code, ()), *((place[task.shard.name], each) for each in examples)]
            shown[code] = sorted(numbered, key=itemgetter(0))[:EXAMPLES]
        facts.examples = {}  # those of 1,000 shards take 40 MB
        if tell is not None:
            tell(facts.pairs, facts.bad)
    ordered = [done[shard.name] for shard in pairs.shards]
    for code, examples in shown.items():
        for number, each in examples:
            ordered[number].examples.setdefault(code, []).append(each)
    return ordered
