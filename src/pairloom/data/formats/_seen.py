"""What lies in a set beside its pairs: several sets in one folder, files that no reader took, columns that were guessed.

Does not know: any one format.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa

from pairloom.data.disk import readable
from pairloom.data.formats import _columnar, _columns, _files, _json, _look, _rows, _saved, _zip
from pairloom.data.formats._tar import COMPRESSED
from pairloom.data.shards import ColumnNames, Shard
from pairloom.errors import Mistake

PACKED = {".zip", ".gz", ".gzip", ".tgz", ".bz2", ".tbz2", ".xz", ".txz", ".zst", ".7z", ".rar"}
SHEET = "it is a spreadsheet: save it as CSV"
OTHERS = {  # data files that are not read, with what to do where there is more to say
    **dict.fromkeys((".xlsx", ".xls", ".ods"), SHEET),
    **dict.fromkeys((".pkl", ".pickle"), "pickles are never read, since they can run code"),
    ".t7": "Torch's files are not read: give a release with text_c10/CLASS/NAME.txt and pictures in images/CLASS/",
    **dict.fromkeys((".h5", ".hdf5", ".lmdb", ".mdb", ".npz", ".db", ".sqlite", ".xml", ".yaml", ".yml"), ""),
}
OWN_TEXTS = ("folder_text", "class_captions")  # formats whose texts are files
LONGEST = 40  # characters of a column's name that are shown
DATA = {".tar", ".json", *_look.TABLES, *PACKED, *OTHERS}
FEW = 5
BETWEEN = ("###", "<sep>", "[SEP]", "|", "\n")  # what stands between texts where a cell holds several
FIRST, OFTEN = 100, 0.9  # rows that are looked at; the share of them that have it
SMALL = 1 << 24  # bytes of the tables whose rows are compared with all pictures of a folder
NAMED = 1_000_000  # rows of a table whose pictures are compared with those that have text files


def demand_whole(path: Path, format: str, shards: Sequence[Shard]) -> None:
    """Mistake for a folder of several sets: most of the pictures with text files are in no row of the tables, or beside tars."""
    files = list(dict.fromkeys(shard.file for shard in shards))
    kinds = (*_look.TEXT_FILES, ".json") if format == "webdataset" else _look.TEXT_FILES
    if path.is_file() or format in OWN_TEXTS or not _files.first_files(path, set(kinds)):
        return
    pairs = _look.texted(path, kinds)
    names = set() if format == "webdataset" else _named(files)
    apart = [name for name in pairs if _files.split(name.rpartition("/")[2])[0] not in names]
    if 2 * len(apart) > len(pairs) and len(apart) > (len(files) if format == "webdataset" else 0):
        shown = ", ".join(readable(file.name) for file in files[:FEW])
        raise Mistake(
            f"{path} holds several sets.",
            f"{shown} ({format}), and {len(apart):,} pictures with a text file of their name, such as {readable(apart[0])}.",
            f"Say --format {format} or --format folder_text, or move one of them elsewhere.",
        )


def _named(files: Sequence[Path]) -> set[str]:
    """Stems of the pictures that tables and annotation files name."""
    return {_stem(cell) for file in files for cell in islice(_cells(file), NAMED)}


def _stem(name: object) -> str:
    return _files.split(str(name).replace("\\", "/").rpartition("/")[2])[0]


def _cells(file: Path) -> Iterator[Any]:
    if file.suffix.lower() in {*_look.TABLES, _look.LIST} or _rows.is_lines(file):
        image = _columns.resolved(file).image
        for row in _rows.first(file, NAMED):
            if isinstance(row, dict) and image is not None:
                cell = row.get(image)
                yield cell.get("path") if isinstance(cell, dict) else cell if isinstance(cell, str) else ""
    elif _look.is_map(file):
        yield from (entry.key for entry in _json.entries(file, _look.map_within(file) or ""))
    else:
        for element in _json.sound(file):
            if isinstance(element.value, dict):
                fields = (*_columns.IMAGE_COLUMNS, *_columns.OTHER_IMAGES, "image_id")
                cells = [element.value[name] for name in fields if name in element.value]
                yield from (cell[0] if isinstance(cell, list) and len(cell) == 1 else cell for cell in cells)


def notes(path: Path, shards: Sequence[Shard], columns: ColumnNames) -> tuple[str, ...]:
    """What was not read of a set, and what was guessed: a sentence each."""
    files = list(dict.fromkeys(shard.file for shard in shards))
    sentences = []
    guessed: dict[str, list[str]] = {}
    for file in files[:20]:
        if guess := _guess(file, columns):
            guessed.setdefault(guess, []).append(
                readable(os.path.relpath(file, path) if path.is_dir() else file.name)
            )
    for file in files[:20]:
        sentences += _of_texts(file, columns)
    for guess, names in guessed.items():
        more = f" (and {len(names) - 1} more)" if len(names) > 1 else ""
        sentences.append(f"{names[0]}{more} is read with {guess}.")
    sentences += _apart(shards) if shards and shards[0].format == "folder_text" else []
    if not path.is_file():
        names = _saved.absent(path, _files.first_files(path, {".json"}))
        sentences += [f"{readable(name)} is not there, though state.json names it." for name in names[:FEW]]
        sentences += _unlisted(path, files)
    left = unread(path, files)
    for name in left[:FEW]:
        sentences.append(f"{readable(name)} was not read: {_why(path / name, files, columns)}.")
    if len(left) > FEW:
        sentences.append(f"{len(left) - FEW:,} more files were not read.")
    return tuple(sentences)


def _unlisted(path: Path, files: Sequence[Path]) -> list[str]:
    """A sentence about pictures of the set's folders that no row of its tables names. Of tables and lists that are not large."""
    kinds = {".csv", ".tsv", ".json", ".jsonl", ".ndjson", _look.LIST}
    if (
        any(_files.split(file.name)[1] not in kinds for file in files)
        or sum(map(os.path.getsize, files)) > SMALL
    ):
        return []
    cells = {(file, str(cell)) for file in files for cell in islice(_cells(file), NAMED)}
    names = {_stem(cell) for _, cell in cells}
    numbers = {number for name in names if (number := _files.number_of(name)) is not None}
    pictures = _files.first_files(path, _files.IMAGES) if cells else []
    apart = [
        name for name in pictures if _stem(name) not in names and _files.number_of(_stem(name)) not in numbers
    ]
    if 0 < len(apart) < len(pictures):
        shown = ", ".join(map(readable, apart[:3]))
        return [
            f"{len(apart):,} pictures were not read, since no row names them: {shown}{' ...' * (len(apart) > 3)}."
        ]
    more = len(pictures) - len(cells)
    return (
        [f"{more:,} of the {len(pictures):,} pictures there were not read, since no row names them."]
        if not apart and more > 0
        else []
    )


