"""Which columns of a table, or fields of a JSON row, hold pictures and texts: by their names, else by what stands in them.

Does not know: where tables lie, what a row becomes.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from pairloom.data.formats import _files, _rows
from pairloom.data.formats._texts import texts_in
from pairloom.data.shards import ColumnNames
from pairloom.errors import Mistake

IMAGE_COLUMNS = (
    "image",
    "image_path",
    "image_file",
    "file_name",
    "filename",
    "filepath",
    "file",
    "path",
    "img",
    "image_bytes",
    "bytes",
    "jpg",
    "png",
)
OTHER_IMAGES = ("images", "picture", "photo", "image_name", "img_path", "img_name", "image_filename")
ADDRESSES = ("url", "image_url", "img_url")
TEXT_COLUMNS = ("text", "caption", "captions", "texts")
# names that are read where there is none of those, and only one of these
OTHER_TEXTS = (
    "prompt",
    "prompts",
    "description",
    "descriptions",
    "desc",
    "alt",
    "alt_text",
    "alttext",
    "title",
    "sentence",
    "sentences",
    "caption_en",
    "text_en",
    "en",
    "comment",
    "raw",
    "content",
    "conversations",
    "messages",
)
_OF_PICTURES, _OF_ROWS = re.compile(r"image|img|photo|pic|file"), ("id", "key", "uid", "uuid", "name", "hash")
LONG = 6  # letters of a number that is no count of rows
_LIKE_CAPTION = re.compile(
    r"(^|[^a-z])captions?([^a-z]|$)(?!.*(id|len|length|score|source|url|path|file)s?$)"
)
_NUMBERED = re.compile(r"(.*?[^\W\d_])[ _-]*(\d{0,3})")


@dataclass(frozen=True)
class TableColumns:
    """The columns of a table that hold pictures and texts. texts: the first with a text in it is a row's, or all of a series
    (`is_series`). addresses: whether another column holds web addresses. guess: how they were recognised, where not by the names that all sets use."""

    image: str | None
    texts: tuple[str, ...]
    addresses: bool = False
    guess: str = ""

    @property
    def is_whole(self) -> bool:
        return bool(self.texts) and (self.image is not None or self.addresses)


def resolved(path: Path, columns: ColumnNames = ColumnNames()) -> TableColumns:
    """The columns of a table file: those that are named, else those that go by a known name, else the only one that could be."""
    names = _rows.columns(path)
    texts, guess = text_columns(names, columns)
    image = image_column(names, columns)
    addresses = column(names, ADDRESSES) is not None
    if image is None and names and not columns.image and not addresses:
        image = _by_content(path, names, texts)
        if image is not None:
            guess = ", ".join(filter(None, (guess, f"pictures from the column {image!r}")))
    return TableColumns(image, texts, addresses, guess)


def text_columns(names: list[str], columns: ColumnNames) -> tuple[tuple[str, ...], str]:
    """The columns that hold texts, and how that is known where it is not by a name that all sets use."""
    if columns.text:
        named = column(names, (columns.text,))
        return (named,) if named is not None else (), ""
    known = [name for name in (column(names, (one,)) for one in TEXT_COLUMNS) if name is not None]
    others = [name for name in (column(names, (one,)) for one in OTHER_TEXTS) if name is not None]
    numbered = [each for each in _numbered(tuple(names)) if not known or (len(each) > 1 and each[0] in known)]
    usual = [each for each in numbered if each[0].lower().startswith(TEXT_COLUMNS)]
    numbered = usual if len(usual) == 1 else numbered
    if len(numbered) == 1 and (known or not others or others[0] in numbered[0]):
        series = numbered[0]
        shown = f"columns {series[0]!r} to {series[-1]!r}" if len(series) > 1 else f"column {series[0]!r}"
        return series, f"texts from the {shown}"
    if known:
        return tuple(known), ""
    others = others or [name for name in names if _LIKE_CAPTION.search(_plain(name))]
    return (tuple(others), f"texts from the column {others[0]!r}") if len(others) == 1 else ((), "")


@lru_cache(maxsize=256)
def _numbered(names: tuple[str, ...]) -> list[tuple[str, ...]]:
    """Columns that hold one of several texts each, by their numbers (caption_0 to caption_4; caption, caption_2), one series for each
    name that texts go by."""
    series: dict[str, dict[int, str]] = {}
    for name in names:
        match = _NUMBERED.fullmatch(_plain(name))
        if match is not None and match[1] in (*TEXT_COLUMNS, *OTHER_TEXTS):
            series.setdefault(match[1], {}).setdefault(int(match[2] or -1), name)
    return [tuple(name for _, name in sorted(each.items())) for each in series.values() if list(each) != [-1]]


def is_series(columns: Sequence[str]) -> bool:
    """Whether columns hold one of several texts each, and not the text of a row in the first that has one."""
    return tuple(columns) in _numbered(tuple(columns))


def next_in(columns: Sequence[str], at: int) -> str:
    """The column of a series for text number `at`: one more where it has no such column."""
    if at < len(columns):
        return columns[at]
    last = re.fullmatch(r"(.*?)(\d+)", columns[-1], re.DOTALL)
    assert last is not None  # of a series
    return f"{last[1]}{int(last[2]) + 1 + at - len(columns)}"


def texts_of(
    record: dict[str, Any], columns: ColumnNames
) -> tuple[tuple[str, ...], list[str], tuple[str, ...]]:
    """The fields of a JSON object that hold its texts, the texts, and notes: all of a series, else the first that has one. Of several rare
    names one that holds a picture's name (the title of Google's exports) is none."""
    chosen = text_columns(list(record), columns)[0]
    if not chosen:
        others = [
            name for name, value in record.items() if not (isinstance(value, str) and _files.is_image(value))
        ]
        chosen = text_columns(others, columns)[0]
    return texts_among(record, chosen)


def texts_among(
    row: dict[str, Any], columns: Sequence[str]
) -> tuple[tuple[str, ...], list[str], tuple[str, ...]]:
    """The columns of a row's texts, the texts, and notes: all columns of a series, else the first that has a text."""
    present = [name for name in columns if name in row]
    each = {name: texts_in(row[name]) for name in present}
    if is_series(columns):
        words = [word for texts, _ in each.values() for word in texts if word.strip()]
        return tuple(present), words, tuple(note for _, notes in each.values() for note in notes)
    for name, (texts, notes) in each.items():
        if any(word.strip() for word in texts) or (notes and len(present) == 1):
            return (name,), texts, notes
    return ((present[0],), *each[present[0]]) if present else ((), [], ())


