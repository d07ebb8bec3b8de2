"""Training of the fit of single words, on texts of the set with one word exchanged for another of its class, and with writers also on
texts with two words swapped.

Does not know: files, thresholds, decisions.

N rows with texts, V words of the lexicon, E features of a text, G views, K folds.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pairloom.data.pair import seed_of
from pairloom.metrics.calibrate import auroc
from pairloom.regression.lexicon import Lexicon
from pairloom.regression.logistic import fit_logistic
from pairloom.regression.ridge import Floats, Ridge
from pairloom.regression.word_fit import (
    Meaning,
    Ratios,
    Table,
    WordFit,
    context_of,
    fit_context,
    measured_reliability,
    visible,
    written_ratios,
)

Read = Callable[
    [NDArray[np.int64], Sequence[str]], Ratios
]  # log-ratios of writers, of rows' pictures with texts

TIMES = 2  # edits of each row
# see `_known_to_writers`: least texts of a word, least AUROC of its log-ratios, greatest AUROC of what the other words say, and the share of
# its texts whose log-ratios lie below the usual one
FEW, RELIABLE, OBVIOUS, LOW = 10, 0.9, 0.8, 0.1
WORDS, LEAST = 8, 50  # least words of the lexicon, and least edits, for a fit


def fit_words(
    lexicon: Lexicon, features: Floats, to_words: tuple[Ridge, ...], to_text: tuple[Ridge, ...], pictures: Sequence[Floats],
    words: NDArray[np.float16], examples: Sequence[str], texts: Sequence[Sequence[str]], chosen: Sequence[NDArray[np.int64]],
    seed: int, read: Read | None = None,
) -> WordFit | None:  # fmt: skip
    """Fit the weights of the evidence about words. None where the texts have too few words that pictures tell.

    features [V E]: of the words, as of texts; to_words, to_text: of each view; pictures G x [N D]; words [N V]; examples: a
    text of each row; texts: many of each fold; chosen: rows of each fold to learn from. read: what writers say of texts.
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
    reliability = np.array([measured_reliability(chances, np.concatenate(tables)) for chances, _ in views])
    fit = WordFit(
        lexicon, to_words, to_text, reliability,
        tuple(Meaning.measured(texts, features) for _, texts in views), fit_context(lexicon, texts),
        np.zeros((2, 0)), np.zeros((len(chosen), 0)), visible(reliability), np.zeros(0), np.zeros((0, 2)),
    )  # fmt: skip
    requests = [_requests(fit, words, examples, rows, fold, seed) for fold, rows in enumerate(chosen)]
    written: list[Table] | None = None
    if read is not None:
        written = [_read(read, rows, each) for rows, each in zip(chosen, requests)]
        everything = [one for each in requests for one in each]
        better = _known_to_writers(fit, everything, np.concatenate(written)[:, 0])
        fit, written = (fit, None) if better is None else (better, written)
    evidence, wrong = [], []
    for fold, each in enumerate(requests):
        seen = [(chances, meaning(texts)) for (chances, texts), meaning in zip(predicted[fold], fit.meanings)]
        at, places = np.array([(one.row, one.word) for one in each], np.int64).reshape(-1, 2).T
        judged, beside = fit.visible[places], np.array([one.beside for one in each], np.float64)
        ratios = None if written is None else written[fold][judged, 0]
        evidence.append(fit.evidence(seen, at[judged], places[judged], beside[judged], fold, ratios))
        wrong.append(np.array([one.wrong for one in each], bool)[judged])
    if sum(int(flags.sum()) for flags in wrong) < LEAST:
        return None
    if read is not None and written is not None:
        fit = replace(fit, order=_fit_order(fit, read, examples, chosen, seed))
    return fit.fitted(evidence, wrong)


