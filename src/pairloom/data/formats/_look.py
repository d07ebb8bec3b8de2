"""What marks a set: the one file in it that says what it is, so that sniffing is exclusive.

Order: metadata tables, tars, annotation JSON, other tables; none: a folder of images. Does not know: the formats.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator
from functools import lru_cache
from itertools import islice
from pathlib import Path
from urllib.parse import quote

from pairloom.data.formats import _columnar, _columns, _files, _json, _rows, _saved
from pairloom.data.shards import ColumnNames
from pairloom.errors import Mistake

METADATA = {"metadata.csv", "metadata.jsonl", "metadata.parquet"}
TEXTS = ("caption", "captions", "text", "texts", "conversations", "sentences")
TABLES = {".csv", ".tsv", ".jsonl", ".ndjson", *_columnar.SUFFIXES}
ARCHIVES = (".tar", ".zip")  # zips where there is nothing else
LIST = ".txt"  # also of a table: captions.txt
MOST_LISTS = 20  # .txt files of a folder, for one to be a table of pictures
TEXT_FILES = (".txt", ".caption")  # beside a picture of their name
SIDECARS = sorted(_files.IMAGES, key=lambda suffix: suffix not in (".jpg", ".png", ".jpeg", ".webp"))
CLASS_TEXTS = "text_c10"
CLASS_LIST = re.compile(r"(?:all|train|trainval|val|test)(?:classes|s?ids)\.txt")
MOST_TWINS = 50  # tables that are compared with each other


def marker(path: Path, columns: ColumnNames = ColumnNames()) -> Path | None:
    """The file that says what a set is; the file itself where the set is one; None for a bare folder of images."""
    return next(iter(markers(path, columns)), None)


@_files.once
def markers(path: Path, columns: ColumnNames = ColumnNames()) -> list[Path]:
    """All files of the set of the marker's rank, in order; of two with the same rows the first."""
    if path.is_file():
        return [path]
    if class_texts(path) is not None:
        return []
    names = _saved.without_caches(path, _files.first_files(path, {".tar", ".json", LIST, *TABLES}))
    lists = without_twin_lists(path, lists_among(path, names))
    names = [name for name in names if _files.split(name)[1] != LIST]
    tables = [name for name in names if _files.split(name)[1] in TABLES or _is_lines(path / name)] + lists
    known = {name: _columns.resolved(path / name, columns) for name in tables}
    annotations = _annotations(
        path, [name for name in names if name.endswith(".json") and name not in known], columns
    )
    ranks = [
        [name for name in names if name.rpartition("/")[2] in METADATA],
        [name for name in names if _files.split(name)[1] == ".tar"],
        [name for name, strong in annotations.items() if strong],
        [name for name in tables if known[name].is_whole and not known[name].guess],
    ]
    chosen = next(filter(None, ranks), [])
    if (
        chosen
        and chosen in ranks[2:]
        and _texts_beside(path)
        and not any(_speaks(path / name, columns) for name in chosen)
    ):
        chosen, ranks = [], []  # boxes or addresses beside pictures that have their texts in files
    if not chosen and not _texts_beside(path):
        ranks = [
            [name for name in tables if known[name].is_whole],
            [name for name, strong in annotations.items()],
        ]
        chosen = next(filter(None, ranks), [])
    if not chosen and not any(map(_files.is_image, _files.first_files(path, _files.IMAGES))):
        chosen = _files.first_files(path, {".zip"})
        ranks = [chosen]
    _demand_one(path, chosen, sum(ranks, []))
    return without_twins([path / name for name in sorted(chosen)], columns)


@_files.once
def class_texts(path: Path) -> Path | None:
    """The folder text_c10 of a folder, with a text in it or in its first folders."""
    texts = path / CLASS_TEXTS
    return texts if texts.is_dir() and _files.first_files(texts, {LIST}) else None


def is_class_list(path: Path) -> bool:
    """Whether a file lists classes of such a folder, by its name."""
    return CLASS_LIST.fullmatch(path.name) is not None and class_texts(path.parent) is not None


def lists_among(path: Path, names: list[str]) -> list[str]:
    """Those of the names that are tables of pictures in a .txt, of folders with few .txt."""
    folders: dict[str, list[str]] = {}
    for name in names:
        if _files.split(name)[1] == LIST:
            folders.setdefault(name.rpartition("/")[0], []).append(name)
    few = [name for each in folders.values() if len(each) <= MOST_LISTS for name in each]
    return [name for name in few if is_list(path / name)]


