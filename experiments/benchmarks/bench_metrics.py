"""Metrics: reproduction of published values, seconds for 25,000 captions, and the errors of the label-free calibration.

Run: python experiments/benchmarks/bench_metrics.py      (the published cases need ../shared/data/metrics; skipped where absent)
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from pairloom.metrics import budget, calibrate, overlap
from pairloom.metrics.words import tokenize

DATA = Path(__file__).resolve().parents[3] / "shared" / "data" / "metrics"


def published() -> None:
    """Compare the 1,000 COCO captions with every published value, then time them 25 times over."""
    expected = json.loads((DATA / "expected.json").read_text())["coco1000"]
    candidates, targets = (
        json.loads((DATA / f"coco1000_{part}.json").read_text()) for part in ("res", "gts")
    )
    captions, references = [candidates[image][0] for image in targets], list(targets.values())
    values = {
        f"Bleu_{n}": score.value for n, score in enumerate(overlap.bleu(captions, references).scores, 1)
    }
    values["ROUGE_L"] = overlap.rouge_l(captions, references).value
    values["CIDEr"] = overlap.cider_d(captions, references).value
    for name, value in values.items():
        print(
            f"{name:8} {value:.14f}  published {expected[name]:.14f}  apart {abs(value - expected[name]):.0e}"
        )
    many, groups = captions * 25, references * 25
    for name, job in {
        "words": lambda: [tokenize(group) for group in groups],
        "BLEU 1-4": lambda: overlap.bleu(many, groups),
        "ROUGE-L": lambda: overlap.rouge_l(many, groups),
        "CIDEr-D": lambda: overlap.cider_d(many, groups),
    }.items():
        print(f"{name:8} {_seconds(job):6.2f} s for 25,000 captions with 5 references each")


def _seconds(job: Callable[[], object]) -> float:
    start = time.perf_counter()
    job()
    return time.perf_counter() - start


def lowest_ratio(own: np.ndarray, planted: np.ndarray) -> float:
    """The usual estimate of the bad share: the smallest upper bound on the ratio of the distribution functions in the tail."""
    at = np.quantile(planted, np.linspace(0.01, 1, 200))
    low = np.searchsorted(np.sort(own), at, "right")
    share = np.searchsorted(np.sort(planted), at, "right") / len(planted)
    error = np.sqrt(1 / (low + 1) + 1 / (share * len(planted)))
    ratio = low / len(own) / share
    return float(ratio[np.argmin(ratio + (low + 1) / len(own) / share * error)])


def draw(kind: str, random: np.random.Generator, bad: np.ndarray, apart: float) -> np.ndarray:
    """Scores of one distribution; good ones are higher by `apart`."""
    shift = np.where(bad, 0, apart)
    if kind == "logistic":
        return random.logistic(1.8 * shift)
    return random.normal(shift, np.where(bad, 1, 1.5 if kind == "good spread wider" else 1))


def estimates(seeds: int = 20, count: int = 2000) -> None:
    """Estimated bad share, calibration error, and the true false drop of a budget of .05, over seeds."""
    print(
        "\nscores, apart, bad share: share found by us (sd) | by the tail ratio (sd) | calibration error | false drop (sd)"
    )
    for kind in ("normal", "logistic", "good spread wider"):
        for apart in (0.75, 1.5, 2.5):
            for share in (0.0, 0.3, 0.6):
                rows = []
                for seed in range(seeds):
                    random = np.random.default_rng(seed)
                    bad = random.random(count) < share
                    own, planted = (
                        draw(kind, random, bad, apart),
                        draw(kind, random, np.ones(count, bool), apart),
                    )
                    draws = budget.draw(own, planted)
                    fits = draws.quantile(draws.good_below(), 0.5) <= 0.05
                    below = own[~bad] < draws.edges[max(0, int(fits.sum()) - 1)]
                    error = calibrate.calibration_error(draws.match()(own), ~bad)
                    share = draws.share()
                    rows.append((share.value, lowest_ratio(own, planted), error, below.mean()))
                mean, sd = np.mean(rows, 0), np.std(rows, 0)
                print(
                    f"{kind:18} {apart:4.2f} {share:.1f}: {mean[0]:.3f} ({sd[0]:.3f}) | {mean[1]:.3f} ({sd[1]:.3f}) | "
                    f"{mean[2]:.3f} | {mean[3]:.3f} ({sd[3]:.3f})"
                )


if __name__ == "__main__":
    if DATA.is_dir():
        published()
    else:
        print("../shared/data/metrics is not here: published values skipped")
    estimates()
