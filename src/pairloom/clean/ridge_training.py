"""Training of the ridge judge on the user's own pairs: encode, fit without each fold, leave out the worst, combine.

Pictures of a group of near duplicates are in one fold, so that no pair is judged by what was learnt from its own copy. Planted
mismatches are drawn inside a fold for the same reason: neither their picture nor their text was in the training of the fold.

Does not know: thresholds, decisions.

N rows with texts, K folds.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pairloom.clean import self_judge, trained_part
from pairloom.clean.audit import near_pairs
from pairloom.clean.encoding import EncodeTask, encode_shard, learn_encoders, open_encoders
from pairloom.clean.feature_store import DONORS, StoredFeatures, part_of, read_encoded, write_donor_features
from pairloom.clean.folds import GROUPS, fold_of
from pairloom.clean.judge_file import is_judge, write_judge
from pairloom.clean.plan import NONE, CleanSettings, already
from pairloom.clean.ridge_judge import RidgeJudge
from pairloom.clean.rows import LEARN, Rows, column_of, read_donors, read_part
from pairloom.clean.trained_part import TrainedPart
from pairloom.clean.word_training import fit_words
from pairloom.data.disk import atomic_write
from pairloom.data.pair import seed_of
from pairloom.data.shards import PairSet
from pairloom.regression.features import Encoders, FeatureSpace, Raw
from pairloom.regression.lexicon import Lexicon
from pairloom.regression.logistic import positive_weights
from pairloom.regression.ridge import (
    Floats,
    Ridge,
    ScoreReferences,
    TwoWayRidge,
    choose_landmarks,
    choose_references,
    fit_ridge,
)
from pairloom.runtime.threads import one_thread
from pairloom.scale import Execution
from pairloom.towers import load_image_tower, load_text_tower

Tell = Callable[..., None]
RowScores = Callable[
    [NDArray[np.int64], NDArray[np.int64]], NDArray[np.float64]
]  # of rows' pictures and rows' texts
FOLDS, PAIRS = 5, 50  # folds, and least pairs for training
SAMPLE = 8192  # rows that references and weights are taken from
WORST = 0.25  # share of the rows that the second fit leaves out
CHUNK = 4096  # rows scored together


def train_judge(
    folder: Path, pairs: PairSet, rows: Rows, texts: Path, settings: CleanSettings, execution: Execution, tell: Tell,
    device: str = "cpu",
) -> Path:  # fmt: skip
    """Train the judge of a round into `folder`, and return its folder. texts: the folder of parts with the training texts.

    A finished judge is kept. For fewer than PAIRS pairs none is trained, and the judge gives every text the same score.
    """
    where = folder / "judge"
    if is_judge(where):
        return where
    if sum(map(bool, column_of(texts, rows.shards, LEARN))) < PAIRS:
        facts = {"kind": "models", "name": "self", "by": "ridge regression", "size": settings.size}
        write_judge(where, {**facts, "model": None, "folds": [], "references": []}, None)
        return where
    place = learn_encoders(rows, settings.size, *towers_of(settings), settings.seed, device)
    tasks = [EncodeTask(rows.work, shard, settings.size, place, device) for shard in pairs.shards]
    tell("encode", 0, len(tasks), note=already(task.part for task in tasks))
    for _, count in execution.run(encode_shard, tasks):
        tell("encode", 1, len(tasks), note=f"{count} texts")
    encoders = open_encoders(place, device)
    write_donor_features(rows, encoders.identity)
    table = TrainingTable.read(rows, texts, encoders, settings.seed)
    trained = None
    if (
        encoders.image_tower is None
        and len(table.keys) >= trained_part.LEAST
        and trained_part.are_drawings(rows)
    ):
        file = folder / "moved.json"
        with atomic_write(file, replace=True) as out:
            out.write(json.dumps(table.moved).encode())
        folds = self_judge.train_folds(
            folder,
            rows,
            texts,
            settings,
            self_judge.CAPTIONING,
            trained_part.FOLDS,
            execution,
            tell,
            device,
            file,
        )
        trained = TrainedPart.load(folds, settings.size, device)
    tell("train judge", 0, None)
    shutil.rmtree(where, ignore_errors=True)  # an incomplete judge, after a kill while it was saved
    with one_thread():
        _fit(rows, table, encoders, trained, settings, where)
    return where


def towers_of(settings: CleanSettings) -> tuple[str | None, str | None]:
    """Where the image tower and the text tower are; None for one that is not wanted."""
    named = settings.image_tower, settings.text_tower
    image, text = (None if where in (None, NONE) else where for where in named)
    return image, text


def demand_towers(settings: CleanSettings, device: str) -> None:
    """Raise Mistake, before any work, where a tower cannot be used."""
    image, text = towers_of(settings)
    if image is not None:
        load_image_tower(image, device)
    if text is not None:
        load_text_tower(text, device)


@dataclass(frozen=True)
class TrainingTable:
    """Features of the N rows with texts: pictures by each view, G x [N D]; means of their texts [N E]; shares of their texts
    that have a word of the lexicon [N V]; a text of each; their numbers in the set; image keys; groups (see `folds.GROUPS`).
    donors: (image key, text) of many of them."""

    space: FeatureSpace
    lexicon: Lexicon
    pictures: list[Floats]
    texts: Floats
    words: NDArray[np.float16]
    examples: list[str]
    rows: list[int]
    keys: list[str]
    groups: NDArray[np.int64]
    moved: dict[str, int]
    donors: list[tuple[str, str]]

    @property
    def folds(self) -> NDArray[np.int64]:
        return self.groups % FOLDS

    @classmethod
    def read(cls, rows: Rows, texts: Path, encoders: Encoders, seed: int) -> TrainingTable:
        """Learn the space from a sample, and read the features of all rows with texts in it."""
        moved = near_duplicate_groups(rows)
        space = _learn_space(rows, encoders, seed)
        donors = read_donors(rows.work)
        lexicon = Lexicon.learn([text for _, text in donors])
        pictures, sentences, words, examples, keys = [], [], [], [], []
        numbers: list[int] = []
        for shard, first in zip(rows.shards, rows.first):
            learnt = read_part(texts, shard, [LEARN]).column(LEARN).to_pylist()
            chosen = [row for row, each in enumerate(learnt) if each]
            if not chosen:
                continue
            image_keys = read_part(rows.folder, shard, ["image_key"]).column(0).to_pylist()
            pictures.append(space.pictures(_raw(rows, shard, encoders)[chosen]))
            spoken = [learnt[row] for row in chosen]
            sentences.append(_mean_texts(spoken, shard, rows, encoders, space))
            words.append(lexicon.table(spoken).astype(np.float16))
            examples += [texts[0] for texts in spoken]
            keys += [image_keys[row] for row in chosen]
            numbers += [int(first) + row for row in chosen]
        groups = np.array([moved.get(key, fold_of(key, GROUPS)) for key in keys], np.int64)
        views = [np.concatenate(view) for view in zip(*pictures)]
        tables = np.concatenate(sentences), np.concatenate(words)
        return cls(space, lexicon, views, *tables, examples, numbers, keys, groups, moved, donors)


def _raw(rows: Rows, shard: str, encoders: Encoders) -> Raw:
    raw = read_encoded(part_of(rows.work, shard), "pictures", encoders.identity)
    assert raw is not None, f"{shard} was not encoded"
    return raw


def _mean_texts(learnt: list[list[str]], shard: str, rows: Rows, encoders: Encoders, space: FeatureSpace) -> Floats:  # fmt: skip
    """Means [n E] of the features of each row's texts."""
    known = StoredFeatures(rows.work, shard, encoders.identity).texts()
    distinct = sorted({text for each in learnt for text in each})
    missing = [text for text in distinct if text not in known]
    known |= dict(zip(missing, encoders.sentences(missing)))
    features = space.texts(distinct, np.stack([known[text] for text in distinct]))
    place = {text: at for at, text in enumerate(distinct)}
    return np.stack([features[[place[text] for text in each]].mean(0) for each in learnt])


