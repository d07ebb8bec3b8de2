"""Which words writers may speak about, and what their ratios are as evidence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch

from pairloom.clean import word_training
from pairloom.clean.word_training import _fit_order, _known_to_writers, _WordOf
from pairloom.regression.lexicon import Lexicon
from pairloom.regression.ridge import Ridge
from pairloom.regression.word_fit import Meaning, WordFit

TEXTS = [
    f"a {colour} {thing} near {place}"
    for colour in ("red", "blue", "green", "white")
    for thing in ("ball", "cat", "tree", "fish")
    for place in ("water", "houses", "hills")
] * 2


def fit_of(lexicon: Lexicon) -> WordFit:
    """A fit that judges every word of a lexicon, and knows nothing else."""
    empty = np.zeros((1, 0))
    return WordFit(
        lexicon, (), (), empty, (), np.zeros((2, 0, 0), np.float16), np.zeros((2, 0)), empty,
        np.ones(len(lexicon), bool), np.zeros(0), np.zeros((0, 2)),
    )  # fmt: skip


def requests_of(places: list[int], own: int, edited: int) -> list[_WordOf]:
    return [
        _WordOf(at, "", place, 0.0, wrong)
        for place in places
        for wrong, count in ((False, own), (True, edited))
        for at in range(count)
    ]


def test_writers_speak_about_words_whose_edits_they_tell() -> None:
    lexicon = Lexicon.learn(TEXTS)
    fit, places = fit_of(lexicon), list(range(len(lexicon)))
    assert len(places) >= 10
    requests = requests_of(places, 12, 12)
    ratios = np.array(
        [(-9.0 if one.wrong else 1.0) - 0.5 * one.row for one in requests]
    )  # less by up to 5.5, by the row
    blind, rare, grammar = places[:3]
    ratios[[one.word == blind for one in requests]] = 1.0  # own and edited texts alike: AUROC .5
    # the other words of the text give this one's edits away
    requests = [one._replace(beside=float(one.word == grammar and not one.wrong)) for one in requests]
    few = [one for one in requests if one.word != rare or one.row < word_training.FEW - 1]
    kept = np.array([one.word != rare or one.row < word_training.FEW - 1 for one in requests])
    known = _known_to_writers(fit, few, ratios[kept])
    assert known is not None and known.reads_ratios
    assert np.flatnonzero(~known.visible).tolist() == [blind, rare, grammar]
    assert known.usual[places[3]] == pytest.approx(1 - 5.5 * (1 - word_training.LOW))
    assert known.usual[blind] == known.usual[rare] == 0  # above 0; unknown
    assert _known_to_writers(fit, requests, np.zeros(len(requests))) is None  # they tell nothing


def test_ratios_stand_in_the_place_of_the_other_words() -> None:
    lexicon = Lexicon.learn(TEXTS)
    count = len(lexicon)
    ridge = Ridge(torch.zeros(1, 1), torch.zeros(3, 1, count), torch.full((3, count), 0.25))
    fit = fit_of(lexicon)
    fit = WordFit(
        lexicon, (ridge,), (), np.full((1, count), 0.4), (), fit.context, fit.scale, fit.weights, fit.visible, np.full(count, -2.0),
        fit.order,
    )  # fmt: skip
    seen = [(np.full((1, count), 0.5, np.float32), np.full((1, count), 0.7, np.float32))]
    (row,) = fit.evidence(seen, np.array([0]), np.array([3]), np.array([0.0]), 0, np.array([-3.0]))
    share = np.log(lexicon.shares[3])
    # log(.5 / .25), the word's reliability, likeness, the ratio, and how far it lies below the usual one
    np.testing.assert_allclose(row, [np.log(2), 0.4, 0.7, -3.0, -1.0, share], rtol=1e-6)


def test_swapped_words_are_told_by_the_ratio_to_the_words_of_the_text() -> None:
    """A writer that would have named the thing first that is named second: own texts by 1 at most, swapped ones by 3 to 4."""
    lexicon = Lexicon.learn(TEXTS)
    fit = fit_of(lexicon)
    examples = ["a red ball blue cat", "a green tree white fish"] * word_training.FEW
    own = set(examples)

    def read(rows: np.ndarray, texts: Sequence[str]) -> list[dict[int, tuple[float, float]]]:
        least = [-(row % 3) / 2 - 3 * (text not in own) for row, text in zip(rows.tolist(), texts)]
        return [{0: (5.0, 0.0), 1: (5.0, value)} for value in least]

    chosen = [np.arange(0, len(examples), 2), np.arange(1, len(examples), 2)]
    order = _fit_order(fit, read, examples, chosen, seed=0)
    assert order.shape == (2, 2) and (order[:, 0] < 0).all()
    for slope, intercept in order:
        assert -3 < -intercept / slope < -1  # the boundary lies between the two
    assert _fit_order(fit, read, ["a red ball"] * 40, chosen, seed=0).shape == (0, 2)  # nothing to swap


def test_the_order_of_words_makes_none_likelier_wrong_than_right() -> None:
    lexicon = Lexicon.learn(TEXTS)
    count = len(lexicon)
    ridge = Ridge(torch.zeros(1, 1), torch.zeros(1, 1, count), torch.full((1, count), 0.25))
    empty = fit_of(lexicon)
    blank = Meaning(np.zeros((count, count), np.float32), np.zeros(count, np.float32))
    columns = 6  # three of the view, two of writers, and the frequency
    size = columns + columns * (columns + 1) // 2
    fit = replace(
        empty, to_words=(ridge,), to_text=(ridge,), reliability=np.full((1, count), 0.4), meanings=(blank,),
        scale=np.stack([np.zeros(columns), np.ones(columns)]), weights=np.concatenate([np.zeros((1, size)), [[-5.0]]], 1),
        context=np.zeros((1, count, count), np.float16), usual=np.full(count, -2.0), order=np.array([[-1.0, -2.0]]),
    )  # fmt: skip
    red, ball = lexicon.places["red"], lexicon.places["ball"]
    ratios = [{red: (1.0, -1.5), ball: (1.0, -9.0)}]
    odds = dict(fit.wrong([np.zeros((1, 1), np.float32)], np.array([0]), ["a red ball"], 0, ratios)[0])
    assert odds["red"] == pytest.approx(-0.5) and odds["ball"] == 0
    assert odds["a"] == pytest.approx(-5.0)  # no rival in the text: the other evidence alone
