"""Fast binding (Tsimpoukelli et al., 2021): pages on which each colour has an invented name that holds on this page alone, so
that a model must learn the names from the page ("<image> dax <|endofchunk|> <image> wug <|endofchunk|> ...").

Each picture has one thing of the drawn world. `TextPages` are such pages without pictures ("red dax . blue wug . red dax .");
`Pages` and `Pairs` have pictures; `questions` ask for the name of one more picture.
Does not know: systems.

M pictures, B rows, T tokens, N pictures of a row.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pairloom.data.batch import Batch, Texts
from pairloom.data.order import Plan
from pairloom.data.pair import seed_of
from pairloom.data.tokens import Tokens
from pairloom.world.documents import new_words
from pairloom.world.draw import draw
from pairloom.world.layout import sample
from pairloom.world.level import LEVELS
from pairloom.world.scene import Scene, Turn

Numbers = NDArray[np.int64]
COLOURS = LEVELS["simple"].colours
WAYS = 4  # colours of a page, and so names
WORDS = 32  # invented words in total
STOP = "."
SHORT = 3  # entries of the first pages
ENDLESS = 1 << 30  # steps of an epoch, each with new pages


@dataclass(frozen=True)
class Scenes:
    """Pictures of one thing each: pixels uint8 [M S S 3], index of its colour [M], captions such as "red ball"."""

    pixels: NDArray[np.uint8]
    colour: Numbers
    captions: list[str]

    @property
    def of_colour(self) -> list[Numbers]:
        return [np.flatnonzero(self.colour == at) for at in range(len(COLOURS))]


def scenes(count: int, seed: int, size: int) -> Scenes:
    singles: list[Scene] = []
    at = 0
    while len(singles) < count:
        scene = sample(seed_of("new words", seed, at), "simple")
        singles += [scene] if len(scene.things) == 1 else []
        at += 1
    things = [scene.things[0] for scene in singles]
    return Scenes(
        np.stack([draw(scene, size) for scene in singles]),
        np.array([COLOURS.index(thing.colour) for thing in things]),
        [f"{thing.colour} {thing.kind}" for thing in things],
    )


@dataclass(frozen=True)
class Lexicon:
    """Vocabulary of the pages. colour [8], word [WORDS]: the token id of each colour and of each invented word; stop: that of
    the full stop."""

    tokens: Tokens
    words: list[str]
    colour: Numbers
    word: Numbers
    stop: int

    @classmethod
    def of(cls, seed: int) -> Lexicon:
        words = new_words(WORDS, Turn(seed))
        tokens = Tokens.train([" ".join((*COLOURS, *words, STOP))] * 2, 400).with_roles("end", "image")
        rows = tokens.bare([*COLOURS, *words, STOP])
        if any(len(row) != 1 for row in rows):
            raise ValueError("every word of this world must be one token")
        ids = np.array(rows)[:, 0]
        return cls(tokens, words, ids[: len(COLOURS)], ids[len(COLOURS) : -1], int(ids[-1]))


def drawn(generator: np.random.Generator, rows: int, length: int, ways: int) -> tuple[Numbers, Numbers]:
    """Random entries of pages [B length]: the colour and its invented word, which are paired anew in every row."""
    which = generator.integers(ways, size=(rows, length))
    colours, words = (
        np.argsort(generator.random((rows, count)), 1)[:, :ways] for count in (len(COLOURS), WORDS)
    )
    return np.take_along_axis(colours, which, 1), np.take_along_axis(words, which, 1)


def again(words: Numbers) -> NDArray[np.bool_]:
    """Whether a word has occurred on its page before [B length]."""
    same = words[:, :, None] == words[:, None, :]
    return (same & np.tri(words.shape[1], k=-1, dtype=bool)).any(2)


def _rows(lexicon: Lexicon, triples: list[Numbers | int], scored: NDArray[np.bool_]) -> Batch:
    """Batch of texts: [CLS] and triples of tokens. scored [B length]: the triples whose second token is in the loss."""
    size = scored.shape
    body = np.stack([np.broadcast_to(part, size) for part in triples], 2).reshape(size[0], -1)
    tokens = torch.from_numpy(np.concatenate([np.full((size[0], 1), lexicon.tokens.cls), body], 1))
    mask = torch.zeros_like(tokens, dtype=torch.bool)
    mask[:, 2::3] = torch.from_numpy(scored)
    return Batch(texts=Texts(tokens, mask))


class _Endless(ABC):
    """Endless batches: each step has its own, from the seed of the plan and the number of the step."""

    def steps(self, plan: Plan) -> int:
        return ENDLESS

    def identity(self) -> str:
        return type(self).__name__

    def read(self, plan: Plan, epoch: int, step: int = 0) -> Iterator[list[Batch]]:
        for at in range(step, ENDLESS):
            generator = np.random.default_rng(seed_of(self.identity(), plan.seed, epoch, at))
            yield [self.batch(generator, plan.batch, at)]

    @abstractmethod
    def batch(self, generator: np.random.Generator, rows: int, at: int) -> Batch: ...


def grown(at: int, total: int, most: int) -> int:
    """Curriculum: entries of the pages at step `at`, SHORT at first, growing to `most` from 0.35 to 0.8 of the steps. On pages
    of three entries a language model of two layers learns the rule (find the colour, copy the word after it) in hundreds of
    steps; on long pages, where every word of the page is often right, it does not in thousands."""
    return SHORT + round((most - SHORT) * min(1.0, max(0.0, (at / total - 0.35) / 0.45)))


def ways(length: int) -> int:
    """Number of colours of a page with `length` entries, small enough that colours are repeated."""
    return min(WAYS, (length + 1) // 2)


@dataclass(frozen=True)
class TextPages(_Endless):
    """Pages of texts: colour, word, stop, up to `longest` times. Only words that have occurred before are in the loss. A step
    has `batch` rows of `longest` entries, or proportionally more shorter rows."""

    lexicon: Lexicon
    longest: int
    total: int

    def batch(self, generator: np.random.Generator, rows: int, at: int) -> Batch:
        length, lexicon = grown(at, self.total, self.longest), self.lexicon
        colours, words = drawn(generator, rows * self.longest // length, length, ways(length))
        return _rows(lexicon, [lexicon.colour[colours], lexicon.word[words], lexicon.stop], again(words))


@dataclass(frozen=True)
class Pages(_Endless):
    """Pages with pictures: picture and word, up to `pictures` times, as in TextPages. images [M 3 S S]: the normalised pictures
    of the scenes."""

    lexicon: Lexicon
    scenes: Scenes
    images: Tensor
    pictures: int
    total: int

    def batch(self, generator: np.random.Generator, rows: int, at: int) -> Batch:
        length = grown(at, self.total, self.pictures)
        colours, words = drawn(generator, rows * self.pictures // length, length, ways(length))
        return self._shown(generator, colours, self.lexicon.word[words], again(words))

    def _shown(
        self, generator: np.random.Generator, colours: Numbers, names: Numbers, scored: NDArray[np.bool_]
    ) -> Batch:
        """Pages with a picture of each colour and its name."""
        tokens = self.lexicon.tokens
        pages = _rows(self.lexicon, [tokens.id("image"), names, tokens.id("end")], scored)
        return replace(pages, images=self.images[torch.from_numpy(pictured(generator, self.scenes, colours))])


class Pairs(Pages):
    """Image-text pairs: pages of one picture and the usual name of its colour."""

    def batch(self, generator: np.random.Generator, rows: int, at: int) -> Batch:
        colours = generator.integers(len(COLOURS), size=(rows, 1))
        return self._shown(generator, colours, self.lexicon.colour[colours], np.ones_like(colours, bool))


def pictured(generator: np.random.Generator, scenes: Scenes, colours: Numbers) -> Numbers:
    """Indices of random pictures with these colours."""
    of, chance = scenes.of_colour, generator.random(colours.shape)
    picks = [of[colour][int(at * len(of[colour]))] for colour, at in zip(colours.flat, chance.flat)]
    return np.array(picks).reshape(colours.shape)


@dataclass(frozen=True)
class Question:
    """A question: pictures and words of the examples, and picture and word of the query. blind: two words without a meaning on
    this page, which show the format of an answer where there are no examples."""

    pictures: list[int]
    words: list[str]
    picture: int
    word: str
    blind: list[str]


def questions(scenes: Scenes, lexicon: Lexicon, count: int, shots: int, seed: int) -> list[Question]:
    generator = np.random.default_rng(seed_of("questions", seed))
    colours, words = drawn(generator, count, shots + 1, WAYS)
    shows = pictured(generator, scenes, colours)
    asks = []
    for row, show in zip(words, shows.tolist()):
        names = [lexicon.words[word] for word in row]
        others = [word for word in lexicon.words if word not in names][:2]
        asks.append(Question(show[:-1], names[:-1], show[-1], names[-1], others))
    return asks