def _learn_space(rows: Rows, encoders: Encoders, seed: int) -> FeatureSpace:
    """The space of the set, from the donors' texts and from a sample of the pictures."""
    raw = []
    for shard in rows.shards:
        usable = np.fromiter(read_part(rows.folder, shard, ["usable"]).column(0).to_pylist(), bool)
        share = max(1, round(SAMPLE * len(usable) / len(rows)))
        chosen = choose_references(np.flatnonzero(usable), seed_of("space", seed, shard), share)
        raw.append(_raw(rows, shard, encoders)[chosen])
    donors = [text for _, text in read_donors(rows.work)]
    sentences = read_encoded(rows.work / DONORS, "texts", encoders.identity)
    assert sentences is not None
    return FeatureSpace.learn(encoders, np.concatenate(raw), donors, sentences, seed)


def near_duplicate_groups(rows: Rows) -> dict[str, int]:
    """Groups (see `folds.GROUPS`) of the pictures that are near duplicates of another, where it is not the one of their own
    hash."""
    looks = np.fromiter(rows.column("looks"), np.uint64, len(rows))
    keys = list(rows.column("image_key"))
    parent = list(range(len(keys)))

    def root(row: int) -> int:
        while parent[row] != row:
            parent[row] = row = parent[parent[row]]
        return row

    linked = set[int]()
    for one, other in near_pairs(looks):
        linked |= {one, other}
        first, second = sorted((root(one), root(other)), key=lambda row: (keys[row], row))
        parent[second] = first
    groups = {keys[row]: fold_of(keys[root(row)], GROUPS) for row in sorted(linked)}
    return {key: group for key, group in groups.items() if group != fold_of(key, GROUPS)}


