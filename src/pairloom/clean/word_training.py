"""Training of the fit of single words, on texts of the set with one word exchanged for another of its class.

Does not know: files, thresholds, decisions.

N rows with texts, V words of the lexicon, E features of a text, G views, K folds.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pairloom.data.pair import seed_of
from pairloom.regression.lexicon import Lexicon
from pairloom.regression.ridge import Floats, Ridge
from pairloom.regression.word_fit import (
    Meaning,
    WordFit,
    context_of,
    fit_context,
    measured_reliability,
)

TIMES = 2  # edits of each row
WORDS, LEAST = 8, 50  # least words of the lexicon, and least edits, for a fit


def fit_words(
    lexicon: Lexicon, features: Floats, to_words: tuple[Ridge, ...], to_text: tuple[Ridge, ...], pictures: Sequence[Floats],
    words: NDArray[np.float16], examples: Sequence[str], texts: Sequence[Sequence[str]], chosen: Sequence[NDArray[np.int64]],
    seed: int,
) -> WordFit | None:  # fmt: skip
    """Fit the weights of the evidence about words. None where the texts have too few words that pictures tell.

    features [V E]: of the words, as of texts; to_words, to_text: of each view; pictures G x [N D]; words [N V]; examples: a
    text of each row; texts: many of each fold; chosen: rows of each fold to learn from.
    """
    if len(lexicon) < WORDS or not all(map(len, chosen)):
        return None
    tables = [words[rows].astype(np.float32) for rows in chosen]
    predicted = [
        [(to.outputs(view[rows], fold).numpy(), text.predict(view[rows], fold).numpy())
         for view, to, text in zip(pictures, to_words, to_text)]
        for fold, rows in enumerate(chosen)
    ]  # fmt: skip
    views = [tuple(np.concatenate(parts) for parts in zip(*folds)) for folds in zip(*predicted)]
    fit = WordFit(
        lexicon, to_words, to_text,
        np.array([measured_reliability(chances, np.concatenate(tables)) for chances, _ in views]),
        tuple(Meaning.measured(texts, features) for _, texts in views), fit_context(lexicon, texts),
        np.zeros((2, 0)), np.zeros((len(chosen), 0)),
    )  # fmt: skip
    evidence, wrong = [], []
    for fold, rows in enumerate(chosen):
        seen = [(chances, meaning(texts)) for (chances, texts), meaning in zip(predicted[fold], fit.meanings)]
        own, edited = _requests(fit, words, examples, rows, fold, seed)
        places = np.array([(at, word) for at, word, _ in own + edited], np.int64).reshape(-1, 2)
        beside = np.array([value for _, _, value in own + edited], np.float64)
        evidence.append(fit.evidence(seen, places[:, 0], places[:, 1], beside, fold))
        wrong.append(np.arange(len(places)) >= len(own))
    if sum(int(flags.sum()) for flags in wrong) < LEAST:
        return None
    return fit.fitted(evidence, wrong)


def _requests(
    fit: WordFit,
    words: NDArray[np.float16],
    examples: Sequence[str],
    rows: NDArray[np.int64],
    fold: int,
    seed: int,
) -> tuple[list[tuple[int, int, float]], list[tuple[int, int, float]]]:
    """(row among `rows`, word, what the other words say of it) of the words of the rows' texts that can be judged, and of
    words that edits put in."""
    lexicon, judged, context = fit.lexicon, fit.visible, fit.context[fold]
    own: list[tuple[int, int, float]] = []
    edited: list[tuple[int, int, float]] = []
    for at, row in enumerate(rows.tolist()):
        text = examples[row]
        spoken = lexicon.known(text)
        mine = [place for place in spoken if judged[place]]
        own += [(at, place, value) for place, value in zip(mine, context_of(context, spoken, mine).tolist())]
        avoid = set(np.flatnonzero(words[row]).tolist())
        for time in range(TIMES):
            edit = lexicon.edit(text, avoid, judged, seed_of("edit", seed, time, text))
            if edit is not None:
                value = context_of(context, lexicon.known(edit[0]), [edit[1]])
                edited.append((at, edit[1], float(value[0])))
    return own, edited
