"""Phrases that most texts of a set begin or end with: "photo of sks dog", "- stock photo", the name of a site. They say nothing of a
single picture, and a repair takes them away.

Does not know: files of a set, faults.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property

SHARE = 0.5  # of the distinct texts, that a phrase needs more than
LEAST = 20  # distinct texts
LONGEST = 12  # words of a phrase
_TOKEN = re.compile(r"\S+")
_SEPARATORS = frozenset("- – — | / : · • » ~".split())
_ARTICLES = frozenset("a an the".split())  # they belong to what follows


@dataclass(frozen=True)
class SharedPhrases:
    """The phrases that most texts begin and end with, as lower-case words; empty where there are none."""

    prefix: tuple[str, ...] = ()
    suffix: tuple[str, ...] = ()

    @classmethod
    def learn(cls, texts: Sequence[str]) -> SharedPhrases:
        """Learn the phrases from texts of the set; copies of a text count once."""
        rows = [tuple(words.split()) for words in sorted({text.lower() for text in texts})]
        if len(rows) < LEAST:
            return cls()
        prefix = _shared(rows)
        while prefix and prefix[-1] in _ARTICLES:
            prefix = prefix[:-1]
        suffix = _shared([row[::-1] for row in rows])[::-1]
        return cls(prefix if _is_phrase(prefix) else (), suffix if _is_phrase(suffix) else ())

    def __bool__(self) -> bool:
        return bool(self.prefix or self.suffix)

    def strip(self, text: str) -> str:
        """The text without the phrases; the same where it has none, or nothing would be left."""
        begin, end = self._span(text)
        rest = text[begin:end]
        left = any(any(map(str.isalnum, word)) for word in rest.lower().split() if word not in _ARTICLES)
        return rest if left else text

    def _span(self, text: str) -> tuple[int, int]:
        places = [(word.start(), word.end()) for word in _TOKEN.finditer(text)]
        words = tuple(text[begin:end].lower() for begin, end in places)
        first, last = 0, len(words)
        if self.prefix and words[: len(self.prefix)] == self.prefix:
            first = len(self.prefix)
        if self.suffix and last - len(self.suffix) >= first and words[-len(self.suffix) :] == self.suffix:
            last -= len(self.suffix)
        if first == 0 and last == len(words):
            return 0, len(text)
        kept = places[first:last]
        return (kept[0][0], kept[-1][1]) if kept else (0, 0)

    @cached_property
    def sentence(self) -> str:
        """The phrases, in one sentence."""
        parts = [
            f"{verb} with {' '.join(words)!r}"
            for verb, words in (("begin", self.prefix), ("end", self.suffix))
            if words
        ]
        return f"Most texts {' and '.join(parts)}." if parts else ""

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> SharedPhrases:
        """The inverse of `to_json`."""
        known = json.loads(text)
        return cls(tuple(known["prefix"]), tuple(known["suffix"]))


def _shared(rows: Sequence[tuple[str, ...]]) -> tuple[str, ...]:
    """The longest beginning that more than SHARE of the rows have, with a word behind it; ties go to the first in order."""
    phrase: tuple[str, ...] = ()
    for length in range(1, LONGEST + 1):
        counts = Counter(row[:length] for row in rows if len(row) > length and row[: length - 1] == phrase)
        best = max(counts.items(), key=lambda entry: (entry[1], entry[0]), default=((), 0))
        if best[1] <= SHARE * len(rows):
            break
        phrase = best[0]
    return phrase


def _is_phrase(words: Sequence[str]) -> bool:
    """Whether shared words are more than how a language begins or ends its sentences: two words, or one set off by a sign."""
    spoken = [word for word in words if any(map(str.isalnum, word))]
    set_off = len(spoken) < len(words) or (bool(spoken) and words[-1][-1:] in ":|-")
    return len(spoken) > 1 or (set_off and bool(spoken) and not _SEPARATORS.issuperset(words))
