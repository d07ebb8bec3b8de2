"""Gallery of the report: the ledger as compact JSON columns with lists of distinct values, and thumbnails of a sample of pairs.

Does not know: HTML, charts, the reasons of decisions.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import math
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import islice
from pathlib import Path
from types import MappingProxyType
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pyarrow
import pyarrow.parquet as pq
from numpy.typing import NDArray
from PIL import Image

from pairloom.data.pixels import Unreadable, open_image

COLUMNS = (
    "key", "name", "shard", "text_id", "text",
    "source", "findings", "score", "p_match", "decision", "reason",
)  # fmt: skip
DIGEST = 12  # bytes by which a pair is told from others
BATCH = 4096  # rows of a column in memory at a time
SIDE = 160  # pixels of an embedded picture's longer side
LARGEST = 100_000_000  # most pixels of a picture for which there is a thumbnail
WHOLE = 64_000_000  # up to so many characters in total, the page has all texts uncut
CUT = 2_000  # characters of each text otherwise


class DistinctValues:
    """Dictionary encoding: a list of distinct values and an index for each, which makes columns of repeated sentences small."""

    def __init__(self) -> None:
        self.numbers: dict[Any, int] = {}

    def __call__(self, value: Any) -> int:
        return self.numbers.setdefault(value, len(self.numbers))

    @property
    def values(self) -> list[Any]:
        return list(self.numbers)


@dataclass(frozen=True)
class Columns:
    """Columns of a ledger (a table or its file), with a few thousand rows in memory at a time. ValueError for a missing
    column."""

    ledger: pyarrow.Table | Path

    def __post_init__(self) -> None:
        missing = [name for name in COLUMNS if name not in self.names]
        if missing:
            raise ValueError(f"the ledger lacks {', '.join(missing)}")

    @cached_property
    def names(self) -> list[str]:
        if isinstance(self.ledger, Path):
            return list(pq.read_schema(self.ledger).names)
        return list(self.ledger.column_names)

    def rows(self, *names: str) -> Iterator[tuple[Any, ...]]:
        """The values of these columns, row by row."""
        for batch in self._batches(list(names)):
            yield from zip(*(column.to_pylist() for column in batch.columns))

    def values(self, name: str) -> Iterator[Any]:
        """The values of one column."""
        for batch in self._batches([name]):
            yield from batch.column(0).to_pylist()

    def _batches(self, names: list[str]) -> Iterator[pyarrow.RecordBatch]:
        if isinstance(self.ledger, Path):
            with pq.ParquetFile(self.ledger) as file:
                for batch in file.iter_batches(BATCH, columns=names, use_threads=False):
                    yield batch.select(names)
        else:
            yield from self.ledger.select(names).to_batches(BATCH)


@dataclass(frozen=True)
class Pairs:
    """Which rows of a ledger are one pair: those with the same key, shard and name, and row of the shard where this is known.

    of [rows]: the pair of each row, numbered as they come; first [pairs]: its first row; keys [pairs].
    """

    of: NDArray[np.int64]
    first: NDArray[np.int64]
    keys: NDArray[Any]  # of bytes

    @classmethod
    def read(cls, columns: Columns) -> Pairs:
        digests, longest = bytearray(), 1
        for place in columns.rows("key", "shard", "name", *(["row"] if "row" in columns.names else [])):
            digests += hashlib.blake2b(
                repr(place).encode("utf-8", "surrogatepass"), digest_size=DIGEST
            ).digest()
            longest = max(longest, len((place[0] or "").encode()))
        rows = np.frombuffer(bytes(digests), f"S{DIGEST}")
        del digests
        _, first, of = np.unique(rows, return_index=True, return_inverse=True)
        order = np.argsort(first)  # as they come
        rank = np.empty_like(order)
        rank[order] = np.arange(len(order))
        numbered = cls(rank[of], first[order], np.zeros(0, "S1"))
        keys = ((key or "").encode() for key in numbered.one(columns.values("key")))
        return replace(numbered, keys=np.fromiter(keys, f"S{longest}", len(order)))

    def __len__(self) -> int:
        return len(self.first)

    def key(self, pair: int) -> str:
        return bytes(self.keys[pair]).decode()

    def links(self, link: Callable[[str], str | None]) -> Iterator[str | None]:
        """The link of each pair, by its key."""
        return (link(self.key(pair)) for pair in range(len(self)))

    def one(self, values: Iterable[Any]) -> Iterator[Any]:
        """Of a column's values those of the pairs' first rows."""
        waiting = iter(self.first.tolist())
        wanted = next(waiting, None)
        for row, value in enumerate(values):
            if row == wanted:
                yield value
                wanted = next(waiting, None)


class JsonStream:
    """JSON document that is written in pieces into a compressor, so that it is never whole in memory."""

    def __init__(self) -> None:
        self._compressor = zlib.compressobj(6)
        self._digest = hashlib.blake2b(digest_size=8)
        self._parts: list[bytes] = []

    def write(self, text: str) -> None:
        data = text.encode("utf-8", "backslashreplace")  # a path that is not UTF-8 becomes escapes
        self._digest.update(data)
        self._parts.append(self._compressor.compress(data))

    def array(self, values: Iterable[Any]) -> None:
        """Write an array of JSON values."""
        self.write("[")
        waiting, before = iter(values), ""
        while part := list(islice(waiting, BATCH)):
            self.write(before + dumps(part)[1:-1])
            before = ","
        self.write("]")

    def close(self) -> tuple[bytes, str]:
        """Finish: the deflated document, and a hash of the document."""
        return b"".join([*self._parts, self._compressor.flush()]), self._digest.hexdigest()


def dumps(value: Any) -> str:
    """Compact JSON."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def write_gallery(
    out: JsonStream,
    columns: Columns,
    pairs: Pairs,
    settings: dict[str, Any],
    pictures: Mapping[str, str],
    links: Iterable[str | None],
    more: Mapping[str, Iterable[Any]] = MappingProxyType({}),
) -> None:
    """Write the page's data as JSON: {"pairs": columns, "texts": columns, the lists of distinct values, and settings}.

    pictures: addresses of small pictures, by the pair's number as a text; links: of each pair's own picture; more: further columns of
    the pairs.
    """
    words = {name: DistinctValues() for name in ("shards", "sources", "findings", "decisions", "reasons")}
    out.write('{"pairs":{"key":')
    out.array(pairs.key(pair) for pair in range(len(pairs)))
    out.write(',"shard":')
    out.array(words["shards"](shard or "") for shard in pairs.one(columns.values("shard")))
    out.write(',"name":')
    out.array(name or "" for name in pairs.one(columns.values("name")))
    out.write(',"link":')
    out.array(map(relative, links))
    for name, values in more.items():
        out.write(f',"{name}":')
        out.array(values)
    out.write(',"picture":' + dumps(dict(pictures)))
    texts: dict[str, Iterable[Any]] = {
        "pair": (int(pair) for pair in pairs.of),
        "id": columns.values("text_id"),
        "text": _cut(columns),
        "source": (words["sources"](source or "original") for source in columns.values("source")),
        "findings": (words["findings"](tuple(codes or ())) for codes in columns.values("findings")),
        "score": (_round(score, 9) for score in columns.values("score")),
        "p": (_round(p, 4) for p in columns.values("p_match")),
        "decision": (words["decisions"](str(decision)) for decision in columns.values("decision")),
        "reason": (words["reasons"](reason or "") for reason in columns.values("reason")),
    }
    for before, (name, values) in zip(['},"texts":{', *[","] * len(texts)], texts.items()):
        out.write(f'{before}"{name}":')
        out.array(values)
    out.write("}")
    for name, held in {**{name: each.values for name, each in words.items()}, "settings": settings}.items():
        out.write(f',"{name}":{dumps(held)}')
    out.write("}")


