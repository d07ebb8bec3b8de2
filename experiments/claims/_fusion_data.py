"""What fusion encoders learn and are asked on the drawn world: scenes as a detector, a camera or a codebook shows them, captions,
questions and statements about them, and the closed form that sees no picture.

M scenes, R regions, S sides of a picture.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch

from pairloom.data.feed import CodeFeed, RegionFeed
from pairloom.data.loader import Drawn
from pairloom.data.order import Rows
from pairloom.data.records import Codes
from pairloom.data.regions import collate_regions
from pairloom.model import Model
from pairloom.world import Scene, World, draw
from pairloom.world.ask import DrawnQuestion, questions
from pairloom.world.claim import is_true
from pairloom.world.level import COLOURS, KINDS
from pairloom.world.negatives import SWAPS, negative
from pairloom.world.read import parse
from pairloom.world.regions import detect
from pairloom.world.scene import turn_of

STYLE = "terse"  # says nothing of the place, which no region shows
CLIPS = 4  # visual words of a scene: its things by turns
VISUAL_WORDS = len(KINDS) * len(COLOURS)
LEVELS = 4  # of each colour in the hand-made codebook of patches, which has LEVELS ** 3 codes
SHARES = {"mismatch": 0.7, "wrong_attribute": 0.3}  # noise in good English, as in the other claims


@dataclass(frozen=True)
class Scenes:
    """Drawn scenes, each with its caption, which is wrong for a share of them where the world is noisy."""

    scenes: tuple[Scene, ...]
    texts: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.scenes)


@lru_cache(maxsize=8)
def scenes(count: int, seed: int, noise: float = 0.0) -> Scenes:
    """The scenes of a simple world and their terse captions, a share `noise` of them wrong."""
    rows = list(World(count, seed, "simple", 32, (STYLE,), noise, SHARES).rows())
    return Scenes(tuple(row.scene for row in rows), tuple(row.text for row in rows))


# -- what a model is shown ---------------------------------------------------------------------------------------------


def shown(model: Model, drawn: Scenes, noise: float) -> dict[str, Any]:
    """The fields of a batch that show M scenes as the model reads them: `regions` or `codes` of a detector of that noise, or
    `images` [M 1 3 S S] with the codes of their patches."""
    if isinstance(model.feed, RegionFeed):
        return {"regions": collate_regions([[detect(scene, noise)] for scene in drawn.scenes], model.feed)}
    if isinstance(model.feed, CodeFeed):
        ids = torch.tensor([visual_words(scene, noise) for scene in drawn.scenes])
        return {"codes": Codes(ids, torch.ones_like(ids, dtype=torch.bool))}
    pixels = np.stack([draw(scene, model.pixels.size) for scene in drawn.scenes])
    fields: dict[str, Any] = {"images": torch.from_numpy(model.pixels.normalise(pixels))[:, None]}
    if hasattr(model.config, "codes"):
        ids = torch.from_numpy(patch_codes(pixels, model.config.patch))
        fields["codes"] = Codes(ids, torch.ones_like(ids, dtype=torch.bool))
    return fields


def visual_words(scene: Scene, noise: float) -> list[int]:
    """Visual words of a scene: the kind and the colour of what the detector saw, by turns."""
    features = detect(scene, noise).features
    kinds, colours = features[:, : len(KINDS)], features[:, len(KINDS) : len(KINDS) + len(COLOURS)]
    words = (kinds.argmax(1) * len(COLOURS) + colours.argmax(1)).tolist()
    return [int(words[clip % len(words)]) for clip in range(CLIPS)]


def patch_codes(pixels: np.ndarray, patch: int) -> np.ndarray:
    """Codes [M P] of the patches of pictures [M S S 3]: the mean colour in LEVELS steps of red, green and blue."""
    count, side = len(pixels), pixels.shape[1] // patch
    means = pixels.reshape(count, side, patch, side, patch, 3).mean((2, 4)).reshape(count, -1, 3)
    steps = np.minimum(means * LEVELS // 256, LEVELS - 1).astype(np.int64)
    return steps @ np.array([LEVELS**2, LEVELS, 1])


@dataclass(frozen=True)
class SceneColumn:
    """The scenes of the rows of a batch, as the model reads them. fields: of M scenes; of: the scene of each row."""

    fields: Mapping[str, Any]
    of: Rows
    chances: int = 0

    def identity(self) -> str:
        return repr((sorted(self.fields), self.of.tolist()))

    def read(self, drawn: Drawn) -> tuple[Mapping[str, Any], Rows | None]:
        rows = torch.from_numpy(self.of[drawn.here(drawn.rows)])
        return {name: value[rows] for name, value in self.fields.items()}, None


# -- what a model is asked ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Exercise:
    """Texts about scenes. of: the scene of each; labels: whether it is true, or the place of the answer in `answers`."""

    texts: tuple[str, ...]
    of: Rows
    labels: Rows
    answers: tuple[str, ...] = ()


def statements(drawn: Scenes) -> Exercise:
    """The true caption of each scene, and the same with one fact made false, scene after scene."""
    rows = [(text, at, int(true)) for at, scene in enumerate(drawn.scenes) for text, true in _both(scene)]
    texts, of, labels = zip(*rows)
    return Exercise(texts, np.array(of), np.array(labels))


def _both(scene: Scene) -> list[tuple[str, bool]]:
    for swap in turn_of(scene.seed, "fusion").shuffle(list(SWAPS)):
        bent = negative(scene, swap, STYLE)
        if bent is not None:
            return [(bent.caption, True), (bent.negative, False)]
    raise ValueError("every caption of a simple world has a fact that can be made false")


def pick_questions(drawn: Scenes, each: int) -> list[tuple[int, DrawnQuestion]]:
    """`each` questions about every scene, none of them about the place."""
    return [
        (at, question)
        for at, scene in enumerate(drawn.scenes)
        for question in [one for one in questions(scene) if one.sort != "place"][:each]
    ]


def with_answers(rows: Sequence[tuple[int, DrawnQuestion]], answers: Sequence[str] = ()) -> Exercise:
    """Questions with the place of each answer in a list: `answers`, or all that there are here."""
    answers = tuple(answers) or tuple(sorted({one.answer for _, one in rows}))
    texts, of = tuple(one.question for _, one in rows), np.array([at for at, _ in rows])
    return Exercise(texts, of, np.array([answers.index(one.answer) for _, one in rows]), answers)


def others(drawn: Scenes) -> list[int]:
    """For each caption the next scene that it is not true of."""
    claims, count = [parse(text) for text in drawn.texts], len(drawn)
    return [
        next(at % count for at in range(own + 1, own + count) if not is_true(claim, drawn.scenes[at % count]))
        for own, claim in enumerate(claims)
    ]


class TextAlone:
    """The closed form that sees no picture: multinomial naive Bayes of words and pairs of neighbours, with a count of 1 more."""

    def __init__(self, exercise: Exercise) -> None:
        self.classes = sorted(set(exercise.labels.tolist()))
        self.counts: dict[int, Counter[str]] = {label: Counter() for label in self.classes}
        for text, label in zip(exercise.texts, exercise.labels.tolist()):
            self.counts[label].update(_terms(text))
        self.kinds = len(set().union(*self.counts.values()))
        prior = Counter(exercise.labels.tolist())
        self.prior = {label: np.log(prior[label]) for label in self.classes}

    def scores(self, text: str) -> dict[int, float]:
        """The log of each class's posterior, up to a constant."""
        return {
            label: self.prior[label]
            + sum(np.log((seen[term] + 1) / (seen.total() + self.kinds)) for term in _terms(text))
            for label, seen in self.counts.items()
        }

    def best(self, text: str) -> int:
        """The most probable class."""
        each = self.scores(text)
        return max(each, key=each.__getitem__)

    def choose(self, text: str, choices: Sequence[str], answers: Sequence[str]) -> str:
        """The most probable of some answers."""
        each = self.scores(text)
        return max(
            choices, key=lambda one: each.get(answers.index(one), -np.inf) if one in answers else -np.inf
        )


def _terms(text: str) -> list[str]:
    words = text.lower().strip("?.").split()
    return [*words, *(f"{a} {b}" for a, b in zip(words, words[1:]))]
