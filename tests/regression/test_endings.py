"""Endings: shares by hand, cuts, and a set whose cut texts are told from whole ones without having been learnt from."""

from __future__ import annotations

import random

import numpy as np
import pytest

from pairloom.regression.endings import BACKOFF, LEAST, Endings, cut_text

COLOURS, THINGS = ("red", "blue", "green"), ("ball", "house", "star", "tree")


def captions(count: int, seed: int) -> list[str]:
    dice = random.Random(seed)

    def noun() -> str:
        return f"{dice.choice(COLOURS)} {dice.choice(THINGS)}"

    return [
        f"A {noun()} is left of a {noun()}." if dice.random() < 0.5 else f"{noun()} above {noun()}"
        for _ in range(count)
    ]


def learn(texts: list[str]) -> tuple[Endings, np.ndarray]:
    folds = np.arange(len(texts)) % 5
    endings = Endings.learn(texts, folds, range(len(texts)))
    assert endings is not None
    return endings, folds


def test_cut_texts_score_below_whole_ones() -> None:
    texts = captions(600, 0)
    endings, _ = learn(texts)
    fresh = captions(300, 1)
    cut = [text[: 3 + seed % (len(text) - 4)] for seed, text in enumerate(fresh)]
    folds = np.arange(len(fresh)) % 5
    whole, short = endings.scores(fresh, folds), endings.scores(cut, folds)
    assert (whole[:, None] > short).mean() > 0.97  # a cut text may be a whole one: "red ball"
    inside = endings.scores(
        ["A red ball is left o", "red ball above", "A red house", "blue"], np.zeros(4, int)
    )
    assert inside.max() < np.quantile(whole, 0.05)


def test_a_rare_word_at_the_end_is_no_cut() -> None:
    endings, folds = learn([*captions(600, 0), "A red ball is left of a zebra.", "red ball above zebra"])
    rare = endings.scores(["A red ball is left of a giraffe.", "red star above giraffe"], np.zeros(2, int))
    assert rare.min() > endings.scores(["A red ball is left of", "red star abo"], np.zeros(2, int)).max()


def test_shares_are_those_of_the_other_folds() -> None:
    endings, _ = learn(captions(600, 0))
    counts = endings.whole["last ball"] - endings.folds[0]["last ball"]
    ends = endings.whole["last ball\n"] - endings.folds[0]["last ball\n"]
    assert endings._share("last ball", "", 0, 0.5) == (ends + BACKOFF / 2) / (counts + BACKOFF)
    assert endings.whole["last ball"] == sum(fold["last ball"] for fold in endings.folds)


def test_cuts_leave_a_beginning() -> None:
    text, cuts = (
        "a red ball above a house",
        {cut_text("a red ball above a house", seed) for seed in range(200)},
    )
    assert all(cut is not None and text.startswith(cut) and cut != text for cut in cuts if cut)
    assert {"a red ball", "a red ba"} <= cuts
    assert cut_text("a", 0) is None and cut_text("", 0) is None
    assert cut_text(text, 7) == cut_text(text, 7)


@pytest.mark.parametrize("texts", [[], ["a ball"] * (LEAST - 1), ["", " "] * LEAST])
def test_too_few_texts_are_not_learnt_from(texts: list[str]) -> None:
    endings = Endings.learn(texts, np.arange(len(texts)) % 5, range(len(texts)))
    assert endings is None or np.isfinite(endings.scores(["a ball", ""], np.zeros(2, int))).all()


def test_any_text_has_a_score() -> None:
    endings, _ = learn(captions(100, 0))
    odd = ["", " ", "!", "\n", "赤い家", "x" * 5000, "word " * 500, "\ud800"]
    assert np.isfinite(endings.scores(odd, np.zeros(len(odd), int))).all()
