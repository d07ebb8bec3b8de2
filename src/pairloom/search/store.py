"""Store of an index on disk: keys, locations and texts in SQLite with full-text search, vectors in files beside it.

Vectors are on the disk before SQLite commits the rows that refer to them, so that after a kill at any moment the store is as
at the last commit. The row of a removed picture is reused. Two processes may write at once: each commit numbers its own
rows. Does not know: models, pixels, queries.

M rows, E shared embedding.
"""

from __future__ import annotations

import json
import sqlite3
import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import pairloom
from pairloom.data.disk import unwritable
from pairloom.data.pair import Pair
from pairloom.data.shards import ColumnNames, Shard
from pairloom.errors import Mistake
from pairloom.search import vectors
from pairloom.search.tables import FILE, OURS, TABLES, connect, telling
from pairloom.search.vectors import Vectors


@dataclass(frozen=True)
class PairLocation:
    """Location of a picture: a span of a file, or a name in a shard. source: the set's path; name: within the set."""

    source: str
    name: str
    file: Path | None
    first: int = 0
    size: int | None = None
    shard: Shard | None = None


class Store:
    """An open index on disk, until the end of its `with` block or until nothing refers to it. Every method raises Mistake where
    the files are broken or cannot be written."""

    def __init__(self, where: Path, base: sqlite3.Connection) -> None:
        self.where, self.base = where, base
        self.close = weakref.finalize(self, base.close)  # called once: by hand, or when the store is dropped

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @classmethod
    def open(cls, where: Path | str) -> Store:
        """Open an existing index. Mistake where there is none."""
        where = Path(where)
        file = where / FILE
        if not file.is_file():
            raise Mistake(
                f"There is no index at {where}.",
                f"An index is a folder with {FILE}.",
                "Make one: pairloom index PAIRS --model MODEL --out DIR",
            )
        with telling(where):
            store = cls(where, connect(file, "rw"))
            if not store._begun():
                raise Mistake(
                    f"The index {where} is empty.", "Its first run was stopped.", "Index the set again."
                )
        return store

    @classmethod
    def create(cls, where: Path) -> Store:
        """Open the index in this folder, or create one where the folder is new or empty. Mistake for other files in it."""
        try:
            where.mkdir(parents=True, exist_ok=True)
            entries = sorted(entry.name for entry in where.iterdir())
        except OSError as error:
            raise unwritable(where, error) from error
        if entries and FILE not in entries:
            why = f"It holds {', '.join(entries[:3])}, and no {FILE}."
            raise Mistake(f"{where} is not an index.", why, "Name an empty or a new folder.")
        with telling(where):
            store = cls(where, connect(where / FILE, "rwc"))
            if not store._begun():
                with store.change():
                    for statement in TABLES.strip().split(";\n"):
                        store.base.execute(statement)
                    store.record(pairloom=pairloom.__version__, whole=False, changes=0)
                    store.base.execute(f"PRAGMA application_id = {OURS}")
        return store

    def _begun(self) -> bool:
        """Whether the tables exist. Mistake for a database that is not pairloom's."""
        if self._one("PRAGMA application_id") == OURS:
            return self.rows >= 0  # reads a page, so that a broken file fails here
        if self._one("SELECT count(*) FROM sqlite_master"):
            raise Mistake(f"{self.where / FILE} is not pairloom's.", "", "Name another folder.")
        return False

    # facts

    def fact(self, name: str, default: Any = None) -> Any:
        """A recorded fact about the index, by its name."""
        row = self._one("SELECT value FROM meta WHERE name = ?", name)
        return default if row is None else json.loads(row)

    def record(self, **facts: Any) -> None:
        """Record facts about the index."""
        with self.change():
            rows = [(name, json.dumps(value)) for name, value in facts.items()]
            self.base.executemany("INSERT OR REPLACE INTO meta VALUES (?, ?)", rows)

    @property
    def rows(self) -> int:
        """Number of rows of the files, M, free ones included."""
        return int(
            self._one(
                "SELECT 1 + max((SELECT coalesce(max(row), -1) FROM picture), (SELECT coalesce(max(row), -1) FROM free))"
            )
        )

    def __len__(self) -> int:
        """Number of pictures."""
        return int(self._one("SELECT count(*) FROM picture"))

    def free(self) -> Tensor:
        """Rows without a picture, sorted."""
        return torch.tensor(
            [row for (row,) in self._all("SELECT row FROM free ORDER BY row")], dtype=torch.long
        )

    def vectors(self) -> Vectors:
        """The vectors at this moment; after a change call it again."""
        return Vectors(self.where, self.rows, self.fact("width", 0))

    # looking up

    def row_of(self, key: str) -> int | None:
        """The row of a picture by its key."""
        row = self._one("SELECT row FROM picture WHERE key = ?", key)
        return None if row is None else int(row)

    def barred(self, key: str) -> bool:
        """Whether the user has deleted this picture."""
        return self._one("SELECT 1 FROM barred WHERE key = ?", key) is not None

    def key_of(self, row: int) -> str:
        """The key of a row's picture; empty where it is free."""
        return self._one("SELECT key FROM picture WHERE row = ?", row) or ""

    def places(self, row: int) -> list[PairLocation]:
        """The locations of a picture, by name."""
        query = (
            "SELECT source.path, name, file, first, size, shard FROM place JOIN source ON source.id = place.source "
            "WHERE row = ? ORDER BY name, place.id"
        )
        return [
            PairLocation(source, name, file and Path(file), first, size, _shard(shard))
            for source, name, file, first, size, shard in self._all(query, row)
        ]

    def texts(self, row: int) -> list[str]:
        """The distinct texts of a picture."""
        query = "SELECT text FROM said JOIN place ON place.id = said.place WHERE row = ? ORDER BY said.id"
        return list(dict.fromkeys(text for (text,) in self._all(query, row)))

    def sayings(self) -> int:
        """Number of texts, over all locations."""
        return int(self._one("SELECT count(*) FROM said"))

    def spread(self, most: int) -> Tensor:
        """At most `most` rows with a picture, evenly spaced over the files; the same rows each time."""
        held = torch.ones(self.rows, dtype=torch.bool)
        held[self.free()] = False
        rows = torch.nonzero(held)[:, 0]
        if len(rows) <= most:
            return rows
        return rows[torch.linspace(0, len(rows) - 1, most, dtype=torch.float64).round().long()]

    def saying(self, words: str) -> Tensor:
        """Full-text search: rows with texts that have all of these words, and words in double quotes as a phrase. Best
        first."""
        pieces = [piece for part in words.split('"')[0::2] for piece in part.split()]
        pieces += [piece for piece in words.split('"')[1::2] if piece.strip()]
        if not pieces:
            raise Mistake("There are no words to look for.", "", "Try: --text 'red car'")
        query = " ".join('"' + piece.replace('"', '""') + '"' for piece in pieces)
        rows = self._all(
            "SELECT place.row FROM words JOIN said ON said.id = words.rowid JOIN place ON place.id = said.place "
            "WHERE words MATCH ? ORDER BY bm25(words), place.row",
            query,
        )
        return torch.tensor(list(dict.fromkeys(row for (row,) in rows)), dtype=torch.long)

    # changing

    @contextmanager
    def change(self) -> Iterator[None]:
        """Transaction: a commit at the end, or nothing at an exception."""
        with telling(self.where):
            if self.base.in_transaction:
                yield
                return
            self.base.execute("BEGIN IMMEDIATE")
            try:
                yield
                self.base.execute("COMMIT")
            except BaseException:
                if self.base.in_transaction:
                    self.base.execute("ROLLBACK")
                raise

    def begin(self, path: str) -> tuple[int, int]:
        """Begin a pass over the set at `path`: (number of the set, number of the pass)."""
        with self.change():
            self.base.execute("INSERT OR IGNORE INTO source (path) VALUES (?)", (path,))
            number = self.fact("pass", 0) + 1
            self.record(**{"pass": number, "whole": False})
        return int(self._one("SELECT id FROM source WHERE path = ?", path)), number

    def add(
        self, pairs: Sequence[tuple[Pair, Shard]], embedded: dict[str, Tensor], where: tuple[int, int]
    ) -> int:
        """Add pairs in one commit: their locations and texts, and the vectors [E] of new pictures, by key.

        where: from `begin`. A picture without a vector here or in the store is left out. Returns the number of new pictures.
        """
        with self.change():
            new = [key for key in embedded if self.row_of(key) is None and not self.barred(key)]
            rows = self._rows_for(len(new))
            if new:
                try:
                    vectors.write(self.where, rows, torch.stack([embedded[key] for key in new]))
                except OSError as error:
                    raise unwritable(self.where, error) from error
                self.base.executemany("INSERT INTO picture VALUES (?, ?)", list(zip(rows, new)))
                self.record(changes=self.fact("changes") + 1)
            for pair, shard in pairs:
                row = self.row_of(pair.image_key)
                if row is not None:
                    self._place(pair, shard, row, *where)
        return len(new)

    def _rows_for(self, count: int) -> list[int]:
        """Rows for new pictures: free rows first, then new ones at the end."""
        again = [row for (row,) in self._all("SELECT row FROM free ORDER BY row LIMIT ?", count)]
        end = self.rows
        self.base.executemany("DELETE FROM free WHERE row = ?", [(row,) for row in again])
        return again + list(range(end, end + count - len(again)))

    def _place(self, pair: Pair, shard: Shard, row: int, source: int, seen: int) -> None:
        blob = pair.image
        inside = blob.path is None  # its bytes can be read from the shard alone
        held = None if inside else str(blob.path)
        shard_text = (
            json.dumps(
                {
                    **vars(shard),
                    "root": str(shard.root),
                    "file": str(shard.file),
                    "columns": vars(shard.columns),
                }
            )
            if inside
            else None
        )
        self.base.execute(
            "INSERT INTO place (source, name, pair, row, file, first, size, shard, seen) VALUES (?,?,?,?,?,?,?,?,?) "
            "ON CONFLICT (source, name, pair) DO UPDATE SET row = excluded.row, file = excluded.file, "
            "first = excluded.first, size = excluded.size, shard = excluded.shard, seen = max(seen, excluded.seen)",
            (source, _plain(pair.name), pair.key, row, held, blob.offset, blob.size, shard_text, seen),
        )
        query = "SELECT id FROM place WHERE source = ? AND name = ? AND pair = ?"
        place = self._one(query, source, _plain(pair.name), pair.key)
        if self._one("SELECT 1 FROM said WHERE place = ?", place) is None:
            texts = [(place, _plain(text.text)) for text in pair.texts if text.text.strip()]
            self.base.executemany("INSERT INTO said (place, text) VALUES (?, ?)", texts)

    def end(self, where: tuple[int, int]) -> int:
        """End a complete pass: remove what the set no longer has. Returns the number of removed pictures."""
        with self.change():
            self._leave("source = ? AND seen < ?", *where)
            gone = [
                row
                for (row,) in self._all("SELECT row FROM picture WHERE row NOT IN (SELECT row FROM place)")
            ]
            self._empty(gone)
        return len(gone)

    def delete(self, words: Sequence[str]) -> int:
        """Delete pictures for good, by key, by the prefix of a key (six characters or more) or by name; indexing the set again
        does not bring them back. Mistake where one is unknown; then nothing is deleted."""
        with self.change():
            rows: set[int] = set()
            for word in words:
                matches = self._all("SELECT row FROM place WHERE name = ?", word)
                if not matches and len(word) >= 6 and word.isalnum():
                    matches = self._all("SELECT row FROM picture WHERE key GLOB ?", word + "*")
                if not matches:
                    raise Mistake(
                        f"The index has no picture '{word}'.",
                        "Nothing was deleted.",
                        "Give a key or a name of the index.",
                    )
                rows |= {row for (row,) in matches}
            gone = [(row,) for row in sorted(rows)]
            self.base.executemany("INSERT OR IGNORE INTO barred SELECT key FROM picture WHERE row = ?", gone)
            for row in sorted(rows):
                self._leave("row = ?", row)
            self._empty(sorted(rows))
        return len(rows)

    def _leave(self, which: str, *values: Any) -> None:
        self.base.execute(f"DELETE FROM said WHERE place IN (SELECT id FROM place WHERE {which})", values)
        self.base.execute(f"DELETE FROM place WHERE {which}", values)

    def _empty(self, rows: Sequence[int]) -> None:
        each = [(row,) for row in rows]
        self.base.executemany("DELETE FROM picture WHERE row = ?", each)
        self.base.executemany("INSERT INTO free VALUES (?)", each)

    # asking

    def _all(self, query: str, *values: Any) -> list[Any]:
        with telling(self.where):
            return self.base.execute(query, values).fetchall()

    def _one(self, query: str, *values: Any) -> Any:
        rows = self._all(query, *values)
        return rows[0][0] if rows else None


def _shard(text: str | None) -> Shard | None:
    if text is None:
        return None
    shard = json.loads(text)
    columns = ColumnNames(**shard.get("columns", {}))
    return Shard(**{**shard, "root": Path(shard["root"]), "file": Path(shard["file"]), "columns": columns})


def _plain(text: str) -> str:
    """The text as valid Unicode, which SQLite requires."""
    return text.encode("utf-8", "replace").decode("utf-8")