def _apart(shards: Sequence[Shard]) -> list[str]:
    """A sentence about texts and pictures of one name that stand in two folders (images/ and captions/), which are no pairs."""
    stems: dict[bool, set[str]] = {True: set(), False: set()}
    for shard in shards:
        for name in shard.part.split("\0"):
            stem, suffix = _files.split(name)
            if suffix in _look.TEXT_FILES or _files.is_image(name):
                stems[_files.is_image(name)].add(stem.removeprefix("/"))
    pictures, texts = (stems[kind] - stems[not kind] for kind in (True, False))
    places = {stem.rpartition("/")[2]: stem for stem in sorted(pictures)}
    both = [stem for stem in sorted(texts) if stem.rpartition("/")[2] in places]
    if not both:
        return []
    example = f"{readable(both[0])} and {readable(places[both[0].rpartition('/')[2]])}"
    return [
        f"{len(both):,} texts have the name of a picture in another folder ({example}): put each text beside its picture."
    ]


def _of_texts(file: Path, columns: ColumnNames) -> list[str]:
    """Sentences about a table of which several columns are called as texts are, or whose cells look as if several texts stood in each."""
    if file.suffix.lower() not in {*_look.TABLES, _look.LIST}:
        return []
    known, sentences = _columns.resolved(file, columns).texts, []
    if len(known) > 1 and not _columns.is_series(known):
        named = " and ".join(map(repr, known))
        sentences += [
            f"{readable(file.name)} has texts in {named}: of each row the first is read. --text-column names another."
        ]
    rows = [row for row in _rows.first(file, FIRST, list(known)) if isinstance(row, dict)]
    cells = (
        [cell for row in rows for cell in [row.get(known[0])] if isinstance(cell, str) and cell.strip()]
        if known
        else []
    )
    between = [
        mark
        for mark in BETWEEN
        if len(cells) >= FEW and sum(mark in cell for cell in cells) >= OFTEN * len(cells)
    ]
    if between:
        sentences += [
            f"Nearly every text of {readable(file.name)} has {between[0]!r} in it, as where several texts stand in a cell: each cell is one text."
        ]
    return sentences


def _guess(file: Path, columns: ColumnNames) -> str:
    """How the columns of a table, or the fields of a JSON list, were recognised where it was not by a known name."""
    if _look.is_table(file, columns) or file.suffix.lower() in _look.TABLES:
        return _columns.resolved(file, columns).guess
    rows = _json.row_arrays(_json.peek(file)) if file.suffix.lower() == ".json" else {}
    names = list(next(iter(rows.values()), {}))
    is_llava = "conversations" in names
    return "" if is_llava or not names else _columns.text_columns(names, columns)[1]


