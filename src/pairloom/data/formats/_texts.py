"""Raw texts of any set -> clean strings with notes, and pairs from them. Does not know: files, formats, tokens."""

from __future__ import annotations

import codecs
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from pairloom.data.pair import Blob, Pair, Text, make_pair

LONGEST = 1 << 24  # bytes of one text file: more is no caption
SURROGATES = re.compile("[\ud800-\udfff]")


def decode(raw: bytes) -> tuple[str, tuple[str, ...]]:
    """Bytes of a text file as a string: UTF-8 (or UTF-16 with its mark), else Windows-1252, else Latin-1, with a note."""
    if raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return raw.decode("utf-16", "replace"), ("text is UTF-16",)
    try:
        return raw.decode("utf-8-sig"), ()
    except UnicodeDecodeError:
        pass
    for charset in ("cp1252", "latin-1"):  # cp1252 leaves five bytes undefined; latin-1 knows all 256
        try:
            return raw.decode(charset), (f"text is not UTF-8: read as {charset}",)
        except UnicodeDecodeError:
            continue
    raise AssertionError("latin-1 decodes every byte")


def tidy(text: str) -> tuple[str, tuple[str, ...]]:
    """A text without NULs, half characters and outer blanks; a note for each kind that was taken out."""
    notes: tuple[str, ...] = ()
    if "\0" in text:
        text, notes = text.replace("\0", ""), ("NUL characters were left out of a text",)
    if SURROGATES.search(text):
        text, notes = SURROGATES.sub("\ufffd", text), (*notes, "half characters were replaced in a text")
    return text.strip().strip("\ufeff").strip(), notes  # a byte order mark is no character of the text


def words_of(value: Any) -> list[str]:
    """The texts in a cell or JSON value: a string, a list of them, a number as written; None and NaN are none."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return []
    if isinstance(value, (list, tuple)):
        return [word for entry in value for word in words_of(entry)]
    if isinstance(value, bytes):
        return [decode(value)[0]]
    return [value if isinstance(value, str) else str(value)]


def pair_of(
    name: str,
    image: Blob,
    texts: Iterable[str | Text],
    meta: Mapping[str, Any] | None = None,
    problem: str = "",
    data: bytes | None = None,
    notes: Iterable[str] = (),
) -> Pair:
    """A Pair from raw texts: tidied, empty ones left out with a note, "no text" where none is left."""
    usable, all_notes = [], list(notes)
    for raw in texts:
        text = raw if isinstance(raw, Text) else Text(raw)
        clean, new = tidy(text.text)
        all_notes += new
        if clean:
            usable.append(Text(clean, text.source, text.meta))
        else:
            all_notes.append("an empty text was left out")
    pair = make_pair(name, image, tuple(usable), meta, problem, data, tuple(dict.fromkeys(all_notes)))
    return pair if usable or pair.problem else replace(pair, problem="no text")