def image_column(names: list[str], columns: ColumnNames) -> str | None:
    """The column of the pictures: the one that is named, else the first that goes by a known name, else the only one that has
    one of the rarer names."""
    if columns.image:
        return column(names, (columns.image,))
    rare = [name for name in (column(names, (one,)) for one in OTHER_IMAGES) if name is not None]
    return column(names, IMAGE_COLUMNS) or (rare[0] if len(rare) == 1 else None)


def _by_content(path: Path, names: list[str], texts: tuple[str, ...]) -> str | None:
    """The only column whose first cells are images' names, or pictures; else the only one by whose name they may be names without their
    suffix, or numbers, of pictures that are there; None where there are several."""
    first = [row for row in _rows.first(path, 20) if isinstance(row, dict)]
    others = [name for name in names if name not in texts] if first else []
    fitting = [name for name in others if all(_is_picture(row.get(name)) for row in first)]
    if not fitting:
        stems = _files.picture_stems(path.parent)
        for name in others:
            sure = _OF_PICTURES.search(_plain(name)) is not None
            hits = sum(_is_stem(row.get(name), stems, sure) for row in first)
            fitting += [name] * ((sure or _plain(name) in _OF_ROWS) and 2 * hits >= len(first))
    return fitting[0] if len(fitting) == 1 else None


def _is_stem(value: object, stems: set[str | int], sure: bool) -> bool:
    """Whether a cell names a picture without its suffix. Not sure: the cell may count rows, as a short number does."""
    word = str(value).strip() if isinstance(value, (str, int)) else ""
    number = _files.number_of(word)
    return (word in stems and (sure or number is None or len(word) >= LONG)) or (sure and number in stems)


def _is_picture(value: object) -> bool:
    if isinstance(value, (list, tuple)) and len(value) == 1:
        value = value[0]
    if isinstance(value, dict):
        value = value.get("bytes") or value.get("path")
    if isinstance(value, bytes):
        return bool(_files.kind_of(value))
    return isinstance(value, str) and _files.is_image(value) and "://" not in value


def demand_columns(file: Path, columns: ColumnNames) -> None:
    """Mistake where a table lacks a column that a user named."""
    names = _rows.columns(file)
    for option, name in (("--image-column", columns.image), ("--text-column", columns.text)):
        if name and column(names, (name,)) is None:
            raise Mistake(
                f"{file} has no column '{name}'.", f"Its columns: {', '.join(names[:20])}.", f"Mend {option}."
            )


def column(names: list[str], known: tuple[str, ...]) -> str | None:
    """The column of a table that goes by the first of the known names, whatever its case, blanks or Unicode form."""
    by_case = {_plain(name): name for name in reversed(names)}
    return next((by_case[_plain(name)] for name in known if name and _plain(name) in by_case), None)


def _plain(name: object) -> str:
    return unicodedata.normalize("NFC", str(name)).strip("\ufeff \t\r\n").lower()