def _fit(
    rows: Rows, table: TrainingTable, encoders: Encoders, trained: TrainedPart | None, settings: CleanSettings, where: Path
) -> None:  # fmt: skip
    """Fit twice, the second time without the worst rows, and save the judge with the weights of its parts."""
    mask = np.ones(len(table.keys))
    ridges, _ = _regressions(table, mask, settings.seed)
    scores = _own_scores(table, ridges, _combine(table, ridges, settings.seed))
    mask[scores < np.quantile(scores, WORST)] = 0
    ridges, to_words = _regressions(table, mask, settings.seed, table.words)
    more = None if trained is None else _trained_scores(rows, table, trained)
    weights = _combine(table, ridges, settings.seed, more)
    texts: list[list[str]] = [[] for _ in range(FOLDS)]
    for key, text in table.donors:
        texts[table.moved.get(key, fold_of(key, GROUPS)) % FOLDS].append(text)
    chosen = [
        choose_references(np.flatnonzero((table.folds == fold) & (mask > 0)), seed_of("words", settings.seed, fold), SAMPLE // FOLDS)
        for fold in range(FOLDS)
    ]  # fmt: skip
    spoken = list(table.lexicon.words)
    features = _unit(table.space.texts(spoken, encoders.sentences(spoken)))
    words = fit_words(
        table.lexicon, features, to_words, tuple(ridge.to_text for ridge in ridges), table.pictures, table.words,
        table.examples, texts, chosen, settings.seed,
    )  # fmt: skip
    RidgeJudge(encoders, table.space, ridges, weights, words, table.moved, trained, settings.size).save(where)


def _regressions(
    table: TrainingTable, mask: NDArray[np.float64], seed: int, words: NDArray[np.float16] | None = None
) -> tuple[tuple[TwoWayRidge, ...], tuple[Ridge, ...]]:
    """Both regressions for every view of the pictures, on the rows whose mask is 1, and those to the words, where given."""
    texts, everything = _unit(table.texts), np.arange(len(table.keys))
    landmarks = choose_landmarks(len(everything), seed_of("landmarks", seed))
    shown = [
        choose_references(rows if len(rows) else everything, seed_of("pictures", seed, fold))
        for fold, rows in enumerate(np.flatnonzero(table.folds == fold) for fold in range(FOLDS))
    ]
    reference_texts = [choose_references(everything, seed_of("texts", seed, fold)) for fold in range(FOLDS)]
    ridges, to_words = [], []
    for view in table.pictures:
        wanted: list[NDArray[Any]] = [table.texts] if words is None else [table.texts, words]
        to_text, *to_word = fit_ridge(view, wanted, table.folds, mask, FOLDS, landmarks)
        (to_picture,) = fit_ridge(texts, [view], table.folds, mask, FOLDS, landmarks)
        references = tuple(
            ScoreReferences(view[rows], texts[others]) for rows, others in zip(shown, reference_texts)
        )
        ridges.append(TwoWayRidge(to_text, to_picture, references))
        to_words += to_word
    return tuple(ridges), tuple(to_words)


def _unit(rows: Floats) -> Floats:
    return (rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-6)).astype(np.float32)


