"""Certainty of a run in plain sentences for its report: false drops with their interval, the worst case, what the limit rests on, and
the checks that passed or failed. And the request for labels.

Does not know: HTML, pictures' files.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pairloom
from pairloom.clean.decisions import DOUBTED
from pairloom.clean.faults import EVIDENCE
from pairloom.clean.gallery import relative, shrink_base64
from pairloom.clean.kept_scores import KeptScores
from pairloom.clean.label_file import VERSION
from pairloom.clean.label_sample import COUNT, LabelSample, origin_of
from pairloom.clean.plan import LABELS

SIDE = 384  # pixels of the longer side of a picture that a person is asked about
BASIS = {
    "scores": "The limit rests on the scores alone; nobody looked at a text.",
    "scores and labels": "The limit rests on the scores and on {labels:,} labels.",
    "labels": "The limit rests on {labels:,} labels alone: a bound that holds whatever the judge is worth.",
    "trusted": "The limit rests on {trusted:,} trusted pairs: a bound that holds whatever the judge is worth.",
}


@dataclass(frozen=True)
class LabelRequest:
    """What the report asks of a person: the sample, a function from the key of a pair to its encoded picture, and the command
    that applies the answers."""

    sample: LabelSample
    picture: Callable[[str], bytes | None]
    command: str

    def for_page(self, link: Callable[[str], str | None]) -> dict[str, Any]:
        """The request in JSON types, with the head of the label file. link: from a key to the picture's path."""
        head = {"pairloom": pairloom.__version__, "labels": VERSION, **asdict(self.sample.origin)}
        pictures = [shrink_base64(self.picture(text.key), SIDE) for text in self.sample.texts]
        links = [relative(link(text.key)) for text in self.sample.texts]
        texts = [asdict(text) for text in self.sample.texts]
        return {"head": head, "file": LABELS, "texts": texts, "pictures": pictures, "links": links}


def label_request(
    facts: dict[str, Any], ledger: Path, scores: Path, picture: Callable[[str], bytes | None], command: str
) -> LabelRequest | None:
    """The request of a run's report; None where no label can decide anything, or labels are applied already. facts: the
    content of run.json; scores: the file of kept scores."""
    if facts.get("labels") or "label_limit" not in (facts.get("calibration") or {}):
        return None
    sample = LabelSample.draw(ledger, KeptScores.of(ledger, scores), origin_of(facts), COUNT)
    return LabelRequest(sample, picture, command) if sample.texts else None


def certainty(run: Mapping[str, Any]) -> dict[str, Any] | None:
    """The section of the report: sentences, checks and the labels that are applied. None for a run without checks."""
    calibration = run.get("calibration") or {}
    if not calibration.get("checks"):
        return None
    applied = run.get("labels")
    return {
        "sentences": [
            *_sentences(calibration, run.get("trusted") or 0),
            *_of_evidence(run),
            *_of_doubts(run, "endings", "{count:,} texts seem to be cut off", "cut off"),
            *_of_doubts(run, "words", "In {count:,} texts a word may not fit the picture", "wrong word"),
        ],
        "checks": calibration["checks"],
        "labels": applied and {name: applied.get(name, 0) for name in ("good", "bad", "skipped")},
    }


def _of_evidence(run: Mapping[str, Any]) -> Iterator[str]:
    """How many texts a doubt speaks against, and that the bound does not speak of them."""
    audit = run.get("audit") or {}
    codes = sorted(code for code in EVIDENCE if audit.get(code, {}).get("count"))
    if codes and run["calibration"].get("decides"):
        count = sum(audit[code]["count"] for code in codes)
        yield (
            f"A doubt speaks against {count:,} texts ({', '.join(codes)}). Such a text is dropped above the limit too where P(match), given the "
            f"doubt, is below {DOUBTED:.0%}; these drops are beside the budget, and no bound of good ones is known for them."
        )


def _of_doubts(run: Mapping[str, Any], name: str, says: str, finding: str) -> Iterator[str]:
    """How many texts have such a doubt, and what comes of it."""
    facts = run.get(name) or {}
    if facts.get("doubted"):
        kept = "such texts are dropped below a limit" if facts["decides"] else "none is dropped for it"
        yield f"{says.format(count=facts['doubted'])}; {kept}. The finding \u201c{finding}\u201d shows them below."


def _sentences(calibration: Mapping[str, Any], trusted: int) -> Iterator[str]:
    """What is known of the limit; without one, why there is none."""

    def between(name: str) -> str:
        value, low, high = (calibration[each] for each in (name, f"{name}_low", f"{name}_high"))
        return f"about {value:.1%}, between {low:.1%} and {high:.1%}"

    if not calibration.get("decides"):
        yield f"No text is dropped for its score. {calibration.get('why') or ''}".strip()
        return
    own, worst = calibration["own"], calibration["worst_case"]
    yield f"The limit drops {round(worst * own):,} of the {own:,} texts that were scored."
    yield f"Good texts that it drops: {between('false_drop')} of all good ones."
    yield (
        f"The budget of {calibration['false_drop_budget']:.0%} is kept with a confidence of {calibration['confidence']:.0%}."
    )
    yield f"In the worst case, where every text is good, it drops {worst:.1%} of the good ones."
    yield f"Bad texts in the set, the audit aside: {between('bad_share')}."
    yield BASIS[calibration["basis"]].format(labels=calibration.get("labels", 0), trusted=trusted)
