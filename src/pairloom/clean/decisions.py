"""Decisions about one pair: keep, replace, add or drop, by P(match), its endings and words, and the audit. Step 5 of `clean`.

`decide` is a pure function of the facts about one pair, so that every decision can be explained and tested by hand.
Source: BLIP, section 3.3 (CapFilt): the filter removes unmatched texts, web and synthetic alike.

Does not know: files, calibrations of a set.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

from pairloom.clean.calibrate import Calibration
from pairloom.clean.faults import EVIDENCE, FAULTS
from pairloom.clean.ledger import ADD, DROP, KEEP, REJECT, REPLACE
from pairloom.clean.plan import CleanSettings
from pairloom.clean.shared_budget import DOUBT

DOUBTED = 0.5  # a doubted text is bad as often as not before it is scored, and needs this P(match) after
OF_JUDGE = ("wrong_word", "cut_off")  # doubts with a probability, of which there is a sentence that names it


@dataclass(frozen=True)
class Judged:
    """A text with its findings, score and P(match). score and p_match are None for a text that was not scored. end_score: of its
    ending; p_complete: the least P(it is not cut off); both None where no ending was judged. word_score: of its worst word;
    p_words: the least P(all its words are right); both None where no word was judged. wrong_words: words that may well be wrong.
    original: the text of the set, where a repair has changed it."""

    text: str
    source: str = "original"
    findings: Sequence[str] = ()
    score: float | None = None
    p_match: float | None = None
    end_score: float | None = None
    p_complete: float | None = None
    word_score: float | None = None
    p_words: float | None = None
    wrong_words: Sequence[str] = ()
    original: str | None = None

    @property
    def is_doubted(self) -> bool:
        """Whether a doubt is evidence that the text describes nothing."""
        return not EVIDENCE.isdisjoint(self.findings)

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> Judged:
        """The text of a row of the ledger, or of a part with decisions."""
        known = {each.name: row.get(each.name, each.default) for each in fields(cls)}
        return cls(**{**known, **{name: tuple(known[name]) for name in ("findings", "wrong_words")}})


@dataclass(frozen=True)
class Rules:
    """Rules of deciding.

    threshold: texts with a lower score are unmatched; None: no threshold, so nothing is dropped by score. end_threshold,
    word_threshold: the same of the score of a text's ending, and of its worst word.
    accept: a proposed caption needs at least this P(match) (BLIP's filter: 0.5), and a score that would keep an original.
    add: accepted captions are also added to kept texts (the paper's union). keep_alt_text: a replaced text stays in the
    clean set, after the caption that replaces it. replace: whether proposals may replace dropped texts. bad_share: share of the
    judged texts that look mismatched, which P(match) supposes.
    """

    threshold: float | None
    p_threshold: float | None = None
    false_drop: float = 0.05
    accept: float = 0.5
    add: bool = False
    replace: bool = True
    keep_alt_text: bool = False
    end_threshold: float | None = None
    word_threshold: float | None = None
    p_word_threshold: float | None = None
    bad_share: float | None = None

    def given_doubt(self, p_match: float) -> float:
        """P(match) of a text of which a doubt is evidence that it describes nothing: its prior of being bad is at least DOUBTED in place
        of the share of bad texts in the set (Bayes' rule; the likelihood ratio of its score is that of any text)."""
        bad = self.bad_share or DOUBTED
        prior = max(bad, DOUBTED)
        good = p_match * (1 - prior) / max(1 - bad, 1e-9)
        other = (1 - p_match) * prior / bad
        return good / (good + other) if good + other > 0 else 0.0

    @property
    def needed_of_words(self) -> float:
        """Least P(all words are right) of a proposed caption."""
        return max(self.accept, self.p_word_threshold or 0.0)

    @property
    def needed(self) -> float:
        """Least P(match) of a proposed caption: what is dropped as an original is not accepted as a proposal."""
        return max(self.accept, self.p_threshold or 0.0)


def rules_of(
    settings: CleanSettings,
    calibration: Calibration,
    words: Mapping[str, Any] | None = None,
    endings: Mapping[str, Any] | None = None,
) -> Rules:
    """The rules of a run's settings, with the threshold of a calibration, and of those of single words and of endings, given
    their facts."""
    known, cut = (facts if facts is not None and facts["decides"] else {} for facts in (words, endings))
    return Rules(
        calibration.threshold, calibration.p_threshold, settings.false_drop, settings.accept,
        add=settings.add, replace=settings.captions, keep_alt_text=settings.keep_alt_text,
        end_threshold=cut.get("threshold"), word_threshold=known.get("threshold"), p_word_threshold=known.get("p_threshold"),
        bad_share=calibration.facts.get("bad_share"),
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
        outcome.decisions.insert(0, TextDecision(Judged("", "", ("no_text",)), DROP, why))
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
        if FAULTS[code].severity == "doubt" and code not in OF_JUDGE
    )
    if "labelled_good" in text.findings:
        return TextDecision(text, KEEP, FAULTS["labelled_good"].says)
    if text.score is None:
        says = " ".join(filter(None, (_of_ending(text, rules), doubts)))
        return TextDecision(
            text, KEEP, says or "No judge scored this text, and the audit found nothing against it."
        )
    if rules.threshold is not None and text.score < rules.threshold:
        limit = f" the limit of {rules.p_threshold:.0%}" if rules.p_threshold is not None else " the limit"
        why = f"P(match) is {text.p_match:.0%}, below{limit} that drops at most {rules.false_drop:.0%} of the good pairs."
        return TextDecision(text, DROP, " ".join(filter(None, (why, _of_ending(text, rules), doubts))))
    if (
        rules.threshold is not None
        and text.is_doubted
        and (p := rules.given_doubt(text.p_match or 0.0)) < DOUBTED
    ):
        why = f"P(match) is {text.p_match or 0.0:.0%}, and {p:.0%} given a doubt like this: at least {DOUBTED:.0%} is needed."
        return TextDecision(text, DROP, " ".join(filter(None, (why, _of_ending(text, rules), doubts))))
    if rules.threshold is None:
        says = "Nothing is dropped by score on this set."
    else:
        says = f"P(match) is {text.p_match:.0%}."
    decision = DROP if _is_cut_off(text, rules) or _has_wrong_word(text, rules) else KEEP
    return TextDecision(
        text, decision, " ".join(filter(None, (says, _of_ending(text, rules), _of_words(text), doubts)))
    )


def _is_cut_off(text: Judged, rules: Rules) -> bool:
    """Whether the ending of a text is below the limit of endings."""
    limit = rules.end_threshold
    return limit is not None and text.end_score is not None and text.end_score < limit


def _of_ending(text: Judged, rules: Rules) -> str:
    """What is known of a text that seems to be cut off, in one sentence; "" of one that does not."""
    if "cut_off" not in text.findings:
        return ""
    if text.p_complete is not None and (text.p_complete < DOUBT or _is_cut_off(text, rules)):
        return f"The text seems to be cut off: P(it is complete) is at least {text.p_complete:.0%}."
    return FAULTS["cut_off"].says


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
    if rules.threshold is None or proposal.score is None or proposal.p_match is None or _against(proposal):
        return False
    if proposal.p_words is not None and (
        proposal.p_words < rules.needed_of_words or _has_wrong_word(proposal, rules)
    ):
        return False
    return proposal.score >= rules.threshold and proposal.p_match >= rules.needed


def _against(proposal: Judged) -> str:
    """The sentence of the first fault or doubt because of which a caption is not proposed; "" where there is none."""
    codes = (code for code in proposal.findings if FAULTS[code].severity == "bad" or code in EVIDENCE)
    return next((FAULTS[code].says for code in codes), "")


def _proposal(proposal: Judged, taken: bool, rules: Rules) -> TextDecision:
    p = "unknown" if proposal.p_match is None else f"{proposal.p_match:.0%}"
    if taken:
        return TextDecision(proposal, ADD, f"The best of the proposed captions; P(match) is {p}.")
    if rules.threshold is None:
        return TextDecision(proposal, REJECT, "No limit of scores holds on this set, so no caption is added.")
    if _against(proposal):
        return TextDecision(proposal, REJECT, f"P(match) is {p}. {_against(proposal)}")
    if _accepted(proposal, rules):
        return TextDecision(proposal, REJECT, f"P(match) is {p}, but another text is better.")
    if proposal.wrong_words and (proposal.p_match or 0) >= rules.needed:
        return TextDecision(proposal, REJECT, f"P(match) is {p}. {_of_words(proposal)}")
    return TextDecision(
        proposal, REJECT, f"P(match) is {p}, under the {rules.needed:.0%} that a new caption needs."
    )
