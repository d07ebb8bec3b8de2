"""Raw texts of any set, or of one text file -> clean strings with notes, and pairs from them. Does not know: formats, tokens."""

from __future__ import annotations

import codecs
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from pairloom.data.pair import Blob, Pair, Text, make_pair

LONGEST = 1 << 24  # bytes of one text file: more is no caption
SURROGATES = re.compile("[\ud800-\udfff]")


class UnknownCharset(ValueError):
    """Bytes that are neither UTF-8 nor plausible Western text; the message says what they may be."""


def decode(raw: bytes) -> tuple[str, tuple[str, ...]]:
    """Bytes of a text file as a string: UTF-8 (or UTF-16 with its mark), else Windows-1252, else Latin-1, with a note."""
    try:
        return decode_known(raw)
    except UnknownCharset as error:
        return raw.decode("latin-1"), (str(error),)


def decode_known(raw: bytes) -> tuple[str, tuple[str, ...]]:
    """`decode`. Raises UnknownCharset where the Western reading makes no words: it never fails, so that bytes of every other
    code page would pass."""
    if raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return raw.decode("utf-16", "replace"), ("text is UTF-16",)
    try:
        return raw.decode("utf-8-sig"), ()
    except UnicodeDecodeError:
        pass
    for charset in ("cp1252", "latin-1"):  # cp1252 leaves five bytes undefined; latin-1 knows all 256
        try:
            text = raw.decode(charset)
        except UnicodeDecodeError:
            continue
        if _is_western(text):
            return text, (f"text is not UTF-8: read as {charset}",)
    guesses = _guesses(raw)
    raise UnknownCharset(
        "text is in an unknown character set, not UTF-8"
        + (f" (perhaps {' or '.join(guesses)})" if guesses else "")
    )


_EDGES = "\u2018\u2019\u201c\u201d\u201e\u201a\u2026\u2013\u2014\u2022\xab\xbb\xb0\xa0\xa9\xae\u2122\u20ac\xa3\xbd\xbc\xbe\xb2\xb3\xb9\xbf\xa1"
_RUN = re.compile("[^\x00-\x7f]{3,}")
_INSIDE = re.compile(
    "[^\\W\\d_][\xa1-\xa9\xab-\xac\xae\xaf\xb1-\xb3\xb5\xb6\xb8\xb9\xbb-\xbf\x80-\x9f][^\\W\\d_]"
)


def _is_western(text: str) -> bool:
    """Whether a Windows-1252 reading has the look of words: accents stand among plain letters, signs at their edges."""
    if any(run.strip(_EDGES)[2:] for run in _RUN.findall(text)):
        return False
    high = sum(letter >= "\x80" for letter in text if letter.isalpha())
    plain = sum(letter < "\x80" for letter in text if letter.isalpha())
    odd = len(_INSIDE.findall(text))
    if not plain and sum(letter >= "\x80" for letter in text) > 1:
        return False
    return not (high >= 3 and high > plain) and odd <= plain // 100 + (
        1 if "\x80" <= max(text) <= "\x9f" else 0
    )


_SCRIPTS = {
    "Shift-JIS": ("cp932", re.compile("[\u3041-\u30ff]")),
    "EUC-KR": ("cp949", re.compile("[\uac00-\ud7a3]")),
    "GBK": ("gb18030", re.compile("[\u4e00-\u9fff]")),
    "Big5": ("cp950", re.compile("[\u4e00-\u9fff]")),
    "Windows-1251": ("cp1251", re.compile("[\u0410-\u044f]")),
    "Windows-1253": ("cp1253", re.compile("[\u0386-\u03ce]")),
    "Windows-1255": ("cp1255", re.compile("[\u05d0-\u05ea]")),
    "Windows-1256": ("cp1256", re.compile("[\u0621-\u064a]")),
    "Windows-1250": ("cp1250", re.compile("[\u0102-\u017e]")),
}


def _guesses(raw: bytes) -> list[str]:
    """Code pages whose script most of the foreign characters have, at most three."""
    fitting = []
    for name, (charset, script) in _SCRIPTS.items():
        try:
            foreign = [letter for letter in raw.decode(charset) if letter >= "\x80"]
        except UnicodeDecodeError:
            continue
        if foreign and sum(script.match(letter) is not None for letter in foreign) >= 0.5 * len(foreign):
            fitting.append(name)
    return fitting[:3]


def tidy(text: str) -> tuple[str, tuple[str, ...]]:
    """A text without NULs, half characters and outer blanks; a note for each kind that was taken out."""
    notes: tuple[str, ...] = ()
    if "\0" in text:
        text, notes = text.replace("\0", ""), ("NUL characters were left out of a text",)
    if SURROGATES.search(text):
        text, notes = SURROGATES.sub("\ufffd", text), (*notes, "half characters were replaced in a text")
    return text.strip().strip("\ufeff").strip(), notes  # a byte order mark is no character of the text


