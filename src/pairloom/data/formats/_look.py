"""What marks a set: the one file in it that says what it is, so that sniffing is exclusive.

Order: metadata tables, tars, annotation JSON, other tables; none: a folder of images. Does not know: the formats.
"""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote

from pairloom.data.formats import _files, _json, _rows
from pairloom.errors import Mistake

METADATA = {"metadata.csv", "metadata.jsonl", "metadata.parquet"}
TEXTS = ("caption", "captions", "text", "texts", "conversations", "sentences")
TABLES = {".csv", ".tsv", ".jsonl", ".parquet"}
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
ADDRESSES = ("url", "image_url", "img_url")
TEXT_COLUMNS = ("text", "caption", "captions", "texts")


def marker(path: Path) -> Path | None:
    """The file that says what a set is; the file itself where the set is one; None for a bare folder of images."""
    return next(iter(markers(path)), None)


def markers(path: Path) -> list[Path]:
    """All files of the set of the marker's rank, in order."""
    if path.is_file():
        return [path]
    names = _files.first_files(path, {".tar", ".json", *TABLES})
    ranks = [
        [name for name in names if name.rpartition("/")[2] in METADATA],
        [name for name in names if name.endswith(".tar")],
        _annotations(path, names),
        [name for name in names if _files.split(name)[1] in TABLES and is_table(path / name)],
    ]
    chosen = next(filter(None, ranks), [])
    _demand_one(path, chosen, sum(ranks, []))
    return [path / name for name in sorted(chosen)]


def _demand_one(path: Path, chosen: list[str], known: list[str]) -> None:
    """Mistake for a folder of several sets: what marks it lies in its folders, and another kind of mark lies elsewhere."""
    tops = {name.partition("/")[0] for name in chosen}
    others = {name.partition("/")[0] for name in known} - tops
    if others and all("/" in name for name in chosen):
        names_there = ", ".join(sorted(tops | others)[:6])
        raise Mistake(
            f"{path} holds several sets.", f"Seen there: {names_there}.", f"Name one, say {path / min(tops)}."
        )


def _annotations(path: Path, names: list[str]) -> list[str]:
    """JSON files that speak of images and texts; those beside an image of their own name are its metadata."""
    fitting = []
    for name in [name for name in names if name.endswith(".json")][:1000]:
        stem = name[: -len(".json")]
        if any((path / (stem + suffix)).exists() for suffix in (".jpg", ".png", ".jpeg", ".webp")):
            continue
        first = _json.peek(path / name)
        if any(key in first for key in _json.TELLING) or any(key in first.get("", {}) for key in TEXTS):
            fitting.append(name)
    return fitting


def is_table(path: Path) -> bool:
    """A table with a column for images (or their addresses) and one for texts, by the names that sets use."""
    names = _rows.columns(path)
    return column(names, (*IMAGE_COLUMNS, *ADDRESSES)) is not None and column(names, TEXT_COLUMNS) is not None


def is_metadata(path: Path) -> bool:
    """An imagefolder's table, by its name and its column file_name."""
    return path.name in METADATA and column(_rows.columns(path), ("file_name",)) is not None


def column(names: list[str], known: tuple[str, ...]) -> str | None:
    """The column of a table that goes by the first of the known names, whatever its case."""
    by_case = {name.lower(): name for name in reversed(names)}
    return next((by_case[name] for name in known if name in by_case), None)


def label(root: Path, file: Path) -> str:
    """A file's name relative to the set as one file-name-safe word: "val/a b.csv" -> "val%2Fa b.csv"."""
    inside = str(file.relative_to(root)) if file != root else file.name
    return quote(_files.readable(inside), safe=" ()[]+,;=@!~&'$-_.")