def is_list(path: Path) -> bool:
    """Whether a .txt is a table of pictures and no text of the picture of its name: a header names both columns, or every row begins
    with an image's name (Flickr8k's token file, Flickr30k's results)."""
    if path.suffix.lower() != LIST or any(path.with_suffix(suffix).exists() for suffix in SIDECARS):
        return False
    rows = list(_rows.first(path, 20))
    known = _columns.resolved(path)
    image, text = known.image, next(iter(known.texts), None)
    if image is None or text is None or not rows:
        return False
    cells = [(str(row.get(image)), str(row.get(text))) for row in rows if isinstance(row, dict)]
    if not cells or not all(_files.is_image(name) for name, _ in cells):
        return False
    return not all(
        _files.is_image(word.partition("#")[0]) or not re.search(r"[^\W\d_]", word) for _, word in cells
    )


def without_twin_lists(path: Path, names: list[str]) -> list[str]:
    """The lists without those that begin with the same pictures as one of a shorter name in their folder (Flickr8k.lemma.token.txt)."""
    kept: dict[tuple[str, ...], str] = {}
    for name in sorted(names, key=lambda name: (len(name), name)):
        first = (
            str(row.get("image")) if isinstance(row, dict) else row for row in _rows.first(path / name, 20)
        )
        kept.setdefault((name.rpartition("/")[0], *first), name)
    return sorted(kept.values())


def _is_lines(path: Path) -> bool:
    return path.suffix.lower() == ".json" and _rows.is_lines(path)


def _texts_beside(path: Path) -> bool:
    """Whether a picture has a text file of its name."""
    return bool(_files.first_files(path, set(TEXT_FILES))) and bool(texted(path))


def texted(path: Path, suffixes: tuple[str, ...] = TEXT_FILES) -> list[str]:
    """Pictures that have a file of their name with a text, of a folder and its first folders."""
    names = _files.first_files(path, {*_files.IMAGES, *suffixes})
    stems = {_files.split(name)[0] for name in names if _files.split(name)[1] in suffixes}
    return [name for name in names if _files.is_image(name) and _files.split(name)[0] in stems]


def _speaks(file: Path, columns: ColumnNames) -> bool:
    """Whether an annotation file or a table has texts of pictures that are there: no boxes, no addresses."""
    if file.suffix.lower() in {*TABLES, LIST}:
        return _columns.resolved(file, columns).image is not None
    first = _json.peek(file)
    if "images" in first and "sentences" not in first["images"]:
        return _json.has(file, "annotations", columns.text or "caption")
    return True


def _demand_one(path: Path, chosen: list[str], known: list[str]) -> None:
    """Mistake for a folder of several sets: what marks it lies in its folders, and another kind of mark lies elsewhere."""
    tops = {name.partition("/")[0] for name in chosen}
    others = {name.partition("/")[0] for name in known} - tops
    if others and all("/" in name for name in chosen):
        names_there = ", ".join(sorted(tops | others)[:6])
        raise Mistake(
            f"{path} holds several sets.", f"Seen there: {names_there}.", f"Name one, say {path / min(tops)}."
        )


def is_sidecar(path: Path, name: str) -> bool:
    """Whether a .json stands beside a picture of its name, with or without the picture's suffix."""
    stem = name[: -len(".json")]
    return (_files.is_image(stem) and (path / stem).exists()) or any(
        (path / (stem + suffix)).exists() for suffix in SIDECARS
    )


def _annotations(path: Path, names: list[str], columns: ColumnNames) -> dict[str, bool]:
    """JSON files that speak of images and texts, by the names that sets use (True) or that could be texts (False); those
    beside an image of their own name are its metadata."""
    fitting: dict[str, bool] = {}
    for name in names[:1000]:
        if is_sidecar(path, name):
            continue
        first = _json.peek(path / name)
        if any(key in first for key in _json.TELLING) or _columns.column(
            list(first.get("", {})), (*TEXTS, columns.text)
        ):
            fitting[name] = True
            continue
        for row in _json.row_arrays(first).values():
            texts, guess = _columns.text_columns(list(row), columns)
            if texts and _columns.image_column(list(row), columns):
                fitting[name] = not guess
                break
        else:
            if is_map(path / name):
                fitting[name] = False
    return fitting


def is_map(file: Path) -> bool:
    """Whether a file is a JSON object whose keys are names of pictures, or holds one."""
    return map_within(file) is not None


