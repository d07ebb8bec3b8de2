"""The ledger as the report's page wants it: columns, every long word once, and small pictures of a sample of pairs.

Does not know: HTML, charts, how a decision was made.
"""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import urlsplit

import pyarrow
from PIL import Image

from pairloom.data.pixels import Unreadable, open_image

COLUMNS = (
    "key", "name", "shard", "text_id", "text",
    "source", "findings", "score", "p_match", "decision", "reason",
)  # fmt: skip
SIDE = 160  # pixels of an embedded picture's longer side
LARGEST = 100_000_000  # pixels of a picture that is still opened for a thumbnail
WHOLE = 64_000_000  # characters of all texts that the page carries uncut
CUT = 2_000  # characters kept of each text beyond that


class Words:
    """A list of distinct values and a number for each: what makes columns of repeated sentences small."""

    def __init__(self) -> None:
        self.numbers: dict[Any, int] = {}

    def __call__(self, value: Any) -> int:
        return self.numbers.setdefault(value, len(self.numbers))

    @property
    def values(self) -> list[Any]:
        return list(self.numbers)


def gallery(
    ledger: pyarrow.Table,
    thumbnail: Callable[[str], bytes | None],
    link: Callable[[str], str | None],
    sample: int,
    middle: float | int | None,
) -> dict[str, Any]:
    """Plain JSON values for the page: {"pairs": columns, "texts": columns, and the lists that they point into}.

    Rows with the same key, shard and name are one pair. middle: the P(match) around which pairs are doubtful.
    Raises ValueError where the ledger lacks a column.
    """
    missing = [name for name in COLUMNS if name not in ledger.column_names]
    if missing:
        raise ValueError(f"the ledger lacks {', '.join(missing)}")
    rows = {name: ledger.column(name).to_pylist() for name in COLUMNS}
    shards, sources, findings, decisions, reasons = Words(), Words(), Words(), Words(), Words()
    pairs = Words()
    pair_of = [pairs(entry) for entry in zip(rows["key"], rows["shard"], rows["name"])]
    keys = [key for key, _, _ in pairs.values]
    chosen = choose(keys, pair_of, rows["decision"], rows["p_match"], sample, middle)
    return {
        "pairs": {
            "key": keys,
            "shard": [shards(shard or "") for _, shard, _ in pairs.values],
            "name": [name or "" for _, _, name in pairs.values],
            "link": [_relative(link(key)) for key in keys],
            "picture": _pictures(chosen, keys, thumbnail),
        },
        "texts": {
            "pair": pair_of,
            "id": rows["text_id"],
            "text": _cut(rows["text"]),
            "source": [sources(source or "original") for source in rows["source"]],
            "findings": [findings(tuple(codes or ())) for codes in rows["findings"]],
            "score": [_round(score, 9) for score in rows["score"]],
            "p": [_round(p, 4) for p in rows["p_match"]],
            "decision": [decisions(decision) for decision in rows["decision"]],
            "reason": [reasons(reason or "") for reason in rows["reason"]],
        },
        "shards": shards.values,
        "sources": sources.values,
        "findings": findings.values,
        "decisions": decisions.values,
        "reasons": reasons.values,
    }


def choose(
    keys: list[str],
    pair_of: list[int],
    decisions: list[str],
    chances: list[float | None],
    sample: int,
    middle: float | int | None,
) -> list[int]:
    """Which pairs get their picture embedded: every decision and the doubtful ones in turn, half of them those that
    the page shows first (lowest P, or nearest to the threshold), half by key (a content hash: as good as by lot).
    """
    groups: dict[str, dict[int, float]] = {}
    for pair, decision, p in zip(pair_of, decisions, chances):
        place = math.inf if p is None else p
        groups.setdefault(decision, {}).setdefault(pair, place)
        groups[decision][pair] = min(groups[decision][pair], place)
        if middle is not None and p is not None:
            nearest = groups.setdefault("doubtful", {}).get(pair, math.inf)
            groups["doubtful"][pair] = min(nearest, abs(p - middle))
    first = [sorted(group, key=lambda pair: (group[pair], keys[pair])) for _, group in sorted(groups.items())]
    by_lot = [sorted(group, key=lambda pair: keys[pair]) for _, group in sorted(groups.items())]
    chosen = _in_turn(first, sample // 2, {})
    return sorted(_in_turn(by_lot, sample, chosen))


def _in_turn(groups: list[list[int]], most: int, chosen: dict[int, None]) -> dict[int, None]:
    """Add one pair of each group after the other until `most` are chosen or all groups are empty."""
    waiting = [iter(group) for group in groups]
    while waiting and len(chosen) < most:
        for group in list(waiting):
            pair = next((pair for pair in group if pair not in chosen), None)
            if pair is None:
                waiting.remove(group)
            elif len(chosen) < most:
                chosen[pair] = None
    return chosen


def _pictures(
    chosen: Iterable[int], keys: list[str], thumbnail: Callable[[str], bytes | None]
) -> dict[str, str]:
    made = {}
    for pair in chosen:
        data = thumbnail(keys[pair])
        small = shrink(data) if data else None
        if small:
            made[str(pair)] = base64.b64encode(small).decode("ascii")
    return made


def shrink(data: bytes) -> bytes | None:
    """Encoded bytes of any picture -> WebP bytes of at most SIDE pixels, upright, on white; None where it is broken."""
    try:
        small = open_image(data, LARGEST, shrink_to=SIDE)
    except Unreadable:
        return None
    small.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
    out = io.BytesIO()
    small.save(out, "WEBP", quality=76, method=4)
    return out.getvalue()


def _relative(link: str | None) -> str | None:
    """Only links that stay beside the report: no scheme, no host, so that opening it can reach no network."""
    if not link:
        return None
    try:
        parts = urlsplit(link)
    except ValueError:
        return None
    return None if parts.scheme or parts.netloc or link.startswith(("/", "\\")) else link


def _cut(texts: list[str | None]) -> list[str]:
    """All texts whole, unless together they would be too much for a browser; then the long ones lose their tails."""
    words = [text or "" for text in texts]
    if sum(map(len, words)) <= WHOLE:
        return words
    end = "\u2026 [cut here: {:,} characters in all; pairs.parquet has them]"
    return [text if len(text) <= CUT else text[:CUT] + end.format(len(text)) for text in words]


def _round(value: float | int | None, digits: int) -> float | None:
    """Few digits, and no NaN or infinity, which JSON does not have."""
    return float(f"{value:.{digits}g}") if value is not None and math.isfinite(value) else None
