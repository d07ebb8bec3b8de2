"""The fit of single words: reliability by hand, and a set in which the pictures show the words."""

from __future__ import annotations

import numpy as np
import pytest

from pairloom.clean.word_training import fit_words
from pairloom.regression.lexicon import Lexicon
from pairloom.regression.ridge import fit_ridge
from pairloom.regression.word_fit import (
    PRIOR,
    STRENGTH,
    VISIBLE,
    Meaning,
    WordFit,
    context_of,
    fit_context,
    measured_reliability,
    products,
    visible,
)

COLOURS = [f"colour{letter}" for letter in "abcdefghijklmnopqrstuvwxyz"]
THINGS = [f"thing{letter}" for letter in "abcdefghijklmnopqrstuvwxyz"]
FOLDS = 3


def unit(rows: np.ndarray) -> np.ndarray:
    return (rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-9)).astype(np.float32)


@pytest.fixture(scope="module")
def learnt() -> tuple[WordFit, np.ndarray, np.ndarray, list[str], np.ndarray]:
    """Pictures [N 52] that show a colour and a thing each; the fit, the pictures, what they show [N 2], texts and folds."""
    draw = np.random.default_rng(0)
    shown = draw.integers(0, 26, (900, 2))
    pictures = np.zeros((900, 52), np.float32)
    pictures[np.arange(900), shown[:, 0]] = 1
    pictures[np.arange(900), 26 + shown[:, 1]] = 1
    pictures = unit(pictures + 0.1 * draw.standard_normal(pictures.shape))
    texts = [f"a {COLOURS[colour]} {THINGS[thing]} here" for colour, thing in shown]
    lexicon, folds = Lexicon.learn(texts), np.arange(900) % FOLDS
    words = lexicon.table([[text] for text in texts])
    features = unit(np.eye(len(lexicon), dtype=np.float32))
    sentences = unit(words @ features)
    to_text, to_words = fit_ridge(
        pictures, [sentences, words], folds, np.ones(900), FOLDS, np.arange(0, 900, 3)
    )
    fit = fit_words(
        lexicon, features, (to_words,), (to_text,), [pictures], words.astype(np.float16), texts,
        [[text for text, fold in zip(texts, folds) if fold == one] for one in range(FOLDS)],
        [np.flatnonzero(folds == one) for one in range(FOLDS)], 0,
    )  # fmt: skip
    assert fit is not None
    return fit, pictures, shown, texts, folds


def test_it_tells_which_word_is_wrong(
    learnt: tuple[WordFit, np.ndarray, np.ndarray, list[str], np.ndarray],
) -> None:
    fit, pictures, shown, texts, folds = learnt
    rows = np.flatnonzero(folds == 1)[:100]
    wrong = [
        text.replace(COLOURS[shown[row, 0]], COLOURS[(shown[row, 0] + 1) % 26])
        for row, text in zip(rows, (texts[row] for row in rows))
    ]
    owner = np.arange(len(rows))
    good = fit.wrong([pictures[rows]], owner, [texts[row] for row in rows], 1)
    bad = fit.wrong([pictures[rows]], owner, wrong, 1)
    named = [words[0][0] == COLOURS[(shown[row, 0] + 1) % 26] for row, words in zip(rows, bad)]
    assert np.mean(named) > 0.95
    scores, others = (np.array([-words[0][1] for words in each]) for each in (good, bad))
    assert (scores[:, None] > others).mean() > 0.97
    assert {word for words in good for word, _ in words} <= {
        *COLOURS,
        *THINGS,
    }  # nothing tells "a" and "here"


def test_a_text_does_not_depend_on_those_beside_it(
    learnt: tuple[WordFit, np.ndarray, np.ndarray, list[str], np.ndarray],
) -> None:
    fit, pictures, _, texts, _ = learnt
    whole = fit.wrong([pictures[:90]], np.arange(90), texts[:90], 0)
    assert fit.wrong([pictures[40:43]], np.arange(3), texts[40:43], 0) == whole[40:43]
    assert fit.wrong([pictures[:1]], np.zeros(1, np.int64), ["unheard of"], 0) == [[]]


def test_it_survives_being_saved(
    learnt: tuple[WordFit, np.ndarray, np.ndarray, list[str], np.ndarray],
) -> None:
    fit, pictures, _, texts, _ = learnt
    again = WordFit.of(fit.tensors(), fit.lexicon.words, fit.to_text)
    here = fit.wrong([pictures[:5]], np.arange(5), texts[:5], 2)
    assert again.wrong([pictures[:5]], np.arange(5), texts[:5], 2) == here


def test_reliability_is_a_shrunk_auroc() -> None:
    predicted = np.array([[0.1], [0.9], [0.8], [0.2]], np.float32)
    has = np.array([[0], [1], [0], [0]], np.float32)
    expected = ((1 - 0.5) * 1 + PRIOR * STRENGTH) / (1 + STRENGTH)
    assert np.isclose(measured_reliability(predicted, has)[0], expected)
    assert visible(np.array([[VISIBLE, 0.0], [0.0, VISIBLE - 0.01]])).tolist() == [True, False]


def test_the_other_words_of_a_text_count_and_the_word_itself_does_not() -> None:
    texts = ["a wave surf sea"] * 300 + ["a pan stove pot"] * 300 + ["wave pan"]
    lexicon = Lexicon.learn(texts)
    context = fit_context(lexicon, [texts, texts])
    surf, pan, wave = (lexicon.places[word] for word in ("surf", "pan", "wave"))
    assert context.shape == (2, len(lexicon), len(lexicon)) and not context[0].diagonal().any()
    beside = context_of(context[0], [wave, surf, pan], [surf, pan])
    assert beside[0] > 0.1 > beside[1]


def test_products_are_bounded_columns_and_all_their_pairs() -> None:
    assert products(np.array([[2.0, 9.0]])).tolist() == [[2, 5, 4, 10, 25]]


def test_likeness_of_meaning_has_mean_0_and_deviation_1() -> None:
    draw = np.random.default_rng(1)
    predicted, words = unit(draw.standard_normal((50, 6))), unit(draw.standard_normal((4, 6)))
    like = Meaning.measured(predicted, words)(predicted)
    assert np.allclose(like.mean(0), 0, atol=1e-4) and np.allclose(like.std(0), 1, atol=1e-3)


def test_too_few_words_are_not_judged() -> None:
    lexicon = Lexicon.learn(["a red ball"] * 10)
    nothing = np.zeros((0, 3), np.float32)
    rows = [np.zeros(0, np.int64)]
    assert fit_words(lexicon, nothing, (), (), [], nothing.astype(np.float16), [], [[]], rows, 0) is None