@_files.once
def map_within(file: Path) -> str | None:
    """The key of the object in a JSON file whose keys are names of pictures, with their suffixes or of pictures that are there: ""
    for the file itself; None where there is none."""

    def is_picture(name: str) -> bool:
        return _files.is_image(name) or name.rpartition("/")[2] in _files.picture_stems(file.parent)

    is_object = file.suffix.lower() == ".json" and not _json.peek(file)
    return _json.map_of(file, is_picture) if is_object else None


def is_table(path: Path, columns: ColumnNames = ColumnNames()) -> bool:
    """A table with a column for images (or their addresses) and one for texts."""
    return (path.suffix.lower() in TABLES or _is_lines(path) or is_list(path)) and _columns.resolved(
        path, columns
    ).is_whole


def is_metadata(path: Path, columns: ColumnNames = ColumnNames()) -> bool:
    """An imagefolder's table, by its name and its column file_name."""
    names = ("file_name", columns.image)
    return path.name in METADATA and _columns.column(_rows.columns(path), names) is not None


def of_format(path: Path, columns: ColumnNames, test: Callable[[Path], bool]) -> list[Path]:
    """The marking files that are of a format; where another kind of file marks the set, all files that are of this one."""
    chosen = [file for file in markers(path, columns) if test(file)]
    if chosen or path.is_file():
        return chosen
    names = _saved.without_caches(path, _files.first_files(path, {".json", *TABLES}))
    fitting = [path / name for name in names if test(path / name)]
    for name in names if not fitting else ():
        if _files.split(name)[1] in TABLES:
            _columns.demand_columns(path / name, columns)
    return fitting


def without_twins(files: list[Path], columns: ColumnNames) -> list[Path]:
    """The files without those that repeat the rows of another one in their folder (metadata.csv and metadata.jsonl)."""
    if not 1 < len(files) <= MOST_TWINS:
        return files
    ordered = sorted(files, key=lambda file: (file.parent, file.suffix.lower() != ".csv", file.name))
    kept: list[Path] = []
    for file in ordered:
        if twin(file, kept, columns) is None:
            kept.append(file)
    return sorted(kept)


def twin(file: Path, others: list[Path], columns: ColumnNames) -> Path | None:
    """The one of other files in its folder that has the same rows."""
    kinds = {*TABLES, ".json"}
    for other in others:
        if other.parent != file.parent or not {file.suffix.lower(), other.suffix.lower()} <= kinds:
            continue
        for count in (20, None):  # a quick look first
            ours, theirs = (_digest(one, _stamp(one), columns, count) for one in (file, other))
            if not ours or ours != theirs:
                break
        else:
            return other
    return None


def _stamp(file: Path) -> tuple[int, int, int]:
    facts = file.stat()
    return facts.st_ino, facts.st_size, facts.st_mtime_ns


@lru_cache(maxsize=256)
def _digest(file: Path, stamp: tuple[int, int, int], columns: ColumnNames, count: int | None) -> str:
    """A hash over the pictures and texts of a table's first rows, or of all; "" where it has none. stamp: of the file as it is
    now. The quick one of parquet is over texts and paths, without the pictures."""
    digest, some = hashlib.blake2b(digest_size=20), False
    for cells in _json_cells(file, count) if _is_json(file) else _table_cells(file, columns, count):
        some = True
        digest.update(repr(cells).encode("utf-8", "replace"))
    return digest.hexdigest() if some else ""


def _is_json(file: Path) -> bool:
    return file.suffix.lower() == ".json" and not _is_lines(file)


def _table_cells(file: Path, columns: ColumnNames, count: int | None) -> Iterator[list[str]]:
    known = _columns.resolved(file, columns)
    names = [name for name in (known.image, *known.texts) if name is not None]
    for row in _rows.first(file, count, names) if known.image is not None else ():
        if isinstance(row, dict):
            cells = [row.get(name) for name in names]
            yield [str(cell) for cell in cells if cell is not None]


def _json_cells(file: Path, count: int | None) -> Iterator[list[str]]:
    fields = ("id", "image_id", *_columns.IMAGE_COLUMNS, *_columns.TEXT_COLUMNS, *_columns.OTHER_TEXTS)
    try:
        for element in islice(_json.elements(file), count):
            row = element.value if isinstance(element.value, dict) else {}
            yield [element.key, *(str(row[name]) for name in fields if name in row)]
    except _json.Broken:
        return


def label(root: Path, file: Path) -> str:
    """A file's name relative to the set as one file-name-safe word: "val/a b.csv" -> "val%2Fa b.csv"."""
    inside = str(file.relative_to(root)) if file != root else file.name
    return quote(_files.readable(inside), safe=" ()[]+,;=@!~&'$-_.")
