"""Filter and merge: keep, replace, add or drop, by P(match) and the audit. Step 5 of `clean`.

`decide` is a pure function of one pair's facts, so that every decision can be explained and tested by hand.
Source: BLIP, section 3.3 (CapFilt): the filter takes out unmatched texts, web and synthetic alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from pairloom.clean.faults import FAULTS
from pairloom.clean.ledger import ADD, DROP, KEEP, REJECT, REPLACE


@dataclass(frozen=True)
class Judged:
    """A text with what is known of it. score and p_match are None where no judge looked."""

    text: str
    source: str = "original"
    findings: Sequence[str] = ()
    score: float | None = None
    p_match: float | None = None


@dataclass(frozen=True)
class Rules:
    """How decisions are taken.

    threshold: texts that score below are unmatched; None: the judge cannot tell, nothing is dropped by score.
    accept: a proposed caption needs at least this P(match) (BLIP's filter: 0.5).
    add: accepted captions also join texts that are kept (the paper's union). keep_alt_text: a replaced text stays
    in the clean set, behind the caption that took its place. replace: whether proposals may stand in for dropped texts.
    """

    threshold: float | None
    p_threshold: float | None = None
    false_drop: float = 0.05
    accept: float = 0.5
    add: bool = False
    replace: bool = True
    keep_alt_text: bool = False


@dataclass
class Decision:
    """One ledger row's worth: a text, what happens to it and why."""

    judged: Judged
    decision: str
    reason: str


@dataclass
class Outcome:
    """What becomes of a pair: a decision per text and proposal, and the (text, source) list of the clean set."""

    decisions: list[Decision] = field(default_factory=list)
    texts: list[tuple[str, str]] = field(default_factory=list)
    findings: tuple[str, ...] = ()  # of the picture


def decide(
    image_findings: Sequence[str],
    problem: str,
    texts: Sequence[Judged],
    proposals: Sequence[Judged],
    rules: Rules,
) -> Outcome:
    """Take every decision about one pair. Original texts first, then proposals, the surest first."""
    outcome = Outcome(findings=tuple(image_findings))
    broken = next((code for code in image_findings if FAULTS[code].severity == "bad"), None)
    if broken is not None:
        why = FAULTS[broken].says + (f" ({problem})" if problem else "")
        outcome.decisions = [Decision(text, DROP, why) for text in texts or [Judged("", "")]]
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
        outcome.decisions.insert(0, Decision(Judged("", ""), DROP, why))
    outcome.texts = [(item.judged.text, item.judged.source) for item in kept]
    if taken:
        outcome.texts.append((taken.text, taken.source))
        if rules.keep_alt_text:
            replaced = [item.judged for item in outcome.decisions if item.decision == REPLACE]
            outcome.texts += [(text.text, text.source) for text in replaced if text.text.strip()]
    return outcome


def _original(text: Judged, rules: Rules) -> Decision:
    fault = next((code for code in text.findings if FAULTS[code].severity == "bad"), None)
    if fault is not None:
        return Decision(text, DROP, FAULTS[fault].says)
    doubts = " ".join(FAULTS[code].says for code in text.findings if FAULTS[code].severity == "doubt")
    if text.score is None:
        return Decision(
            text, KEEP, doubts or "No judge looked at this text, and the audit found nothing against it."
        )
    if rules.threshold is None:
        return Decision(
            text,
            KEEP,
            ("The judge cannot tell on this set, so nothing is dropped by score. " + doubts).strip(),
        )
    if text.score < rules.threshold:
        limit = f" the limit of {rules.p_threshold:.0%}" if rules.p_threshold is not None else " the limit"
        why = f"P(match) is {text.p_match:.0%}, below{limit} that drops at most {rules.false_drop:.0%} of the good pairs."
        return Decision(text, DROP, f"{why} {doubts}".strip())
    return Decision(text, KEEP, f"P(match) is {text.p_match:.0%}. {doubts}".strip())


def _choose(proposals: Sequence[Judged], rules: Rules, needed: bool) -> Judged | None:
    """The first accepted proposal, where one is wanted at all."""
    if not (rules.add or (needed and rules.replace)):
        return None
    return next((proposal for proposal in proposals if _accepted(proposal, rules)), None)


def _accepted(proposal: Judged, rules: Rules) -> bool:
    return rules.threshold is not None and proposal.p_match is not None and proposal.p_match >= rules.accept


def _proposal(proposal: Judged, taken: bool, rules: Rules) -> Decision:
    p = "unknown" if proposal.p_match is None else f"{proposal.p_match:.0%}"
    if taken:
        return Decision(proposal, ADD, f"The surest of the proposed captions; P(match) is {p}.")
    if _accepted(proposal, rules):
        return Decision(proposal, REJECT, f"P(match) is {p}, but another text serves better.")
    return Decision(
        proposal, REJECT, f"P(match) is {p}, under the {rules.accept:.0%} that a new caption needs."
    )
