"""Calibration of a judge on a set: from scores of the set's own texts and of planted mismatches to P(match), a threshold, and
whether the judge separates the two at all. Step 3 of `clean`. Does not know: pictures, models, files.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pairloom.metrics.calibrate import ScoreMixture, mixture_posterior, threshold_for
from pairloom.metrics.compare import Interval, wilson

Floats = NDArray[np.float64]
LEAST = 50  # least numbers of own texts and of planted ones for a calibration
AREA = 0.6  # least lower end of AUROC's interval for a threshold


@dataclass(frozen=True)
class Calibration:
    """Calibration of a judge's scores on a set.

    threshold: texts with lower scores are dropped; None where the judge does not separate matches from mismatches, with the
    reason in `why`. facts: the numbers of run.json (AUROC with interval, shares, curve, histogram).
    """

    mixture: ScoreMixture | None
    threshold: float | None
    why: str
    facts: dict[str, Any]

    def p_match(self, scores: Floats) -> Floats:
        """P(match) of scores; NaN without a calibration."""
        return np.full(np.shape(scores), np.nan) if self.mixture is None else self.mixture(scores)

    def to_dict(self) -> dict[str, Any]:
        """The calibration in JSON types; floats keep every bit."""
        return asdict(self)

    @classmethod
    def from_dict(cls, known: Mapping[str, Any]) -> Calibration:
        """The inverse of `to_dict`."""
        mixture = known["mixture"]
        if mixture is not None:
            mixture = ScoreMixture(**{**mixture, "area": Interval(**mixture["area"])})
        return cls(mixture, known["threshold"], known["why"], known["facts"])

    @property
    def p_threshold(self) -> float | None:
        return None if self.threshold is None or self.mixture is None else float(self.mixture(self.threshold))


def calibrate(own: Floats, planted: Floats, false_drop: float) -> Calibration:
    """Calibrate scores. own [n]: scores of the set's own texts; planted [m]: of captions swapped inside the set.

    The threshold keeps to the budget (at most `false_drop` of the good pairs are below it) and is never above the score
    where P(match) is one half. There is none where AUROC's interval reaches below 0.6, or where more good than bad texts
    would be below it.
    """
    if len(own) < LEAST or len(planted) < LEAST:
        why = f"Only {len(own)} texts could be scored; at least {LEAST} are needed to tell good from bad."
        return Calibration(None, None, why, {"planted": len(planted), "decides": False, "why": why})
    mixture = mixture_posterior(own, planted)
    bad = mixture.bad
    threshold = min(threshold_for(own, planted, bad, false_drop), _even(mixture))
    caught = float((planted < threshold).mean())
    dropped = float((own < threshold).mean())
    precision = min(1.0, bad * caught / dropped) if dropped else 1.0
    why = _why_not(mixture, precision)
    lost = 0.0 if bad >= 1 else min(1.0, max(0.0, (dropped - bad * caught) / (1 - bad)))
    reach = wilson(int((planted < threshold).sum()), len(planted))
    facts = {
        "planted": len(planted), "own": len(own), "false_drop_budget": false_drop,
        "auroc": mixture.area.value, "auroc_low": mixture.area.low, "auroc_high": mixture.area.high,
        "auroc_good": _without_bad(mixture.area.value, bad), "bad_share": bad,
        "threshold": threshold, "p_threshold": float(mixture(threshold)),
        "false_drop": lost, "found": caught, "found_low": reach.low, "found_high": reach.high, "precision": precision,
        "decides": not why, "why": why,
        **_pictures(own, planted, mixture),
    }  # fmt: skip
    return Calibration(mixture, None if why else threshold, why, facts)


def _even(mixture: ScoreMixture) -> float:
    """The score with P(match) one half."""
    return mixture.centre - mixture.offset / mixture.slope


def _without_bad(area: float, bad: float) -> float:
    """AUROC of the good pairs alone: own = (1 - bad) good + bad planted, and planted over planted is one half."""
    return float(np.clip((area - bad / 2) / (1 - bad), 0, 1)) if bad < 1 else 0.5


def _why_not(mixture: ScoreMixture, precision: float) -> str:
    if mixture.area.low < AREA:
        return (
            f"The judge cannot tell planted mismatches from this set's own texts well enough (AUROC {mixture.area}); "
            f"the interval must lie above {AREA}."
        )
    if precision < 0.5:
        return (
            f"About {1 - precision:.0%} of the texts below the limit would be good ones; the set has too few bad texts, or the "
            "judge is too weak for them."
        )
    return ""


def _pictures(own: Floats, planted: Floats, mixture: ScoreMixture, bins: int = 40) -> dict[str, Any]:
    """Data of the report's charts: the two histograms, the curve score -> P(match), and the reliability diagram."""
    low, high = np.quantile(np.concatenate([own, planted]), [0.001, 0.999])
    edges = np.linspace(low, high if high > low else low + 1, bins + 1)
    clipped = [np.histogram(np.clip(values, edges[0], edges[-1]), edges)[0] for values in (own, planted)]
    chances = mixture(own)
    order = np.argsort(chances, kind="stable")
    reliability = []
    for group in np.array_split(order, 12):
        if not len(group):
            continue
        low_score, high_score = own[group].min(), own[group].max()
        inside = float(((planted >= low_score) & (planted <= high_score)).mean())
        rate = 1 - min(1.0, mixture.bad * inside / (len(group) / len(own)))
        reliability.append({"p": float(chances[group].mean()), "rate": rate, "n": len(group)})
    error = sum(abs(entry["p"] - entry["rate"]) * entry["n"] for entry in reliability) / len(own)
    return {
        "bins": reliability,
        "ece": float(error),
        "curve": [[float(score), float(p)] for score, p in zip(edges, mixture(edges))],
        "histogram": {"edges": edges.tolist(), "own": clipped[0].tolist(), "planted": clipped[1].tolist()},
    }
