"""New words: pages that call each colour by a word that means nothing elsewhere, for models that have to learn from the page
("<image> dax <|endofchunk|> <image> wug <|endofchunk|> ...", Tsimpoukelli et al., 2021: fast binding).

Pictures show one thing of the drawn world. `TextPages` are the same lesson without pictures ("red dax . blue wug . red dax .");
`Pages` and `Pairs` show the pictures; `questions` ask for the word of one picture more.
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
WAYS = 4  # colours of a page, and so words
WORDS = 32  # new words in all
STOP = "."
SHORT = 3  # entries of the first pages
ENDLESS = 1 << 30  # steps: every one its own pages


@dataclass(frozen=True)
class Scenes:
    """Pictures of one thing each, uint8 [M S S 3]; the numbers of its colour [M]; captions, "red ball"."""

    pixels: NDArray[np.uint8]
    colour: Numbers
    captions: list[str]

    @property
    def of_colour(self) -> list[Numbers]:
        return [np.flatnonzero(self.colour == at) for at in range(len(COLOURS))]


def scenes(count: int, seed: int, size: int) -> Scenes:
    made: list[Scene] = []
    at = 0
    while len(made) < count:
        scene = sample(seed_of("new words", seed, at), "simple")
        made += [scene] if len(scene.things) == 1 else []
        at += 1
    things = [scene.things[0] for scene in made]
    return Scenes(
        np.stack([draw(scene, size) for scene in made]),
        np.array([COLOURS.index(thing.colour) for thing in things]),
        [f"{thing.colour} {thing.kind}" for thing in things],
    )


@dataclass(frozen=True)
class Lexicon:
    """colours [8], words [WORDS]: the one token of each; stop: of the full stop."""

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
            raise ValueError("every word of this world is to be one token")
        ids = np.array(rows)[:, 0]
        return cls(tokens, words, ids[: len(COLOURS)], ids[len(COLOURS) : -1], int(ids[-1]))


def drawn(generator: np.random.Generator, rows: int, length: int, ways: int) -> tuple[Numbers, Numbers]:
    """Of every row's entries [B length]: the colour and the new word, paired anew in every row."""
    which = generator.integers(ways, size=(rows, length))
    colours, words = (
        np.argsort(generator.random((rows, count)), 1)[:, :ways] for count in (len(COLOURS), WORDS)
    )
    return np.take_along_axis(colours, which, 1), np.take_along_axis(words, which, 1)


def again(words: Numbers) -> NDArray[np.bool_]:
    """[B length] whether the page has told the word before."""
    same = words[:, :, None] == words[:, None, :]
    return (same & np.tri(words.shape[1], k=-1, dtype=bool)).any(2)


def _rows(lexicon: Lexicon, triples: list[Numbers | int], told: NDArray[np.bool_]) -> Batch:
    """Rows of [CLS] and triples, of which the second is scored where `told` [B length] says."""
    size = told.shape
    body = np.stack([np.broadcast_to(part, size) for part in triples], 2).reshape(size[0], -1)
    tokens = torch.from_numpy(np.concatenate([np.full((size[0], 1), lexicon.tokens.cls), body], 1))
    keep = torch.zeros_like(tokens, dtype=torch.bool)
    keep[:, 2::3] = torch.from_numpy(told)
    return Batch(texts=Texts(tokens, keep))


class _Endless(ABC):
    """Every step its own batch, from the seed of the plan and the number of the step."""

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
    """Entries of the pages at step `at`: SHORT at first, growing to `most` from 0.35 to 0.8 of the steps. On pages of three
    a language model of two layers finds the rule (look for the colour, say what came after it) in hundreds of steps; on
    long ones, where every word of the page is half right, not in thousands."""
    return SHORT + round((most - SHORT) * min(1.0, max(0.0, (at / total - 0.35) / 0.45)))


def ways(length: int) -> int:
    """Colours of a page of so many entries: few enough to come again."""
    return min(WAYS, (length + 1) // 2)


@dataclass(frozen=True)
class TextPages(_Endless):
    """Colour, word, stop, up to `longest` times; only words that the page has told are scored. A step has `batch` rows of
    `longest` entries, or as many more as they are shorter."""

    lexicon: Lexicon
    longest: int
    total: int

    def batch(self, generator: np.random.Generator, rows: int, at: int) -> Batch:
        length, told = grown(at, self.total, self.longest), self.lexicon
        colours, words = drawn(generator, rows * self.longest // length, length, ways(length))
        return _rows(told, [told.colour[colours], told.word[words], told.stop], again(words))


@dataclass(frozen=True)
class Pages(_Endless):
    """Picture and new word, up to `pictures` times, as TextPages. images [M 3 S S]: as a model sees those of the scenes."""

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
        self, generator: np.random.Generator, colours: Numbers, said: Numbers, told: NDArray[np.bool_]
    ) -> Batch:
        """Pages of a picture of each colour and what is said of it."""
        tokens = self.lexicon.tokens
        pages = _rows(self.lexicon, [tokens.id("image"), said, tokens.id("end")], told)
        return replace(pages, images=self.images[torch.from_numpy(pictured(generator, self.scenes, colours))])


class Pairs(Pages):
    """Pages of one picture and the name of its colour: pairs, and no new word."""

    def batch(self, generator: np.random.Generator, rows: int, at: int) -> Batch:
        colours = generator.integers(len(COLOURS), size=(rows, 1))
        return self._shown(generator, colours, self.lexicon.colour[colours], np.ones_like(colours, bool))


def pictured(generator: np.random.Generator, given: Scenes, colours: Numbers) -> Numbers:
    """A picture of each of these colours."""
    of, chance = given.of_colour, generator.random(colours.shape)
    picks = [of[colour][int(at * len(of[colour]))] for colour, at in zip(colours.flat, chance.flat)]
    return np.array(picks).reshape(colours.shape)


@dataclass(frozen=True)
class Question:
    """The pictures and words of a page's examples, and of the picture that is asked about; blind: two words that mean nothing
    on this page, which tell the form of an answer where there are no examples."""

    pictures: list[int]
    words: list[str]
    picture: int
    word: str
    blind: list[str]


def questions(given: Scenes, lexicon: Lexicon, count: int, shots: int, seed: int) -> list[Question]:
    generator = np.random.default_rng(seed_of("questions", seed))
    colours, words = drawn(generator, count, shots + 1, WAYS)
    shows = pictured(generator, given, colours)
    made = []
    for row, show in zip(words, shows.tolist()):
        said = [lexicon.words[word] for word in row]
        others = [word for word in lexicon.words if word not in said][:2]
        made.append(Question(show[:-1], said[:-1], show[-1], said[-1], others))
    return made
