"""Ledger: one row for every text of a run, with its score, decision and the reason in words."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pairloom.clean.faults import FAULTS
from pairloom.data.disk import atomic_write
from pairloom.errors import Mistake

KEEP, DROP, REPLACE, ADD, REJECT = "keep", "drop", "replace", "add", "reject"
ORIGINAL = (KEEP, DROP, REPLACE)  # decisions about texts of the set; the others are about proposed captions
DECISIONS = {
    KEEP: "the text stays",
    DROP: "the text is taken out",
    REPLACE: "the text is removed and a proposed caption takes its place",
    ADD: "the proposed caption is added",
    REJECT: "the proposed caption is not added",
}

SCHEMA = pa.schema(
    [
        ("key", pa.string()),
        ("image_key", pa.string()),
        ("name", pa.string()),
        ("shard", pa.string()),
        (
            "text_id",
            pa.int32(),
        ),  # position among the pair's texts, proposals after the originals; -1: no text at all
        ("text", pa.string()),
        ("original", pa.string()),  # the text of the set, where a repair has changed it
        ("source", pa.string()),
        ("findings", pa.list_(pa.string())),
        ("score", pa.float64()),
        ("p_match", pa.float64()),
        ("end_score", pa.float64()),  # of the text's ending; none where it was not judged
        ("p_complete", pa.float64()),  # the least P(the text is not cut off)
        ("word_score", pa.float64()),  # of the text's worst word; none where no word was judged
        ("p_words", pa.float64()),  # the least P(all its words are right)
        ("wrong_words", pa.list_(pa.string())),
        ("decision", pa.string()),
        ("reason", pa.string()),
    ]
)


@dataclass(frozen=True)
class Ledger:
    """The ledger of a finished run: one row for every text."""

    path: Path

    def __len__(self) -> int:
        count: int = pq.read_metadata(self.path).num_rows
        return count

    def table(self, columns: Sequence[str] | None = None) -> pa.Table:
        """The ledger as a pyarrow table; columns: of these alone."""
        return pq.read_table(self.path, columns=columns)

    def to_pandas(self, columns: Sequence[str] | None = None) -> Any:
        """The ledger as a pandas DataFrame; columns: of these alone. Mistake where pandas is not installed."""
        return to_pandas(self.table(columns))

    def of(self, key: str) -> list[dict[str, Any]]:
        """All rows of a pair, by its key (the first digits are enough) or its name."""
        return find(self.path, key)


def to_pandas(table: pa.Table) -> Any:
    """A table as a pandas DataFrame; integers and truth values with gaps keep their kind. Mistake where pandas is not installed."""
    try:
        import pandas
    except ImportError as error:
        raise Mistake("pandas is not installed.", str(error), "Run: pip install pandas") from error
    nullable = {pa.int32(): pandas.Int32Dtype(), pa.bool_(): pandas.BooleanDtype()}
    gaps = {column.type for column in table.columns if column.null_count}
    return table.to_pandas(types_mapper=lambda kind: nullable.get(kind) if kind in gaps else None)


def write_part(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    """Write the ledger rows of one shard, atomically."""
    with atomic_write(path) as file:
        pq.write_table(pa.Table.from_pylist(list(rows), SCHEMA), file)


def join_parts(parts: Iterable[Path], path: Path) -> dict[str, int]:
    """Concatenate the parts of all shards to one ledger, a shard at a time. Returns the count of each decision, and of rows
    for pairs that came without a text (`textless`)."""
    counts = {**dict.fromkeys(DECISIONS, 0), "textless": 0}
    for table in joined(parts, path, SCHEMA):
        for decision in table.column("decision").to_pylist():
            counts[decision] += 1
        counts["textless"] += table.column("text_id").to_pylist().count(-1)
    return counts


def joined(parts: Iterable[Path], path: Path, schema: pa.Schema) -> Iterator[pa.Table]:
    """Concatenate parts to one file, and yield each as it is written."""
    with atomic_write(path) as file:
        with pq.ParquetWriter(file, schema) as writer:
            for part in parts:
                with pq.ParquetFile(part) as rows:
                    table = rows.read(use_threads=False)
                writer.write_table(table)
                yield table
    pa.default_memory_pool().release_unused()  # Arrow keeps what the parts were read into


def ledger_of(out: Path) -> Path:
    """Path of the ledger of a finished run. Mistake where there is none."""
    path = out / "pairs.parquet" if out.is_dir() else out
    if not path.is_file():
        raise Mistake(
            f"There is no ledger in {out}.",
            "pairs.parquet is written when `pairloom clean` has finished.",
            f"Run: pairloom clean PAIRS --out {out}",
        )
    return path


def find(out: Path, key: str) -> list[dict[str, Any]]:
    """All rows of the pairs whose key starts with `key`, or whose name is `key`. A Mistake where there are none."""
    path = ledger_of(out)
    rows = []
    with pq.ParquetFile(path) as table:
        if "decision" not in table.schema_arrow.names:
            why = "It has findings and no decisions."
            raise Mistake(
                f"{path} is the table of a check.",
                why,
                f"Run: pairloom clean PAIRS --out {out.parent / 'cleaned'}",
            )
        for group in table.iter_batches():
            rows += [
                row
                for row in group.to_pylist()
                if row["name"] == key or (len(key) >= 4 and row["key"].startswith(key))
            ]
    if not rows:
        raise Mistake(
            f"No pair '{key}' in {path}.",
            "A pair is named by its key (the first digits are enough, at least 4) or by its name in the set.",
            "The report lists both.",
        )
    return rows


def row_lines(rows: Sequence[dict[str, Any]]) -> list[str]:
    """Ledger rows in words: the pair, and under it every text with its decision, the reason and what the audit found."""
    lines: list[str] = []
    key = ""
    for row in rows:
        if row["key"] != key:
            key = row["key"]
            lines.append(f"{row['name']}  key {key}  shard {row['shard']}")
        sure = "" if row["p_match"] is None else f"  P(match) {row['p_match']:.2f}  score {row['score']:.3f}"
        lines.append(f"  {row['decision']:<8} {row['text']!r} ({row['source']}){sure}")
        lines.append(f"           {row['reason']}")
        if row.get("original") is not None:
            lines.append(f"           repaired, it was: {row['original']!r}")
        lines += [f"           audit: {code}: {FAULTS[code].says}" for code in row["findings"]]
    return lines