def gallery(
    ledger: pyarrow.Table | Path,
    thumbnail: Callable[[str], bytes | None],
    link: Callable[[str], str | None],
    sample: int,
    middle: float | int | None,
) -> dict[str, Any]:
    """The data of `write_gallery` as Python values."""
    out, columns = JsonStream(), Columns(ledger)
    pairs = Pairs.read(columns)
    pictures = sampled_pictures(columns, pairs, thumbnail, sample, middle)
    write_gallery(out, columns, pairs, {}, pictures, pairs.links(link))
    held: dict[str, Any] = json.loads(zlib.decompress(out.close()[0]))
    return held


def choose(
    keys: Sequence[str] | NDArray[Any],
    pair_of: Sequence[int] | NDArray[np.int64],
    decisions: Sequence[str] | NDArray[Any],
    chances: Sequence[float | None] | NDArray[np.float64],
    sample: int,
    middle: float | int | None,
) -> list[int]:
    """Choose the pairs whose pictures are embedded: from each decision and from the doubtful ones in turn, half of them those
    at the top of the page (lowest P, or nearest to the threshold), half in the order of the key, a content hash, which is as
    good as random.
    """
    names, group_of = np.unique(np.asarray(decisions, np.str_), return_inverse=True)
    of = np.asarray(pair_of, np.int64)
    known = np.array([math.inf if p is None else p for p in chances], np.float64)
    groups = {str(name): (of[group_of == at], known[group_of == at]) for at, name in enumerate(names)}
    if middle is not None and np.isfinite(known).any():
        near = np.isfinite(known)
        groups["doubtful"] = of[near], np.abs(known[near] - middle)
    order = np.asarray(keys)
    first, by_lot = [], []
    for _, (rows, places) in sorted(groups.items()):
        members, inverse = np.unique(rows, return_inverse=True)
        least = np.full(len(members), math.inf)
        np.minimum.at(least, inverse, places)
        first.append(members[np.lexsort((order[members], least))][:sample].tolist())
        by_lot.append(members[np.argsort(order[members], kind="stable")][: 2 * sample].tolist())
    chosen = _in_turn(first, sample // 2, {})
    return sorted(_in_turn(by_lot, sample, chosen))


def _in_turn(groups: list[list[int]], most: int, chosen: dict[int, None]) -> dict[int, None]:
    """Add a pair of each group in turn, until `most` are chosen or all groups are empty."""
    waiting = [iter(group) for group in groups]
    while waiting and len(chosen) < most:
        for group in list(waiting):
            pair = next((pair for pair in group if pair not in chosen), None)
            if pair is None:
                waiting.remove(group)
            elif len(chosen) < most:
                chosen[pair] = None
    return chosen


def sampled_pictures(
    columns: Columns, pairs: Pairs, thumbnail: Callable[[str], bytes | None], sample: int, middle: float | int | None
) -> dict[str, str]:  # fmt: skip
    """Thumbnails that lie inside the page, of a sample of the pairs, by their numbers. middle: the P(match) around which pairs are
    doubtful."""
    decisions = np.fromiter(columns.values("decision"), "U7", len(pairs.of))
    numbers = (math.inf if p is None else p for p in columns.values("p_match"))
    chances = np.fromiter(numbers, np.float64, len(pairs.of))
    pictures = {}
    for pair in choose(pairs.keys, pairs.of, decisions, chances, sample, middle):
        small = shrink_base64(thumbnail(pairs.key(pair)))
        if small:
            pictures[str(pair)] = f"data:image/webp;base64,{small}"
    return pictures


def shrink(data: bytes, side: int = SIDE) -> bytes | None:
    """Thumbnail of an encoded picture: WebP bytes of at most `side` pixels a side, upright, on white; None where it is broken."""
    try:
        small = open_image(data, LARGEST, shrink_to=side)
    except Unreadable:
        return None
    small.thumbnail((side, side), Image.Resampling.LANCZOS)
    out = io.BytesIO()
    small.save(out, "WEBP", quality=76, method=4)
    return out.getvalue()


def shrink_base64(data: bytes | None, side: int = SIDE) -> str | None:
    """`shrink` in base64; None where there is no picture."""
    small = shrink(data, side) if data else None
    return base64.b64encode(small).decode("ascii") if small else None


def relative(link: str | None) -> str | None:
    """A link, if it is relative to the report (no scheme, no host), so that opening the report never uses the network; else
    None."""
    if not link:
        return None
    try:
        parts = urlsplit(link)
    except ValueError:
        return None
    return None if parts.scheme or parts.netloc or link.startswith(("/", "\\")) else link


def _cut(columns: Columns) -> Iterator[str]:
    """All texts, uncut unless together they are too long for a browser; then long texts are cut."""
    words = (text or "" for text in columns.values("text"))
    if sum(map(len, words)) <= WHOLE:
        return (text or "" for text in columns.values("text"))
    end = "\u2026 [cut here: {:,} characters in all; pairs.parquet has them]"
    texts = (text or "" for text in columns.values("text"))
    return (text if len(text) <= CUT else text[:CUT] + end.format(len(text)) for text in texts)


def _round(value: float | int | None, digits: int) -> float | None:
    """Round to a few digits; None for NaN and infinity, which JSON does not have."""
    return float(f"{value:.{digits}g}") if value is not None and math.isfinite(value) else None
