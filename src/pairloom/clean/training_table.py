"""Features of a set's rows, as the judge `self` is fitted to them, and the groups of near duplicates that share a fold.

Does not know: regression, scores, decisions.

N rows with texts, G views of a picture, D features of a picture, E of a text, V words of the lexicon.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pairloom.clean.duplicates import first_copies
from pairloom.clean.feature_store import DONORS, StoredFeatures, part_of, read_encoded
from pairloom.clean.folds import GROUPS, fold_of
from pairloom.clean.rows import LEARN, Rows, read_descriptors, read_donors, read_part
from pairloom.data.pair import seed_of
from pairloom.regression.features import AXES, Encoders, FeatureSpace, Raw, apart, mean_texts
from pairloom.regression.lexicon import Lexicon
from pairloom.regression.ridge import Floats, choose_references

FOLDS = 5
SAMPLE = 8192  # pictures that the space is learnt from
FEWER = 256  # axes of each kind of hand-made features, where it is a view by itself


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
    return mean_texts(space.texts(distinct, np.stack([known[text] for text in distinct])), distinct, learnt)


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
    views, most = apart(encoders.widths), FEWER if encoders.image_tower is None else AXES
    return FeatureSpace.learn(views, np.concatenate(raw), donors, sentences, seed, most)


def near_duplicate_groups(rows: Rows) -> dict[str, int]:
    """Groups (see `folds.GROUPS`) of the pictures that are copies of another, where it is not the one of their own hash."""
    keys = list(rows.column("image_key"))
    first = first_copies(read_descriptors(rows))
    leads: dict[int, str] = {}  # the least key of the pictures that are copies of each other
    for row, root in enumerate(first.tolist()):
        leads[root] = min(keys[row], leads.get(root, keys[row]))
    groups = {key: fold_of(leads[root], GROUPS) for key, root in zip(keys, first.tolist())}
    return {key: group for key, group in groups.items() if group != fold_of(key, GROUPS)}
