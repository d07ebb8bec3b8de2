"""Fitting of the ridge judge: both regressions of every view twice, the second time weighed by P(match), and single words.

Does not know: files, thresholds, decisions.

N rows with texts, V words of the lexicon.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pairloom.clean.folds import GROUPS, fold_of
from pairloom.clean.plan import CleanSettings
from pairloom.clean.ridge_judge import RidgeJudge
from pairloom.clean.rows import Rows
from pairloom.clean.stacking import SAMPLE, WholeSet, match_weights, score_parts, trained_scores
from pairloom.clean.trained_part import TrainedPart
from pairloom.clean.training_table import FOLDS, TrainingTable
from pairloom.clean.word_training import Read, fit_words
from pairloom.clean.writers import Writers
from pairloom.data.pair import seed_of
from pairloom.regression.both_ways import Basis, fit_both_ways
from pairloom.regression.features import Encoders
from pairloom.regression.ridge import LANDMARKS, Ridge, TwoWayRidge, choose_references, unit
from pairloom.regression.word_fit import Ratios

FIRST = 1024  # landmarks of the first round, which only says how much each pair counts
LIKELY = 0.5  # least P(match) of a row that the fit of single words learns from


def first_round(table: TrainingTable, seed: int) -> NDArray[np.float64]:
    """P(match) of every row with its texts [N], by regressions in which all rows count alike."""
    ridges, _ = _regressions(table, np.ones(len(table.keys)), seed)
    return match_weights(table, ridges, seed)


def fit_judge(
    rows: Rows, table: TrainingTable, likely: NDArray[np.float64], encoders: Encoders, trained: TrainedPart | None,
    writers: Writers | None, settings: CleanSettings,
) -> RidgeJudge:  # fmt: skip
    """Fit with the rows weighed by P(match) of the first round [N], and weigh the parts. trained: a further part; writers: evidence
    about single words."""
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
        table.examples, texts, chosen, settings.seed, None if writers is None else _reader(rows, table, writers),
    )  # fmt: skip
    writers = writers if words is not None and words.reads_ratios else None
    return RidgeJudge(
        encoders, table.space, ridges, weights, words, table.moved, trained, writers, settings.size
    )


def _reader(rows: Rows, table: TrainingTable, writers: Writers) -> Read:
    """What writers say of texts, for pictures of rows of the table."""
    source = WholeSet(rows)

    def read(pictures: NDArray[np.int64], texts: Sequence[str]) -> Ratios:
        numbers = [table.rows[row] for row in pictures.tolist()]
        return writers.ratios(source, numbers, texts, table.groups[pictures], table.lexicon)

    return read


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
