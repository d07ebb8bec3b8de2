"""Parser of texts about the drawn world: which facts does a text state, and are they true of a scene? It scores captions that
a model wrote.

It reads any string. Words outside the world's English are skipped; ungrammatical text gives the facts that can be read.
Does not know: pixels, negation ("not a ball" reads as a ball), other languages.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from pairloom.world.claim import Claim, Link, Mention, Stated, check
from pairloom.world.lexicon import (
    ATTRIBUTE_WORDS,
    KIND_WORDS,
    NUMBERS,
    PATTERN_TAILS,
    PLACE_WORDS,
    RELATION_WORDS,
    plural,
)
from pairloom.world.scene import Scene
from pairloom.world.words import _agree

LONGEST_TEXT = 2000  # characters; beyond that a text is cut before it is read
_TOKEN = re.compile(r"[a-z]+|\d|[.;!?]")
_STOPS = frozenset(".;!?")
_COPULA = frozenset(("is", "are", "was", "were"))


@dataclass(frozen=True)
class CaptionReading:
    """The facts of a text with their truth. right: there is at least one fact, and all are true."""

    stated: tuple[Stated, ...]
    right: bool


def read(text: str, scene: Scene) -> CaptionReading:
    """Parse a text, and check each of its facts against a scene."""
    stated = check(parse(text), scene)
    return CaptionReading(stated, bool(stated) and all(fact.true for fact in stated))


def _lexicon() -> dict[tuple[str, ...], tuple[str, ...]]:
    """Meanings of token sequences: (sort, value) or (sort, value, flag)."""
    known: dict[tuple[str, ...], tuple[str, ...]] = {}
    for kind, words in KIND_WORDS.items():
        for word in words:
            known[(plural(word),)] = ("kind", kind, "many")
            known[(word,)] = ("kind", kind, "")
    for sort, values in ATTRIBUTE_WORDS.items():
        for value, words in values.items():
            known |= {(word,): ("attribute", sort, value) for word in words}
    for value, tails in PATTERN_TAILS.items():
        known |= {tuple(tail.split()): ("tail", "pattern", value) for tail in tails}
    known |= {(word,): ("number", str(number)) for number, word in NUMBERS.items()}
    known |= {(str(number),): ("number", str(number)) for number in NUMBERS}
    for name, (bare, finite, inverse, finite_inverse) in RELATION_WORDS.items():
        for phrases, side in ((bare + finite, ""), (inverse + finite_inverse, "turned")):
            for phrase in phrases:
                for form in (phrase, _agree(phrase)):
                    tokens = tuple(token for token in form.split() if token not in _COPULA)
                    known[tokens] = ("relation", name, side)
    for place, phrases in PLACE_WORDS.items():
        for phrase in phrases:
            for form in (phrase, phrase.replace(" a ", " the "), phrase.replace(" the ", " a ")):
                known[tuple(form.split())] = ("place", place)
    known |= {
        (place,): ("place", place)
        for place in ("meadow", "beach", "desert", "snow", "night", "room", "underwater")
    }
    known[("underwater",)] = ("place", "sea")
    known |= {(word,): ("kind", "", "") for word in ("thing", "something", "things", "one")}
    known[("one",)] = ("number", "1")
    known |= {("the",): ("the",), ("it",): ("it",)}
    return known


_LEXICON = _lexicon()
_LONGEST = max(map(len, _LEXICON))


@dataclass
class _Reader:
    """The parser's state while it goes through the words once. `open` holds adjectives whose noun has not come yet."""

    mentions: list[Mention] = field(default_factory=list)
    links: list[Link] = field(default_factory=list)
    place: str = ""
    places: set[str] = field(default_factory=set)
    open: list[tuple[str, str]] = field(default_factory=list)
    number: int | None = None
    definite: bool = False
    copula: bool = False
    last: int | None = None  # the mention before, in this sentence
    waiting: list[tuple[str, bool, int | None]] = field(
        default_factory=list
    )  # relations without their second end

    def stop(self) -> None:
        self.settle()
        self.last, self.waiting, self.definite, self.copula = None, [], False, False

    def settle(self) -> None:
        """Attach adjectives without a noun: after "is" to the thing before, otherwise to a new "something"."""
        if self.open:
            if self.copula and self.last is not None:
                self.describe(self.last, self.open)
            else:
                self.mention(None)
        self.open, self.number = [], None

    def describe(self, index: int, attributes: list[tuple[str, str]]) -> None:
        old = self.mentions[index]
        self.mentions[index] = Mention(
            old.kind, tuple(dict.fromkeys((*old.attributes, *attributes))), old.count
        )

    def mention(self, kind: str | None) -> None:
        attributes, number, definite = list(dict.fromkeys(self.open)), self.number, self.definite
        self.open, self.number, self.definite, self.copula = [], None, False, False
        index = self.earlier(kind, attributes, number) if definite else None
        if index is None:
            index = len(self.mentions)
            self.mentions.append(Mention(kind, tuple(attributes), number))
        else:
            self.describe(index, attributes)
        self.connect(index)
        self.last = index

    def earlier(self, kind: str | None, attributes: list[tuple[str, str]], number: int | None) -> int | None:
        """The earlier mention that "the ..." refers to: of the same kind, without a contradiction."""
        for index, old in enumerate(self.mentions):
            clash = any(
                sort == other and value != thing
                for sort, value in attributes
                for other, thing in old.attributes
            )
            if old.kind == kind and not clash and number in (None, old.count):
                return index
        return None

    def connect(self, index: int) -> None:
        """Add an end to a relation that lacks one: "A left of B", and "left of A is B"."""
        if not self.waiting:
            return
        name, turned, first = self.waiting.pop()
        if first is None:
            self.waiting.append((name, not turned, index))
        else:
            subject, object = (index, first) if turned else (first, index)
            self.links.append(Link(name, subject, object))

    def take(self, meaning: tuple[str, ...]) -> None:
        sort = meaning[0]
        if sort == "kind":
            self.mention(meaning[1] or None)
        elif sort == "attribute":
            self.open.append((meaning[1], meaning[2]))
        elif sort == "number":
            self.number = int(meaning[1])
        elif sort == "the":
            self.settle()
            self.definite = True
        elif sort == "it":
            self.settle()
            self.last = self.last if self.last is not None else (0 if self.mentions else None)
        elif sort == "tail":
            self.settle()
            if self.last is not None:
                self.describe(self.last, [(meaning[1], meaning[2])])
        elif sort == "place":
            self.settle()
            self.places.add(meaning[1])
        else:
            self.settle()
            self.waiting = [(meaning[1], meaning[2] == "turned", self.last)]


def parse(text: str) -> Claim:
    """Parse a text into its claim. It never fails; a text without facts gives an empty claim."""
    tokens = _TOKEN.findall(text[:LONGEST_TEXT].lower())
    reader = _Reader()
    at = 0
    while at < len(tokens):
        if tokens[at] in _STOPS:
            reader.stop()
            at += 1
            continue
        for length in range(min(_LONGEST, len(tokens) - at), 0, -1):
            meaning = _LEXICON.get(tuple(tokens[at : at + length]))
            if meaning is not None:
                reader.take(meaning)
                at += length
                break
        else:
            if tokens[at] in _COPULA:
                reader.settle()
                reader.copula = True
            at += 1
    reader.stop()
    links = tuple(dict.fromkeys(link for link in reader.links if link.subject != link.object))
    place = reader.places.pop() if len(reader.places) == 1 else "/".join(sorted(reader.places))
    return Claim(tuple(reader.mentions), links, place)