def _parts(
    table: TrainingTable, ridges: tuple[TwoWayRidge, ...], pictures: NDArray[np.int64], texts: NDArray[np.int64], fold: int
) -> NDArray[np.float64]:  # fmt: skip
    """Scores [2G n] of rows' pictures with rows' texts, by each view in both directions."""
    blocks = []
    for start in range(0, len(pictures), CHUNK):
        rows, others = pictures[start : start + CHUNK], texts[start : start + CHUNK]
        words, owner = _unit(table.texts[others]), np.arange(len(rows))
        scores = [ridge.scores(view[rows], words, owner, fold) for ridge, view in zip(ridges, table.pictures)]
        blocks.append(np.stack([each for both in scores for each in both]))
    return np.concatenate(blocks, 1) if blocks else np.zeros((2 * len(ridges), 0))


def _own_scores(table: TrainingTable, ridges: tuple[TwoWayRidge, ...], weights: NDArray[np.float64]) -> NDArray[np.float64]:  # fmt: skip
    """The score [N] of every row with its own texts."""
    scores = np.zeros(len(table.keys))
    for fold in range(FOLDS):
        rows = np.flatnonzero(table.folds == fold)
        scores[rows] = weights[fold] @ _parts(table, ridges, rows, rows, fold)
    return scores


def _combine(
    table: TrainingTable, ridges: tuple[TwoWayRidge, ...], seed: int, more: RowScores | None = None
) -> NDArray[np.float64]:
    """Weights [K 2G] of the parts: for each fold logistic regression of own pairs against planted ones of the others. more:
    scores of a further part, which has the last column."""
    own: list[NDArray[np.float64]] = []
    planted: list[NDArray[np.float64]] = []
    cells = table.folds if more is None else table.groups
    for fold in range(FOLDS):
        rows = np.flatnonzero(table.folds == fold)
        chosen = choose_references(rows, seed_of("combine", seed, fold), SAMPLE // FOLDS)
        other = chosen.copy()
        for cell in np.unique(
            cells[chosen]
        ):  # a planted text is of the same cell, whose texts no part has learnt
            inside = cells[chosen] == cell
            other[inside] = _others(
                chosen[inside], np.flatnonzero(cells == cell), seed_of("planted", seed, int(cell))
            )
        for scores, texts in ((own, chosen), (planted, other)):
            parts = [_parts(table, ridges, chosen, texts, fold)]
            scores.append(np.concatenate(parts + ([] if more is None else [more(chosen, texts)[None]])))
    weights = []
    for fold in range(FOLDS):
        rest = [other for other in range(FOLDS) if other != fold]
        good = np.concatenate([own[other] for other in rest], 1)
        bad = np.concatenate([planted[other] for other in rest], 1)
        weights.append(positive_weights(good.T, bad.T))
    return np.array(weights)


def _trained_scores(rows: Rows, table: TrainingTable, trained: TrainedPart) -> RowScores:
    """Scores of the trained part for rows of the table: their pictures with texts of other rows."""
    source = WholeSet(rows)

    def scores(pictures: NDArray[np.int64], texts: NDArray[np.int64]) -> NDArray[np.float64]:
        numbers = [table.rows[row] for row in pictures.tolist()]
        return trained.score(
            source, numbers, [table.examples[row] for row in texts.tolist()], table.groups[pictures]
        )

    return scores


@dataclass(frozen=True)
class WholeSet:
    """Picture source of an audited set: the audit's pixels, by row in the set."""

    rows: Rows

    def keys(self, rows: Sequence[int]) -> list[str]:
        keys = list(self.rows.column("image_key"))
        return [keys[row] for row in rows]

    def pixels(self, rows: Sequence[int], size: int) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
        return np.asarray(self.rows.pixels[list(rows)]), np.ones(len(rows), bool)

    def encoded(self, rows: Sequence[int]) -> Iterator[tuple[int, bytes]]:
        raise NotImplementedError("the trained part reads pixels alone")


def _others(chosen: NDArray[np.int64], rows: NDArray[np.int64], seed: int) -> NDArray[np.int64]:
    """Another row of the same fold for each of the chosen ones."""
    if len(rows) < 2:
        return chosen
    steps = np.random.default_rng(seed).integers(1, len(rows), len(chosen))
    return rows[(np.searchsorted(rows, chosen) + steps) % len(rows)]