def _fit_order(
    fit: WordFit, read: Read, examples: Sequence[str], chosen: Sequence[NDArray[np.int64]], seed: int
) -> Table:
    """Slope and intercept for each fold [K 2] of the log-odds that two words of a text are swapped, by the least of its words'
    log-ratios to others of the text, from the texts of the other folds. [0 2] where there are too few."""
    own, swapped = list[Table](), list[Table]()
    for rows in chosen:
        pairs = [
            (row, other)
            for row in rows.tolist()
            if (other := fit.lexicon.swap(examples[row], fit.visible, seed_of("swap", seed, examples[row])))
            is not None
        ]
        places = np.array([row for row, _ in pairs], np.int64)
        for least, texts in (
            (own, [examples[row] for row, _ in pairs]),
            (swapped, [other for _, other in pairs]),
        ):
            known = read(places, texts)
            least.append(np.array([min((ratio for _, ratio in one.values()), default=0.0) for one in known]))
    if min(map(len, own)) < FEW:
        return np.zeros((0, 2))
    fits = []
    for fold in range(len(chosen)):
        rest = [other for other in range(len(chosen)) if other != fold]
        good, bad = (np.concatenate([side[other] for other in rest]) for side in (own, swapped))
        label = np.concatenate([np.zeros(len(good)), np.ones(len(bad))])
        fits.append(fit_logistic(np.concatenate([good, bad])[:, None], label))
    return np.array(fits)


def _read(read: Read, rows: NDArray[np.int64], requests: Sequence[_WordOf]) -> Table:
    """The log-ratios of the requested words [n 2]."""
    distinct = sorted({(each.row, each.text) for each in requests})
    known = dict(zip(distinct, read(rows[[row for row, _ in distinct]], [text for _, text in distinct])))
    return written_ratios(
        [known[each.row, each.text] for each in requests], [[each.word] for each in requests]
    )


def _known_to_writers(fit: WordFit, requests: Sequence[_WordOf], ratios: Table) -> WordFit | None:
    """The fit with the log-ratios that are usual for each word, and only with words of which writers tell well whether they were
    put in, and the other words of the text do not: "on" for "at" is no question of the picture. None where writers tell too few."""
    places, wrong, beside = (
        np.array(column) for column in zip(*((each.word, each.wrong, each.beside) for each in requests))
    )
    judged, usual = np.zeros(len(fit.lexicon), bool), np.zeros(len(fit.lexicon))
    for place in np.flatnonzero(fit.visible).tolist():
        own, edited = ((places == place) & (wrong == label) for label in (False, True))
        if min(own.sum(), edited.sum()) >= FEW:
            usual[place] = min(float(np.quantile(ratios[own], LOW)), 0.0)
            by_picture, by_text = (auroc(each[own], each[edited]) for each in (ratios, beside))
            judged[place] = by_picture >= RELIABLE and by_text < OBVIOUS
    enough = judged.sum() >= WORDS and (wrong & judged[places]).sum() >= LEAST
    return replace(fit, visible=judged, usual=usual) if enough else None


class _WordOf(NamedTuple):
    """A word of a text: the row among those of the fold, the text, the word's place, what the other words say of it, and whether
    an edit put it in."""

    row: int
    text: str
    word: int
    beside: float
    wrong: bool


def _requests(
    fit: WordFit,
    words: NDArray[np.float16],
    examples: Sequence[str],
    rows: NDArray[np.int64],
    fold: int,
    seed: int,
) -> list[_WordOf]:
    """The words of the rows' texts that can be judged, and words that edits put in."""
    lexicon, judged, context = fit.lexicon, fit.visible, fit.context[fold]
    requests: list[_WordOf] = []
    for at, row in enumerate(rows.tolist()):
        text = examples[row]
        spoken = lexicon.known(text)
        mine = [place for place in spoken if judged[place]]
        values = context_of(context, spoken, mine).tolist()
        requests += [_WordOf(at, text, place, value, False) for place, value in zip(mine, values)]
        avoid = set(np.flatnonzero(words[row]).tolist())
        for time in range(TIMES):
            edit = lexicon.edit(text, avoid, judged, seed_of("edit", seed, time, text))
            if edit is not None:
                value = context_of(context, lexicon.known(edit[0]), [edit[1]])
                requests.append(_WordOf(at, *edit, float(value[0]), True))
    return requests
