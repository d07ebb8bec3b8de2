"""Calibration of a judge on a set: from scores of the set's own texts and of planted mismatches to P(match), a threshold that
keeps the budget of false drops, and whether the judge can be relied on at all. Step 3 of `clean`. Does not know: pictures,
models, files.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pairloom.clean.labels import CONFIDENCE, Bound, Labels, label_bound, label_limit, trusted_bound
from pairloom.config_json import demand_type
from pairloom.metrics.budget import MixtureDraws, draw
from pairloom.metrics.calibrate import Isotonic, auroc_interval
from pairloom.metrics.compare import Interval, wilson

Floats = NDArray[np.float64]
LEAST = 50  # least numbers of own texts and of planted ones for a calibration
AREA = 0.6  # least lower end of AUROC's interval for a threshold
LEAK = 0.2  # greatest bound of the share of good texts that may score like mismatches
SURE = 0.7  # probability, by the draws, that a threshold keeps the budget
SURE_LABELLED = 0.8  # the same, given labels
MODEL = ("scores", "scores and labels")  # what a threshold by the draws rests on
MATCH = 0.8  # no text with a higher P(match) is dropped


@dataclass(frozen=True)
class Calibration:
    """Calibration of a judge's scores on a set.

    posterior: P(match) of a score. threshold: texts with lower scores are dropped; None where the scores do not decide, with
    the reason in `why`. facts: the numbers of run.json (AUROC, shares, each with its interval, checks, curve, histogram).
    """

    posterior: Isotonic | None
    threshold: float | None
    why: str
    facts: dict[str, Any]

    def p_match(self, scores: Floats) -> Floats:
        """P(match) of scores; NaN without a calibration."""
        return np.full(np.shape(scores), np.nan) if self.posterior is None else self.posterior(scores)

    def to_dict(self) -> dict[str, Any]:
        """The calibration in JSON types; floats keep every bit."""
        known = {"posterior": None, "threshold": self.threshold, "why": self.why, "facts": self.facts}
        if self.posterior is not None:
            known["posterior"] = {name: value.tolist() for name, value in vars(self.posterior).items()}
        return known

    @classmethod
    def from_dict(cls, known: Mapping[str, Any]) -> Calibration:
        """The inverse of `to_dict`. TypeError for a value of another type, KeyError for one that is not there."""
        posterior = known["posterior"]
        for name, hint in (("threshold", float | None), ("why", str), ("facts", dict)):
            demand_type(known[name], hint, f"calibration.{name}")
        if posterior is not None:
            knots = [tuple(posterior[name]) for name in ("at", "probability")]
            for numbers in knots:
                demand_type(numbers, tuple[float, ...], "calibration.posterior")
            if not 0 < len(knots[0]) == len(knots[1]):
                raise ValueError("the knots of a posterior have a score and a probability each")
            posterior = Isotonic(*map(np.array, knots))
        return cls(posterior, known["threshold"], known["why"], known["facts"])

    @property
    def p_threshold(self) -> float | None:
        return (
            None
            if self.threshold is None or self.posterior is None
            else float(self.posterior(self.threshold))
        )


def calibrate(
    own: Floats,
    planted: Floats,
    false_drop: float,
    owner: NDArray[np.int64] | None = None,
    labels: Labels | None = None,
    trusted: Floats | None = None,
    cautious: bool = False,
) -> Calibration:
    """Calibrate scores. own [n]: scores of the set's own texts; planted [m]: of captions swapped inside the set; owner [n]:
    the picture of each own text, each text its own without it; labels: what a person says about some of the own texts;
    trusted [k]: scores of pairs that are known to be good. cautious: P(match) assumes as many mismatches as the scores allow,
    not as many as are likely; no decision depends on it.

    By scores alone the threshold keeps the budget in `SURE` of the draws, has at least as many mismatches as good texts
    below it, and P(match) at most `MATCH`; there is none where a check fails. Labels weight the draws where the checks pass,
    and decide by an exact bound where these fail or are refuted, or where that bound allows more; so do trusted pairs.
    """
    if why := tells_nothing(own, planted):
        return Calibration(None, None, why, {"planted": len(planted), "decides": False, "why": why})
    return calibrate_drawn(draw(own, planted, owner), own, planted, false_drop, labels, trusted, cautious)


def tells_nothing(own: Floats, planted: Floats) -> str:
    """The reason why scores cannot be calibrated; "" where they can."""
    if len(own) < LEAST or len(planted) < LEAST:
        return f"Only {len(own)} texts could be scored; at least {LEAST} are needed to tell good from bad."
    if np.ptp(np.concatenate([own, planted])) == 0:
        return "All texts have the same score, those of another picture too."
    return ""


def calibrate_drawn(
    draws: MixtureDraws,
    own: Floats,
    planted: Floats,
    false_drop: float,
    labels: Labels | None = None,
    trusted: Floats | None = None,
    cautious: bool = False,
) -> Calibration:
    """`calibrate`, given the draws of these scores."""
    area = auroc_interval(own, planted)
    checks = _checks(draws, area)
    sound = all(check["passed"] for check in checks)
    known, share, basis = draws, draws.share(), "scores"
    if labels is not None:
        known = draws.doubted() if sound else draws.widened()
        known = known.conditioned(labels.below, int((~labels.good).sum()), len(labels.good))
        share, basis = known.interval(known.bad), "scores and labels"
    sure = SURE if labels is None else SURE_LABELLED
    place = _place(known, false_drop, sure) if sound else None
    for name, bound in _bounds(draws, known, own, false_drop, place, labels, trusted).items():
        if place is None or bound.refutes or (bound.place is not None and bound.place > place):
            place, basis = bound.place, name
    why = _why_not(checks, place, basis, share)
    posterior = known.match(share.high if cautious else None)
    threshold = float(known.edges[place or 0])
    drops = float(known.quantile(known.good_below(), sure)[place or 0]) if basis in MODEL else false_drop
    facts = {
        "planted": len(planted), "own": len(own), "false_drop_budget": false_drop, "false_drop_used": drops,
        "auroc": area.value, "auroc_low": area.low, "auroc_high": area.high,
        "threshold": threshold, "p_threshold": float(posterior(threshold)), "basis": basis,
        "labels": 0 if labels is None else len(labels.index),
        "label_limit": label_limit(draws if sound else draws.widened(), false_drop),
        **_estimates(known, share, place or 0, false_drop, basis, labels is not None), **_reach(own, planted, threshold),
        "checks": checks, "decides": not why, "why": why,
        **_pictures(own, planted, posterior, share.value),
    }  # fmt: skip
    return Calibration(posterior, None if why else threshold, why, facts)


def _bounds(
    draws: MixtureDraws,
    known: MixtureDraws,
    own: Floats,
    false_drop: float,
    place: int | None,
    labels: Labels | None,
    trusted: Floats | None,
) -> dict[str, Bound]:
    """The exact bounds that there are. place: that of the draws; known: the draws, given the labels."""
    highest = int(np.searchsorted(known.match()(known.edges), MATCH, "right")) - 1
    bounds: dict[str, Bound] = {}
    if labels is not None:
        bounds["labels"] = label_bound(draws, own, labels, false_drop, place, highest)
    if trusted is not None:
        bounds["trusted"] = trusted_bound(draws, trusted, false_drop, place, highest)
    return bounds


def _place(draws: MixtureDraws, false_drop: float, sure: float) -> int | None:
    """Place of the highest threshold that keeps the budget by the draws and has no more good than bad texts below it."""
    keeps = draws.quantile(draws.good_below(), sure) <= false_drop
    useful = draws.quantile(draws.precision(), 0.5) >= 0.5
    likely = draws.match()(draws.edges) <= MATCH
    drops = draws.own.mean(0) > 0
    places = np.flatnonzero(np.logical_and.accumulate(keeps) & useful & likely & drops)
    return int(places[-1]) if len(places) else None


def _checks(draws: MixtureDraws, area: Interval) -> list[dict[str, Any]]:
    """Checks of the estimate, each of which can fail."""
    one, two = draws.halves
    apart = abs(one - two)
    off = max(abs(floor - expected) - 0.25 * added for added, expected, floor in draws.steps)
    steps = ", ".join(f"{floor:.1%} for {expected:.1%}" for _, expected, floor in draws.steps)
    rows = [
        (
            "strength", area.low >= AREA,
            f"The judge tells planted mismatches from this set's own texts with AUROC {area}; the interval must lie above {AREA}.",
        ),
        (
            "understanding", draws.leak <= LEAK,
            f"As many as {draws.leak:.0%} of the good texts may score like mismatches with a judge of this strength; "
            f"the limit is {LEAK:.0%}.",
        ),
        (
            "known mismatches", off <= 2 * draws.spread + 0.01,
            f"After known mismatches were added, the estimated bad share was {steps}.",
        ),
        (
            "halves", apart <= 6 * draws.spread + 0.02,
            f"The two halves of the set give the bad shares {one:.1%} and {two:.1%}.",
        ),
    ]  # fmt: skip
    return [{"name": name, "passed": bool(passed), "says": says} for name, passed, says in rows]


def _why_not(checks: list[dict[str, Any]], place: int | None, basis: str, share: Interval) -> str:
    if place is not None:
        return ""
    if basis in MODEL:
        for check in checks:
            if not check["passed"]:
                return f"The scores alone do not decide. {check['says']}"
        return f"No limit has as many bad as good texts below it; {share.low:.0%} to {share.high:.0%} of the texts look mismatched."
    return "No limit keeps the budget with certainty and has as many bad as good texts below it."


def _estimates(
    draws: MixtureDraws, share: Interval, place: int, false_drop: float, basis: str, labelled: bool
) -> dict[str, Any]:
    """What the draws say at a threshold, each number with its interval. share: that of the mismatches. labelled: labels have
    weighted the draws."""
    numbers = {
        "auroc_good": lambda some: some.area,
        "false_drop": lambda some: some.good_below()[:, place],
        "precision": lambda some: some.precision()[:, place],
    }
    intervals = {
        name: draws.interval(number(draws)) if labelled else draws.span(number)
        for name, number in numbers.items()
    }
    facts: dict[str, Any] = {}
    for name, interval in {"bad_share": share, **intervals}.items():
        facts |= {name: interval.value, f"{name}_low": interval.low, f"{name}_high": interval.high}
    kept = draws.good_below()[:, place] <= false_drop
    sure = float(draws.weight[kept].sum()) if basis in MODEL else CONFIDENCE
    return {**facts, "confidence": sure}


def _reach(own: Floats, planted: Floats, threshold: float) -> dict[str, Any]:
    """Share of planted mismatches below the threshold, and of all own texts: the false drop rate if every text were good."""
    reach = wilson(int((planted < threshold).sum()), len(planted))
    worst = float((own < threshold).mean())
    return {"found": reach.value, "found_low": reach.low, "found_high": reach.high, "worst_case": worst}


def _pictures(
    own: Floats, planted: Floats, posterior: Isotonic, bad: float, bins: int = 40
) -> dict[str, Any]:
    """Data of the report's charts: the two histograms, the curve score -> P(match), and the reliability diagram."""
    low, high = np.quantile(np.concatenate([own, planted]), [0.001, 0.999])
    edges = np.linspace(low, high if high > low else low + 1, bins + 1)
    clipped = [np.histogram(np.clip(values, edges[0], edges[-1]), edges)[0] for values in (own, planted)]
    chances = posterior(own)
    order = np.argsort(chances, kind="stable")
    reliability = []
    for group in np.array_split(order, 12):
        if not len(group):
            continue
        low_score, high_score = own[group].min(), own[group].max()
        inside = float(((planted >= low_score) & (planted <= high_score)).mean())
        rate = 1 - min(1.0, bad * inside / (len(group) / len(own)))
        reliability.append({"p": float(chances[group].mean()), "rate": rate, "n": len(group)})
    error = sum(abs(entry["p"] - entry["rate"]) * entry["n"] for entry in reliability) / len(own)
    return {
        "bins": reliability,
        "ece": float(error),
        "curve": [[float(score), float(p)] for score, p in zip(edges, posterior(edges))],
        "histogram": {"edges": edges.tolist(), "own": clipped[0].tolist(), "planted": clipped[1].tolist()},
    }
