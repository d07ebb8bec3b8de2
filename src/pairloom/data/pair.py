"""Pair: one picture with its texts. The unit that every format reads and writes. And what is more than a pair: a question
with what people answered, a statement about several pictures, a dialog.

Does not know: tensors, models, where the set came from beyond a reference it can read again.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

LARGEST = 1 << 29  # bytes of one encoded picture: what lies above is no picture, and would fill the memory


@dataclass(frozen=True)
class Text:
    """One text of a picture. source: "original", "human", or "synthetic:MODEL"."""

    text: str
    source: str = "original"
    meta: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Blob:
    """Where the bytes of a picture lie: a whole file, or a span of one (a tar member), or bytes in memory."""

    path: Path | None = None
    offset: int = 0
    size: int | None = None  # None: to the end of the file
    data: bytes | None = None  # set for pictures that lie inside a table
    name: str = ""  # the file name the set knows it by, with its extension: "000012.jpg"

    def read(self) -> bytes:
        """The encoded bytes. Raises OSError where there are none, where they cannot be read, or past LARGEST."""
        if self.data is not None:
            return self.data
        if self.path is None:
            raise FileNotFoundError("there is no image")
        with open(self.path, "rb", buffering=0) as file:
            size = os.fstat(file.fileno()).st_size - self.offset if self.size is None else self.size
            if size > LARGEST:
                raise OSError(f"{size:,} bytes are more than an image has (limit {LARGEST:,})")
            file.seek(self.offset)
            return file.read(max(size, 0))


@dataclass(frozen=True)
class Pair:
    """A picture and its texts.

    key: content hash of picture bytes and original texts; two identical rows share it, a position never enters it.
    image_key: content hash of the picture bytes alone ("" where there is no readable picture).
    name: what the user's set calls this pair (relative file stem, tar key, row id), for people and for writers.
    meta: the set's other columns, carried through untouched.
    problem: why this pair cannot be used ("" where it can): a broken pair is a row with a reason, never silence.
    notes: what a reader had to do or leave out ("not UTF-8: read as cp1252"), for people; the pair is usable.
    """

    key: str
    image_key: str
    name: str
    image: Blob
    texts: tuple[Text, ...]
    meta: Mapping[str, Any] = field(default_factory=dict)
    problem: str = ""
    notes: tuple[str, ...] = ()

    def with_texts(self, texts: tuple[Text, ...]) -> Pair:
        """The same pair (same key) with other texts."""
        return replace(self, texts=texts)


@dataclass(frozen=True, kw_only=True)
class Example:
    """What every example has that is more than a pair.

    key: content hash of its pictures and what is asked; image_keys: of the bytes of each picture; name: what the set calls
    it; group: examples that stand or fall together (NLVR2: those of one sentence). problem: why it cannot be used.
    """

    key: str
    name: str
    images: tuple[Blob, ...]
    image_keys: tuple[str, ...]
    group: str = ""
    meta: Mapping[str, Any] = field(default_factory=dict)
    problem: str = ""


@dataclass(frozen=True, kw_only=True)
class Question(Example):
    """A question about a picture. answers: one for each person asked, so that an answer stands there as often as it was
    given; none where they are not known. trust: what all of them weigh together (Visual Genome's single ones: 0.2)."""

    question: str
    answers: tuple[str, ...] = ()
    trust: float = 1.0

    @property
    def weights(self) -> dict[str, float]:
        """Each answer once, with its share of the people times the trust."""
        share = self.trust / max(1, len(self.answers))
        return {answer: share * self.answers.count(answer) for answer in dict.fromkeys(self.answers)}


@dataclass(frozen=True, kw_only=True)
class Statement(Example):
    """A statement about its pictures, in their order. true: None where it is not known."""

    text: str
    true: bool | None = None


@dataclass(frozen=True)
class Round:
    """A question of a dialog and its answer. choices: candidates, `right` the place of the answer among them (None where it
    is not known); relevance: of each candidate, as people judged it, where they did."""

    question: str
    answer: str = ""
    choices: tuple[str, ...] = ()
    right: int | None = None
    relevance: tuple[float, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Dialog(Example):
    """A picture, what was said of it first, and rounds of question and answer."""

    caption: str
    rounds: tuple[Round, ...]


@dataclass(frozen=True, kw_only=True)
class Document(Example):
    """Texts and pictures in turn: texts[0] stands before the first picture, texts[i] after picture i; any may be empty."""

    texts: tuple[str, ...]


def content_hash(*parts: bytes) -> str:
    """160 bits as 40 hex digits; parts are length-prefixed, so that they cannot run into each other."""
    digest = hashlib.blake2b(digest_size=20)
    for part in parts:
        digest.update(len(part).to_bytes(8, "little"))
        digest.update(part)
    return digest.hexdigest()


def make_pair(
    name: str,
    image: Blob,
    texts: list[str] | tuple[Text, ...],
    meta: Mapping[str, Any] | None = None,
    problem: str = "",
    data: bytes | None = None,
    notes: tuple[str, ...] = (),
) -> Pair:
    """Build a Pair and its keys. Reads the picture's bytes (or takes them as `data`); unreadable bytes become a problem.

    A problem that is handed in stands; the picture is still read and keyed where there is one.
    """
    all_texts = tuple(text if isinstance(text, Text) else Text(text) for text in texts)
    if data is None and (image.path is not None or image.data is not None):
        try:
            data = image.read()
        except OSError as error:
            problem = problem or f"image cannot be read: {error.strerror or error}"
    if data is not None and not data:
        problem = problem or "image has 0 bytes"
    image_key = content_hash(data) if data else ""
    words = [text.text.encode("utf-8", "surrogatepass") for text in all_texts]
    key = content_hash(image_key.encode(), *words)
    return Pair(
        key,
        image_key,
        name,
        image,
        all_texts,
        dict(meta or {}),
        problem or ("" if data else "no image"),
        notes,
    )


def seed_of(key: str, *salt: object) -> int:
    """A 63-bit seed from a key and anything else that should change it: the same on every machine and in every run."""
    return int(content_hash(key.encode(), repr(salt).encode())[:16], 16) >> 1