def unread(path: Path, files: Sequence[Path]) -> list[str]:
    """Data files of a folder that no shard is of, without what img2dataset writes beside its pictures or tars."""
    if path.is_file():
        return []
    taken = {file.resolve() for file in files}
    names = _files.first_files(path, {*DATA, _look.LIST})
    lists = _look.lists_among(path, names)
    names = [name for name in names if _files.split(name)[1] != _look.LIST or name in lists]
    whole = set(names)
    left = []
    for name in names:
        stem, suffix = _files.split(name)
        by_product = stem + "_stats.json" in whole or (stem.endswith("_stats") and suffix == ".json")
        beside = suffix == ".parquet" and stem + ".tar" in whole
        if by_product or beside or _saved.is_about_arrow(path, name) or (path / name).resolve() in taken:
            continue
        if suffix == ".json" and _look.is_sidecar(path, name):
            continue
        left.append(name)
    return left


def _why(file: Path, files: Sequence[Path], columns: ColumnNames) -> str:
    """Why a data file was not read, or what it holds."""
    other = _look.twin(file, [known for known in files if known != file], columns)
    if other is not None:
        return f"it has the rows of {readable(other.name)}"
    archives = [known.name for known in files if _files.split(known.name)[1] in _look.ARCHIVES]
    if archives and _look.is_table(file, columns):
        return f"{about(file)}; if its pictures are in {readable(archives[0])}, unpack that first"
    return about(file)


def about(file: Path) -> str:
    """What a data file holds, in a few words."""
    suffix = _files.split(file.name)[1]
    try:
        with open(file, "rb") as opened:
            head = opened.read(512)
    except OSError as error:
        return error.strerror or str(error)
    if head.startswith((b"\xff\xfe", b"\xfe\xff")) and suffix not in {*_look.TABLES, _look.LIST}:
        return "it is UTF-16: save it as UTF-8"
    if head.startswith(b"PAR1") and suffix != _columnar.PARQUET:
        return "it is a parquet: call it .parquet"
    if OTHERS.get(suffix):
        return OTHERS[suffix]
    if suffix == ".zip":
        return _about_zip(file)
    if suffix in PACKED or head.startswith(COMPRESSED):
        return "it is compressed: unpack it first"
    if suffix == _look.LIST:
        return "it lists pictures that another list has"
    if _columnar.is_columnar(file):
        try:
            _columnar.schema(file)
        except (OSError, pa.ArrowException, ValueError) as error:
            return f"it cannot be read: {error}"[:200]
    if suffix in _look.TABLES or (suffix == ".json" and _rows.is_lines(file)):
        names = _rows.columns(file)
        return (
            f"columns {', '.join(name[:LONGEST] for name in names[:12])}"
            if names
            else "no columns were found"
        )
    if suffix == ".json":
        return _about_json(file)
    return "another kind of set" if suffix == ".tar" else f"{suffix} is not a kind that is read"


def _about_zip(file: Path) -> str:
    kinds = Counter(_files.split(member.name)[1] for member in _zip.members(file) if not member.problem)
    shown = ", ".join(f"{count:,} {kind}" for kind, count in kinds.most_common(6))
    if not shown:
        return "it is compressed: unpack it first"
    return f"a zip with {shown}: give it by itself, or unpack it first"


def _about_json(file: Path) -> str:
    first = _json.peek(file)
    if first:
        return "; ".join(
            (f"{key}: " if key else "") + f"a list of objects with {', '.join(list(one)[:12])}"
            for key, one in first.items()
        )
    try:
        value = json.loads(file.read_bytes()) if file.stat().st_size < 1 << 24 else None
    except (OSError, ValueError, RecursionError):
        return "it is not JSON"
    if isinstance(value, dict) and value:
        key, entry = next(iter(value.items()))
        return f"an object of {len(value):,} entries such as {key!r}: {json.dumps(entry, ensure_ascii=False)[:80]}"
    if isinstance(value, list) and value:
        return f"a list of {len(value):,} entries such as {json.dumps(value[0], ensure_ascii=False)[:80]}"
    return "it holds no objects"


def description(path: Path) -> str:
    """What was seen at a path: its kinds of files, and what its data files hold."""
    if path.is_file():
        return f"Seen: {readable(path.name)}, {about(path)}."
    kinds: Counter[str] = Counter()
    for _, names in islice(_files.walk(path), 100):
        kinds.update(_files.split(name)[1] or name for name in names)
    shown = ", ".join(f"{count:,} {kind}" for kind, count in kinds.most_common(8))
    files = _files.first_files(path, DATA)[:FEW]
    held = "".join(f"\n  {readable(name)}: {about(path / name)}" for name in files)
    few = sorted(os.listdir(path))[:FEW]
    return f"Seen there: {shown or ', '.join(map(readable, few))}; {', '.join(map(readable, few))}.{held}"
