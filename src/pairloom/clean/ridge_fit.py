"""Fitting of the ridge judge: both regressions of every view twice, the second time weighed by P(match), and single words.

Does not know: files, thresholds, decisions.

N rows with texts, V words of the lexicon.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pairloom.clean.folds import GROUPS, fold_of
from pairloom.clean.plan import CleanSettings
from pairloom.clean.ridge_judge import RidgeJudge
from pairloom.clean.rows import Rows
from pairloom.clean.stacking import SAMPLE, match_weights, score_parts, trained_scores
from pairloom.clean.trained_part import TrainedPart
from pairloom.clean.training_table import FOLDS, TrainingTable
from pairloom.clean.word_training import fit_words
from pairloom.data.pair import seed_of
from pairloom.regression.both_ways import Basis, fit_both_ways
from pairloom.regression.features import Encoders
from pairloom.regression.ridge import LANDMARKS, Ridge, TwoWayRidge, choose_references, unit

FIRST = 1024  # landmarks of the first round, which only says how much each pair counts
LIKELY = 0.5  # least P(match) of a row that the fit of single words learns from


def fit_judge(
    rows: Rows, table: TrainingTable, encoders: Encoders, trained: TrainedPart | None, settings: CleanSettings
) -> RidgeJudge:
    """Fit twice, the second time with the rows weighed by P(match) of the first, and weigh the parts. trained: a further
    part."""
    ridges, _ = _regressions(table, np.ones(len(table.keys)), settings.seed)
    likely = match_weights(table, ridges, settings.seed)
    ridges, to_words = _regressions(table, likely, settings.seed, table.words)
    more = None if trained is None else trained_scores(rows, table, trained)
    weights = score_parts(table, ridges, settings.seed, more).weights()
    texts: list[list[str]] = [[] for _ in range(FOLDS)]
    for key, text in table.donors:
        texts[table.moved.get(key, fold_of(key, GROUPS)) % FOLDS].append(text)
    chosen = [
        choose_references(np.flatnonzero((table.folds == fold) & (likely >= LIKELY)), seed_of("words", settings.seed, fold), SAMPLE // FOLDS)
        for fold in range(FOLDS)
    ]  # fmt: skip
    spoken = list(table.lexicon.words)
    features = unit(table.space.texts(spoken, encoders.sentences(spoken)))
    words = fit_words(
        table.lexicon, features, to_words, tuple(ridge.to_text for ridge in ridges), table.pictures, table.words,
        table.examples, texts, chosen, settings.seed,
    )  # fmt: skip
    return RidgeJudge(encoders, table.space, ridges, weights, words, table.moved, trained, settings.size)


def _regressions(
    table: TrainingTable, weights: NDArray[np.float64], seed: int, words: NDArray[np.float16] | None = None
) -> tuple[tuple[TwoWayRidge, ...], tuple[Ridge, ...]]:
    """Both regressions for every view of the pictures, and those to the words, where given: then with all landmarks, and
    also on all rows. weights [N]: of the rows."""
    basis = Basis.choose(
        table.folds,
        seed_of("landmarks", seed),
        [seed_of("pictures", seed, fold) for fold in range(FOLDS)],
        [seed_of("texts", seed, fold) for fold in range(FOLDS)],
        FIRST if words is None else LANDMARKS,
    )
    more = () if words is None else (words,)
    return fit_both_ways(
        table.pictures, table.texts, table.folds, weights, basis, more, whole=words is not None
    )
