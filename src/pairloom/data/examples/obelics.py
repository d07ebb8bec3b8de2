"""OBELICS (Laurencon et al., 2023): rows of two lists of one length, "texts" and "images", where each place holds a text or a
picture and null in the other list. As parquet, JSON lines or a JSON array.

Pictures are looked for by their whole name or address, then by its last part; nothing is fetched. The drawn world writes
this layout too (world/documents.py).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pairloom.data.examples._notes import Album, files, first, rows, word
from pairloom.data.examples._pages import page
from pairloom.data.formats import _files
from pairloom.data.pair import Document
from pairloom.errors import Mistake

CLAIM = 'OBELICS: rows {"texts": [words or null, ...], "images": [name or null, ...]}'
COLUMNS = {"texts", "images"}
GROUP = 256  # rows of a parquet file that are held at once


def sniff(path: Path) -> str:
    """By the columns of the first row."""
    return "documents" if _marked(path) else ""


def _marked(path: Path) -> list[Path]:
    tables = [path] if path.suffix == ".parquet" else []
    if path.is_dir():
        tables = [path / name for name in _files.first_files(path, {".parquet"})]
    lists = [file for file in files(path) if first(file).get("", {}).keys() >= COLUMNS]
    return [*lists, *(file for file in tables if _columns(file) >= COLUMNS)]


def _columns(file: Path) -> set[str]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return set(pq.read_schema(file).names)
    except (pa.ArrowException, OSError):
        return set()


def _table(file: Path) -> Iterator[dict[str, Any]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(file) as table:
            for batch in table.iter_batches(GROUP):
                yield from batch.to_pylist()
    except (pa.ArrowException, OSError) as error:
        raise Mistake(f"{file} cannot be read.", str(error), "Copy the file again.") from error


def read(path: Path) -> Iterator[Document]:
    """Every page of every such file."""
    for file in _marked(path):
        album = Album(path, file)
        for number, row in enumerate(_table(file) if file.suffix == ".parquet" else rows(file)):
            yield _page(row, word(row.get("id")) or f"{file.stem}:{number}", album)


def _page(row: dict[str, Any], name: str, album: Album) -> Document:
    texts, images = row.get("texts"), row.get("images")
    if not isinstance(texts, list) or not isinstance(images, list) or len(texts) != len(images):
        return page(name, (), album, "its texts and images are no two lists of one length")
    pieces = []
    for at, (text, image) in enumerate(zip(texts, images)):
        if bool(word(text)) and image is not None:
            return page(name, (), album, f"place {at} holds a text and a picture")
        if image is not None:
            pieces.append(("image", word(image)))
        elif word(text):
            pieces.append(("text", word(text)))
    return page(name, pieces, album)
