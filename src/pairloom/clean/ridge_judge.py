"""Ridge judge: cross-fitted ridge regressions between picture and text features, combined into one score.

Does not know: how it was fitted, the audit's findings.

n requests (a picture and a text), K folds, D features of a picture, E of a text.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save

from pairloom.clean.calibrate import Calibration
from pairloom.clean.calibrated_judge import CalibratedJudge
from pairloom.clean.feature_store import StoredFeatures
from pairloom.clean.folds import GROUPS, fold_of
from pairloom.clean.judge_file import write_judge
from pairloom.clean.picture_source import Floats, PictureSource
from pairloom.clean.trained_part import TrainedPart
from pairloom.clean.writers import Writers
from pairloom.data.disk import atomic_write
from pairloom.data.pair import content_hash
from pairloom.regression.features import Encoders, FeatureSpace, Raw
from pairloom.regression.ridge import TwoWayRidge
from pairloom.regression.ridge_model import NAME, write_config
from pairloom.regression.stored import FILE, SPACE, ridge_tensors, ridges_in
from pairloom.regression.word_fit import WordFit
from pairloom.runtime.threads import one_thread

TRAINED = "trained"  # the name of the trained part, and its folder
WRITERS = "writers"  # the folder of its writers
HANDMADE = "hand-made"  # features beside those of a tower
KINDS = "colours", "gradients", "patches"  # of hand-made features, without a tower


@runtime_checkable
class Encoded(Protocol):
    """Interface of a picture source whose raw features were computed before."""

    def features(self, identity: str) -> StoredFeatures: ...


@dataclass(frozen=True)
class RidgeJudge(CalibratedJudge):
    """Judge by ridge regression. size: pixels a side of the pictures that hand-made features are computed from.

    ridges: for each view of the pictures. weights [K 2G]: of each view's two directions, for each fold, and
    in a last column of the trained part, where there is one. words: the fit of
    single words (None: the texts have too few that pictures tell); writers: whose ratios are evidence about them. moved: groups of near duplicates (see `folds.GROUPS`), which
    are in the fold of the first of them and not in that of their own hash.
    """

    encoders: Encoders
    space: FeatureSpace
    ridges: tuple[TwoWayRidge, ...]
    weights: NDArray[np.float64]
    words: WordFit | None
    moved: Mapping[str, int]
    trained: TrainedPart | None = None
    writers: Writers | None = None
    size: int = 64
    by: str = "ridge regression"
    name: str = "self"
    calibration: Calibration | None = None
    word_calibration: Calibration | None = None

    def fold_of(self, image_key: str) -> int:
        group = self._group(image_key)
        return group % len(self.weights) if self.trained is None else group

    def _group(self, image_key: str) -> int:
        return self.moved.get(image_key, fold_of(image_key, GROUPS))

    def calibrated(self, calibration: Calibration | None, words: Calibration | None = None) -> RidgeJudge:
        return replace(self, calibration=calibration, word_calibration=words)

    def score(self, pictures: PictureSource, rows: Sequence[int], texts: Sequence[str]) -> Floats:
        if not len(rows):
            return np.zeros(0)
        stored = pictures.features(self.encoders.identity) if isinstance(pictures, Encoded) else None
        distinct, owner = np.unique(np.asarray(rows), return_inverse=True)
        keys = pictures.keys(distinct.tolist())
        raw, readable = self._pictures(pictures, distinct.tolist(), stored)
        embedded = self.space.pictures(raw)
        words = sorted(set(texts))
        place = {text: at for at, text in enumerate(words)}
        sentences = self.space.texts(words, self._sentences(words, stored))
        of_text = np.array([place[text] for text in texts])
        groups = np.array([self._group(key) for key in keys])[owner]
        folds = groups % len(self.weights)
        scores = np.full(len(texts), -np.inf)
        with one_thread():
            for fold in range(len(self.weights)):
                at = np.flatnonzero(folds == fold)
                if len(at):
                    shown, mine = np.unique(owner[at], return_inverse=True)
                    wanted = sentences[of_text[at]]
                    parts = [
                        each
                        for ridge, view in zip(self.ridges, embedded)
                        for each in ridge.scores(view[shown], wanted, mine, fold)
                    ]
                    if self.trained is not None:
                        places = at.tolist()
                        chosen = [rows[place] for place in places], [texts[place] for place in places]
                        parts.append(self.trained.score(pictures, *chosen, groups[at]))
                    # part by part, so that a score depends on its own request alone, to the last bit
                    scores[at] = sum(weight * part for weight, part in zip(self.weights[fold], parts))
        return np.where(readable[owner], scores, -np.inf)

    @property
    def tells_words(self) -> bool:
        return self.words is not None

    def exchange(self, text: str, others: Sequence[str], seed: int) -> str | None:
        """The text with a word exchanged for another of its class that is in none of `others`; None where none can be."""
        if self.words is None:
            return None
        lexicon = self.words.lexicon
        edited = lexicon.edit(
            text, {place for other in others for place in lexicon.known(other)}, self.words.visible, seed
        )
        return None if edited is None else edited[0]

    def wrong_words(
        self, pictures: PictureSource, rows: Sequence[int], texts: Sequence[str]
    ) -> list[list[tuple[str, float]]]:
        """Log-odds that a word is wrong of its picture, for every word of n requests (row, text) that can be judged, the worst
        first; none where a picture cannot be read."""
        results: list[list[tuple[str, float]]] = [[] for _ in rows]
        if self.words is None or not results:
            return results
        stored = pictures.features(self.encoders.identity) if isinstance(pictures, Encoded) else None
        distinct, owner = np.unique(np.asarray(rows), return_inverse=True)
        raw, readable = self._pictures(pictures, distinct.tolist(), stored)
        groups = np.array([self._group(key) for key in pictures.keys(distinct.tolist())])
        folds = groups[owner] % len(self.weights)
        embedded = self.space.pictures(raw)
        ratios = None
        if self.writers is not None:
            ratios = self.writers.ratios(pictures, rows, texts, groups[owner], self.words.lexicon)
        with one_thread():
            for fold in range(len(self.weights)):
                at = np.flatnonzero((folds == fold) & readable[owner])
                if len(at):
                    shown, mine = np.unique(owner[at], return_inverse=True)
                    views = [view[shown] for view in embedded]
                    places = at.tolist()
                    written = None if ratios is None else [ratios[place] for place in places]
                    known = self.words.wrong(views, mine, [texts[place] for place in places], fold, written)
                    for place, words in zip(places, known):
                        results[place] = words
        return results

    def _pictures(
        self, pictures: PictureSource, rows: list[int], stored: StoredFeatures | None
    ) -> tuple[Raw, NDArray[np.bool_]]:
        """Raw features of rows, and which of them can be read."""
        raw = None if stored is None else stored.pictures(rows)
        if raw is not None:
            return raw, np.ones(len(rows), bool)
        pixels, readable = pictures.pixels(rows, self.size)

        def files() -> list[bytes | None]:
            encoded = dict(pictures.encoded(rows))
            return [encoded.get(row) for row in rows]

        return self.encoders.pictures(pixels, files), readable

    def _sentences(self, texts: Sequence[str], stored: StoredFeatures | None) -> Raw:
        """Raw features of texts, those that were computed before and new ones."""
        if self.encoders.text_tower is None or stored is None:
            return self.encoders.sentences(texts)
        known = stored.texts()
        missing = [text for text in texts if text not in known]
        known |= dict(zip(missing, self.encoders.sentences(missing)))
        return np.stack([known[text] for text in texts])

    # saving

    def save(self, folder: Path | str) -> Path:
        """Save the judge as a folder, which is also the folder of a model that embeds (`regression.ridge_model`): judge.json, its
        tensors, and the words. Towers are named, not copied."""
        folder = Path(folder)
        self.encoders.save(folder)
        self.space.save(folder, SPACE)
        with atomic_write(folder / FILE, replace=True) as file:
            file.write(save({name: tensor.contiguous() for name, tensor in self._tensors().items()}))
        facts = {
            "kind": NAME,
            "name": self.name,
            "by": self.by,
            "size": self.size,
            "folds": len(self.weights),
        }
        facts |= {
            "parts": self.parts(),
            "texts": self.encoders.text_tower or "words",
            "moved": dict(sorted(self.moved.items())),
            "words": None if self.words is None else list(self.words.lexicon.words),
            "trained": None if self.trained is None else TRAINED,
            "writers": None if self.writers is None else len(self.writers.folds),
            "word_calibration": None if self.word_calibration is None else self.word_calibration.to_dict(),
        }
        if self.trained is not None:
            self.trained.save(folder / TRAINED)
        if self.writers is not None:
            self.writers.save(folder / WRITERS)
        write_config(folder, self.size, {"judge": self.name})
        write_judge(folder, facts, self.calibration)
        return folder

    def parts(self) -> dict[str, float]:
        """What the score is a sum of, "features: direction", and the share of the weight, averaged over the folds."""
        shares = (self.weights / np.maximum(self.weights.sum(1, keepdims=True), 1e-12)).mean(0).tolist()
        tower = self.encoders.image_tower
        features = KINDS if tower is None else (HANDMADE, tower)
        names = [f"{one}: {way}" for one in features for way in ("picture to text", "text to picture")]
        return dict(zip([*names, TRAINED], shares))

    def _tensors(self) -> dict[str, torch.Tensor]:
        words = {} if self.words is None else self.words.tensors()
        named = {f"words.{name}": tensor for name, tensor in words.items()}
        return {"weights": torch.from_numpy(self.weights), **ridge_tensors(self.ridges), **named}

    @classmethod
    def load(cls, folder: Path, facts: Mapping[str, Any], calibration: Calibration | None, device: str) -> RidgeJudge:  # fmt: skip
        """The inverse of `save`. facts: the content of judge.json."""
        tensors = load_file(folder / FILE)
        space = FeatureSpace.load(folder, SPACE)
        ridges, words = ridges_in(tensors, len(space.axes)), None
        if facts["words"] is not None:
            named = {name[6:]: tensor for name, tensor in tensors.items() if name.startswith("words.")}
            words = WordFit.of(named, facts["words"], tuple(both.to_text for both in ridges))
        trained = None
        if facts["trained"] is not None:
            trained = TrainedPart.load(folder / facts["trained"], facts["size"], device)
        writers = None
        if facts["writers"] is not None:
            writers = Writers.load(folder / WRITERS, facts["size"], facts["writers"], device)
        return cls(
            Encoders.load(folder, device), space, ridges, tensors["weights"].numpy(), words, facts["moved"], trained, writers,
            facts["size"], facts["by"], facts["name"], calibration,
        )  # fmt: skip

    @cached_property
    def identity(self) -> str:
        parts = [self.encoders.identity.encode(), f"{self.size} {sorted(self.moved.items())}".encode()]
        parts += [array.tobytes() for array in (self.space.means, self.space.text_mean, *self.space.axes)]
        parts += [
            self.space.words.json.encode(),
            b"" if self.words is None else self.words.lexicon.json.encode(),
        ]
        for part in (self.trained, self.writers):
            parts += [] if part is None else part.parts()
        return content_hash(*parts, *(tensor.numpy().tobytes() for tensor in self._tensors().values()))
