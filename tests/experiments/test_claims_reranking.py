"""Claims of re-ranking: the best of neighbours by hand, a judge that knows, and the whole run."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("diffusers")
pytest.importorskip("transformers")

from experiments.claims import reranking  # noqa: E402

SMALL = reranking.Setting(pairs=8, held=2, width=8, batch=4, steps=1, judge_steps=1, sampler=1)


def test_the_best_of_neighbours() -> None:
    fits, scores = np.array([0.0, 1, 1, 0]), np.array([0.1, 0.9, 0.2, 0.8])
    assert [reranking.best_of(fits, scores, count) for count in (1, 2, 4)] == [0.5, 0.5, 1.0]
    random = np.random.default_rng(0)
    fits = (random.random(4096) < 0.2) * 1.0
    shares = [
        reranking.best_of(fits, fits, count) for count in reranking.COUNTS
    ]  # a judge that knows: 1 - .8 ** n
    np.testing.assert_allclose(shares, [1 - 0.8**count for count in reranking.COUNTS], atol=0.05)
    table = {reranking.BEST[count]: [share, share] for count, share in zip(reranking.COUNTS, shares)}
    rows = reranking.results({("drawn", 0): {**table, reranking.BLIND: [0.1, 0.1]}}, SMALL)
    gain = rows[reranking.FIRST_GAIN, 0]["all facts"][0]
    assert (
        gain == pytest.approx(shares[1] - shares[0]) and gain > rows[reranking.LAST_GAIN, 0]["all facts"][0]
    )


def test_a_run(tmp_path: Path) -> None:
    names = [claim.name for claim in reranking.CLAIMS]
    rows = reranking.run(tmp_path / "out", SMALL, [0], names, 1, lambda *counts: None)
    assert {row["claim"] for row in rows} == {"rises", "concave", "reads"}
    assert all(0 <= row["new_mean"] <= 1 for row in rows if row["claim"] == "rises") and rows[0]["items"] == 2