# where the text of an object is, the first that counts; behind them what other tools call it
FIELDS = tuple(
    "caption captions text texts raw assistant answer value content sentence sentences"
    " description prompt title alt alt_text comment label".split()
)
SPEAKERS = ("from", "role")
ANSWERS = ("gpt", "assistant", "model", "bot", "chatgpt")


def words_of(value: Any) -> list[str]:
    """The texts in a cell or JSON value; see `texts_in`."""
    return texts_in(value)[0]


def texts_in(value: Any) -> tuple[list[str], tuple[str, ...]]:
    """The texts in a cell or JSON value, with notes: a string, a number as written, the field of an object that has a text's
    name, the answers of a conversation, or a list of these; None and NaN are none. What is not understood is a note."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return [], ()
    if isinstance(value, (list, tuple)):
        entries = [entry for entry in value if not _is_question(entry)]
        each = [texts_in(entry) for entry in entries]
        return [word for words, _ in each for word in words], tuple(
            note for _, notes in each for note in notes
        )
    if isinstance(value, dict):
        return _in_object(value)
    if isinstance(value, bytes):
        try:
            text, notes = decode_known(value)
        except UnknownCharset as error:
            return [], (str(error),)
        return [text], notes
    text = value if isinstance(value, str) else str(value)
    written = _written_list(text)
    return (written, (LIST_NOTE,)) if written else ([text], ())


LIST_NOTE = "a list that was written as text was read as its texts"
_STRING = r"""'(?:[^'\\\n]|\\.)*+'|"(?:[^"\\\n]|\\.)*+\""""
_WRITTEN_LIST = re.compile(rf"""\[\s*+(?:{_STRING})(?:(?:\s*+,\s*+|\s++)(?:{_STRING}))*+\s*+,?\s*+\]""")


def _written_list(text: str) -> list[str]:
    """The strings of a list that stands in a cell as Python, numpy or JSON write it; none for other texts."""
    text = text.strip()
    if not text.startswith(("['", '["')) or not _WRITTEN_LIST.fullmatch(text):
        return []
    return [_ESCAPE.sub(_unescaped, word[1:-1]) for word in re.findall(_STRING, text)]


_ESCAPE = re.compile(r"((?:\\u[0-9a-fA-F]{4})+)|\\(.)")


def _unescaped(match: re.Match[str]) -> str:
    """What an escape stands for, in a string of Python or JSON; several of UTF-16 may be one character."""
    if match[1]:
        return bytes.fromhex(match[1].replace("\\u", "")).decode("utf-16-be", "replace")
    return {"n": "\n", "t": "\t", "r": "\r"}.get(match[2], match[2])


def _is_question(entry: Any) -> bool:
    """Whether an entry of a list is a turn of a conversation that is no answer."""
    speaker = (
        next((entry[key] for key in SPEAKERS if key in entry), None) if isinstance(entry, dict) else None
    )
    return isinstance(speaker, str) and ("value" in entry or "content" in entry) and speaker not in ANSWERS


def _in_object(value: dict[str, Any]) -> tuple[list[str], tuple[str, ...]]:
    if value.get("type") in ("image", "image_url", "video", "audio"):
        return [], ()  # a part of a turn
    known = [key for key in FIELDS if texts_in(value.get(key))[0]]
    words = [key for key, entry in value.items() if isinstance(entry, str) and entry.strip()]
    chosen = known[0] if known else words[0] if len(words) == 1 else None
    if chosen is None:
        empty = any(key in value for key in FIELDS) or not any(value.values())
        return [], () if empty else (
            f"a text was not understood: an object of {', '.join(map(str, list(value)[:8]))}",
        )
    texts, notes = texts_in(value[chosen])
    if len(known) > 1 or not known:
        notes = (f"of an object of {', '.join(map(str, list(value)[:8]))} the text is {chosen!r}", *notes)
    return texts, notes


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


def lines_of(path: Path) -> tuple[list[str], str, tuple[str, ...]]:
    """Captions, problem and notes of one text file. Only real line ends split: captions may hold any other character."""
    try:
        raw = Blob(path).read() if path.stat().st_size <= LONGEST else b""
        if path.stat().st_size > LONGEST:
            return [], f"text file is larger than {LONGEST:,} bytes", ()
    except OSError as error:
        return [], f"text cannot be read: {error.strerror or error}", ()
    try:
        text, notes = decode_known(raw)
    except UnknownCharset as error:
        return [], str(error), ()
    return [line for line in text.replace("\r", "\n").split("\n") if line.strip("\0 \t")], "", notes
