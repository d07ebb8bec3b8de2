"""SQLite database of an index: its tables, its connection, and the messages for its errors."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pairloom.errors import Mistake

FILE = "index.sqlite"
OURS = 0x7061_6972  # SQLite's application id: "pair"
ANEW = "Index the set again with --restart; your pictures are untouched."
TABLES = """
CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE picture (row INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE);
CREATE TABLE free (row INTEGER PRIMARY KEY);
CREATE TABLE barred (key TEXT PRIMARY KEY);
CREATE TABLE source (id INTEGER PRIMARY KEY, path TEXT NOT NULL UNIQUE);
CREATE TABLE place (id INTEGER PRIMARY KEY, source INTEGER NOT NULL, name TEXT NOT NULL, pair TEXT NOT NULL,
    row INTEGER NOT NULL, file TEXT, first INTEGER, size INTEGER, shard TEXT, seen INTEGER NOT NULL,
    UNIQUE (source, name, pair));
CREATE INDEX place_row ON place (row);
CREATE INDEX place_name ON place (name);
CREATE TABLE said (id INTEGER PRIMARY KEY, place INTEGER NOT NULL, text TEXT NOT NULL);
CREATE INDEX said_place ON said (place);
CREATE VIRTUAL TABLE words USING fts5 (text, content='said', content_rowid='id', tokenize='unicode61 remove_diacritics 2');
CREATE TRIGGER said_added AFTER INSERT ON said BEGIN
    INSERT INTO words (rowid, text) VALUES (new.id, new.text); END;
CREATE TRIGGER said_gone AFTER DELETE ON said BEGIN
    INSERT INTO words (words, rowid, text) VALUES ('delete', old.id, old.text); END;
"""


def connect(file: Path, mode: str) -> sqlite3.Connection:
    """Connect to the database, with explicit transactions. SQLite opens a file that cannot be written for reading."""
    uri = f"{file.resolve().as_uri()}?mode={mode}"
    return sqlite3.connect(uri, uri=True, timeout=60, isolation_level=None, check_same_thread=False)


@contextmanager
def telling(where: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        reason = str(error)
        if "readonly" in reason:
            raise Mistake(
                f"{where} cannot be written.", "You may not write there.", "Index into another folder."
            ) from error
        if "locked" in reason:
            raise Mistake(
                f"{where} is being written.", "Another run holds it.", "Wait for that run."
            ) from error
        if "full" in reason:
            raise Mistake(
                f"{where} cannot be written.", "The disk is full.", "Make room, and run it again."
            ) from error
        raise Mistake(f"The index {where} is broken.", f"SQLite says: {reason}.", ANEW) from error
