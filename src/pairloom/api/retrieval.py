"""Retrieval over a set: every text for each picture and every picture for each text, and the best of every query as a table."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pairloom.data.cut import CutTexts, cut_texts
from pairloom.data.disk import atomic_write, check_output, taken
from pairloom.data.pair import content_hash
from pairloom.data.shards import PairSet
from pairloom.errors import Mistake
from pairloom.metrics.compare import Interval
from pairloom.model import Model
from pairloom.model.fingerprint import fingerprint
from pairloom.model.pictures import demand_source
from pairloom.scale.table import demand_ours, parts_of
from pairloom.tasks.ranking import RetrievalSettings, Retrieved, rankings, settings, worth
from pairloom.tasks.retrieve import Corpus, Retriever
from pairloom.verbs import demand_way

SCHEMA = pa.schema(
    [
        ("direction", pa.string()), ("query", pa.string()), ("place", pa.int32()), ("candidate", pa.string()),
        ("score", pa.float64()), ("right", pa.bool_()),
    ]
)  # fmt: skip


@dataclass(frozen=True)
class Retrieval:
    """metrics: direction -> R@1, R@5, R@10, median and MRR, each with its 95 % interval. matched: pairs that the match head
    scored; unreadable: name -> why; skipped: reason -> count of pairs that were left out; cut: texts that are longer than the
    model reads."""

    pictures: int
    texts: int
    matched: int
    protocol: str
    k: int
    metrics: dict[str, dict[str, Interval]]
    unreadable: dict[str, str] = field(default_factory=dict, repr=False)
    skipped: dict[str, int] = field(default_factory=dict, repr=False)
    cut: CutTexts = CutTexts()

    def to_dict(self) -> dict[str, Any]:
        """All of it as plain values."""
        return asdict(self)

    def table(self) -> tuple[str, list[str], list[list[str]]]:
        """Title, columns and rows: the metrics of both directions."""
        title = f"{self.pictures:,} pictures, {self.texts:,} texts; {self.matched:,} pairs matched"
        names = list(next(iter(self.metrics.values())))
        rows = [[way, *(str(row[name]) for name in names)] for way, row in self.metrics.items()]
        return title, ["", *names], rows


def retrieve(
    model: Model,
    pairs: PairSet,
    protocol: str = "odds",
    k: int | None = None,
    out: Path | None = None,
    top: int = 10,
    restart: bool = False,
    tell: Callable[[str, int, int], None] = lambda step, done, total: None,
) -> Retrieval:
    """Rank both ways. out: a new .parquet file with the `top` best of every query; unfinished work lies beside it and is
    gone on with. Mistake where `out` exists, or lies in the set."""
    chosen = settings(protocol, k)
    if top < 1:
        raise Mistake(f"--top {top} keeps nothing.", "", "Give 1 or more.")
    demand_way(model.system)
    demand_source(model)
    parts = _parts(out, pairs.path, restart) if out else None
    corpus = Corpus.of(pairs.pairs(), model.regions)
    if parts is not None:
        _claim(parts, corpus, model, chosen)
    ranked = Retriever(model, corpus, chosen, parts, tell).run()
    metrics = worth(ranked)
    if out is not None and parts is not None:
        _write(out, parts, ranked, top, restart)
    return Retrieval(
        len(ranked.names), len(ranked.owner), len(ranked.codes), protocol, chosen.k, metrics, ranked.broken,
        dict(corpus.index.skipped), cut_texts(model.tokens, ranked.strings, model.config.length),
    )  # fmt: skip


def _parts(out: Path, source: Path, restart: bool) -> Path:
    """Where unfinished work lies."""
    check_output(out, source)
    if out.exists() and not restart:
        raise taken(out)
    if restart:
        demand_ours(out, SCHEMA)
        shutil.rmtree(parts_of(out), ignore_errors=True)
    return parts_of(out)


def _claim(parts: Path, corpus: Corpus, model: Model, chosen: RetrievalSettings) -> None:
    """Parts of other pictures, another model or other settings are refused."""
    texts = repr(list(corpus.index.words())).encode()
    mark = content_hash(bytes(corpus.index.key), texts, repr(chosen).encode(), fingerprint(model).encode())
    held = parts / "plan"
    if held.is_file() and held.read_text() != mark:
        raise Mistake(
            f"{parts} holds work on other pairs.", "Or of another model.", "Name another --out, or --restart."
        )
    with atomic_write(held) as file:
        file.write(mark.encode())


def _write(out: Path, parts: Path, ranked: Retrieved, top: int, replace: bool) -> None:
    """The best of every query; then the parts have done their work."""
    with atomic_write(out, replace) as file, pq.ParquetWriter(file, SCHEMA) as writer:
        for rows in rankings(ranked, top):
            writer.write_table(pa.Table.from_pylist(rows, SCHEMA))
    shutil.rmtree(parts)
