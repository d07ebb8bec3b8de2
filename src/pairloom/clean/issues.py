"""Issues of a shard: a row for each finding, a row for each pair, and the rows and thumbnails of the page of a check.

A task of a shard writes its parts; the parts are joined to whole tables in the order of the shards. Does not know: how a fault is
detected, HTML.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pyarrow as pa
import pyarrow.parquet as pq

from pairloom.clean.audit import code_of
from pairloom.clean.audit_set import ShardFindings, proposal
from pairloom.clean.duplicates import KINDS
from pairloom.clean.faults import FAULTS, REPAIRABLE
from pairloom.clean.gallery import shrink
from pairloom.clean.ledger import joined
from pairloom.clean.plan import THUMBNAILS
from pairloom.clean.rows import read_part
from pairloom.data.disk import atomic_write, write_together
from pairloom.data.pair import Blob
from pairloom.data.shards import Shard
from pairloom.data.shards import read as read_shard

SEVERITIES = ("bad", "doubt", "note", "fine")  # of a text or pair: that of its gravest finding
SHOWN_BY_BROWSERS = {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".apng", ".webp", ".gif", ".bmp", ".avif"}
LARGE = 300_000  # bytes of a picture that the page shows by a thumbnail
MOST_SHOWN = (
    5_000  # examples of a finding, and groups of copies, that the page shows, about; the tables have all
)
OF_COPIES = frozenset({"exact_duplicate", "near_duplicate", "conflict"})  # shown as groups
GROUPS = "groups"  # in the shares that are shown: of the groups
ABOUT_PROBLEM = ("no_image", "unreadable", "broken_row", "charset", "duplicate_name", "no_text")
ABOUT_SIZE = ("tiny", "extreme_shape")

TABLES = {
    "issues": pa.schema([
        ("key", pa.string()), ("shard", pa.string()), ("name", pa.string()),
        ("text_id", pa.int32()),  # position among the pair's texts; null: of the picture or of the whole pair
        ("text", pa.string()),
        ("code", pa.string()), ("severity", pa.string()), ("says", pa.string()),
        ("about", pa.string()),  # what this one is about: the reader's or the decoder's reason, a size
        ("proposal", pa.string()),  # the text repaired, where that undoes this finding
        ("group", pa.int32()),  # of copies of one picture; null: it has no copy
    ]),
    "pairs": pa.schema([
        ("key", pa.string()), ("image_key", pa.string()), ("shard", pa.string()), ("name", pa.string()),
        ("width", pa.int32()), ("height", pa.int32()),
        ("texts", pa.list_(pa.string())), ("codes", pa.list_(pa.string())), ("severity", pa.string()),
        ("group", pa.int32()),
        ("keep", pa.bool_()),  # in a group: whether this is the picture to keep
        ("copy", pa.string()),  # how it is a copy of the picture to keep
    ]),
    # rows of the page, in the columns of its gallery: a text each, of the pairs with a finding or a copy
    "shown": pa.schema([
        ("key", pa.string()), ("name", pa.string()), ("shard", pa.string()), ("row", pa.int32()),
        ("text_id", pa.int32()), ("text", pa.string()), ("source", pa.string()),
        ("findings", pa.list_(pa.string())), ("score", pa.float64()), ("p_match", pa.float64()),
        ("decision", pa.string()), ("reason", pa.string()),
        ("link", pa.string()), ("thumbnail", pa.string()),
        ("group", pa.int32()), ("keep", pa.bool_()), ("copy", pa.string()), ("width", pa.int32()), ("height", pa.int32()),
    ]),
}  # fmt: skip
AUDIT = (
    "key",
    "image_key",
    "name",
    "texts",
    "sources",
    "image_faults",
    "text_faults",
    "problem",
    "notes",
    "width",
    "height",
)


@dataclass(frozen=True)
class IssuesTask:
    """Task of writing the issues of one audited shard. work: of the check, with the audit's parts; whole: the faults that need
    the whole set; out: where the page will lie, None without one; shares: of each finding and of the groups, that the page shows."""

    shard: Shard
    work: Path
    whole: ShardFindings
    out: Path | None = None
    shares: Mapping[str, float] = field(default_factory=dict)

    def part(self, table: str) -> Path:
        """The shard's part of a table."""
        return self.work / table / f"{self.shard.name}.parquet"


def write_issues(task: IssuesTask) -> int:
    """Write the parts of a shard, the issues last: they are the commit mark. Returns the number of its pairs."""
    if not task.part("issues").exists():
        pairs = list(_audited(task))
        if task.out is not None:
            _write(task, "shown", list(_shown(task, pairs)))
        _write(task, "pairs", [_pair_row(pair) for pair in pairs])
        _write(task, "issues", [row for pair in pairs for row in _issues(pair)])
    return pq.read_metadata(task.part("pairs")).num_rows


def join_tables(shards: Sequence[Shard], work: Path, table: str, path: Path) -> None:
    """Join the parts of a table to one file, a shard at a time."""
    parts = (work / table / f"{shard.name}.parquet" for shard in shards)
    for _ in joined(parts, path, TABLES[table]):
        pass


def _write(task: IssuesTask, table: str, rows: list[dict[str, Any]]) -> None:
    with atomic_write(task.part(table), replace=True) as file:
        pq.write_table(pa.Table.from_pylist(rows, TABLES[table]), file)


def _audited(task: IssuesTask) -> Iterator[dict[str, Any]]:
    """The audit's rows of a shard with all their faults, their copies and their severity."""
    rows = read_part(task.work / "audit", task.shard.name, AUDIT).to_pylist()
    task.whole.add_to([row["image_faults"] for row in rows], [row["text_faults"] for row in rows])
    groups = task.whole.groups
    for row, group, best, kind in zip(
        rows, groups.group_of.tolist(), groups.best.tolist(), groups.kind.tolist()
    ):
        copied = group >= 0
        row["shard"] = task.shard.name
        row["group"], row["keep"] = (group, best) if copied else (None, None)
        row["copy"] = KINDS[kind] if copied else ""
        if not row["texts"] and severity_of(row["image_faults"]) != "bad":
            row["image_faults"].append("no_text")
        row["proposals"] = [
            proposal(text, codes, task.whole.phrases) for text, codes in zip(row["texts"], row["text_faults"])
        ]
        yield row


def severity_of(codes: Sequence[str]) -> str:
    """The gravest severity of some faults; "fine" of none."""
    held = {FAULTS[code].severity for code in codes}
    return next((severity for severity in SEVERITIES if severity in held), "fine")


def _issues(pair: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """A row for each finding of a pair: first those of the picture, then those of its texts."""
    known = {name: pair[name] for name in ("key", "shard", "name", "group")}
    entries = [
        (None, None, pair["image_faults"]),
        *zip(range(len(pair["texts"])), pair["texts"], pair["text_faults"]),
    ]
    for text_id, text, codes in entries:
        for code in codes:
            fault = FAULTS[code]
            yield {
                **known, "text_id": text_id, "text": text, "code": code, "severity": fault.severity, "says": fault.says,
                "about": about(code, pair) if text_id is None else "",
                "proposal": pair["proposals"][text_id] or None if text_id is not None and code in REPAIRABLE else None,
            }  # fmt: skip


def about(code: str, pair: dict[str, Any]) -> str:
    """What a fault of a pair's picture is about in this very case; "" where there is no more to say."""
    if code in ABOUT_SIZE:
        return f"{pair['width']} x {pair['height']} pixels"
    note = next((note for note in pair["notes"] if code_of(note) == code), "")
    problem = pair["problem"] if code in ABOUT_PROBLEM and pair["problem"] != "no text" else ""
    return note or problem


def _pair_row(pair: dict[str, Any]) -> dict[str, Any]:
    codes = list(
        dict.fromkeys([*pair["image_faults"], *(code for each in pair["text_faults"] for code in each)])
    )
    known = {name: pair[name] for name in TABLES["pairs"].names if name in pair}
    return {**known, "codes": codes, "severity": severity_of(codes)}


# -- the page ----------------------------------------------------------------------------------------------------------


def _shown(task: IssuesTask, pairs: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Rows of the page, with a link to each picture or its thumbnail."""
    chosen = {
        row: shown for row, pair in enumerate(pairs) if (shown := _on_page(pair, task.shares)) is not None
    }
    places: dict[int, tuple[str | None, str | None]] = {}
    thumbnails: list[tuple[Path, bytes]] = []
    for row, pair in enumerate(read_shard(task.shard) if chosen else ()):
        if row in chosen:
            link, small = _picture(pair.image, task.out)  # type: ignore[arg-type]  # there is a page
            name = f"{THUMBNAILS}/{task.shard.name}/{row}.webp"
            places[row] = link, quote(name) if small else None
            thumbnails += [(task.out / name, small)] if small else []  # type: ignore[operator]
    write_together(thumbnails)
    for row in sorted(chosen):
        yield from _page_rows(chosen[row], row, *places.get(row, (None, None)))


def shown_shares(counts: Mapping[str, int], groups: int) -> dict[str, float]:
    """The shares of the findings (code -> count) and of the groups that the page shows, so that its size has a bound."""
    return {code: min(1.0, MOST_SHOWN / count) for code, count in {**counts, GROUPS: groups}.items() if count}


def _on_page(pair: dict[str, Any], shares: Mapping[str, float]) -> dict[str, Any] | None:
    """A pair as the page shows it; None where it does not. By lot: of a finding by the pair's key, of a group by its number, whole."""
    group = pair["group"]
    whole = group is not None and group * 0x9E3779B1 % 2**32 < shares.get(GROUPS, 1.0) * 2**32
    lot = int(pair["key"][:8], 16) / 2**32
    codes = [code for code in _pair_row(pair)["codes"] if code not in OF_COPIES or group is None]
    if not whole and not any(lot < shares.get(code, 1.0) for code in codes):
        return None
    return pair if whole else {**pair, "group": None, "keep": None, "copy": ""}


def _page_rows(
    pair: dict[str, Any], row: int, link: str | None, thumbnail: str | None
) -> Iterator[dict[str, Any]]:
    """A row for each text of a pair, or one for a pair without a text."""
    known = {
        name: pair[name] for name in ("key", "name", "shard", "group", "keep", "copy", "width", "height")
    }
    known |= {"row": row, "link": link, "thumbnail": thumbnail, "score": None, "p_match": None}
    texts = list(zip(range(len(pair["texts"])), pair["texts"], pair["sources"], pair["text_faults"]))
    for text_id, text, source, codes in texts or [(-1, "", "original", [])]:
        findings = [*pair["image_faults"], *codes]
        says = [f"{FAULTS[code].says}{_in_brackets(about(code, pair))}" for code in pair["image_faults"]]
        says += [FAULTS[code].says for code in codes]
        says += [f"Repaired it reads: {new}" for new in pair["proposals"][text_id : text_id + 1] if new]
        yield {
            **known, "text_id": text_id, "text": text, "source": source, "findings": findings,
            "decision": severity_of(findings), "reason": " ".join(says),
        }  # fmt: skip


def _in_brackets(why: str) -> str:
    return f" ({why})" if why else ""


def _picture(image: Blob, out: Path) -> tuple[str | None, bytes | None]:
    """(link to a picture's own file relative to the page, a thumbnail): a thumbnail where it lies inside another file, is large,
    or of a kind that browsers do not show."""
    own = image.path is not None and image.data is None and not image.offset and image.size is None
    link = None
    if own and image.path is not None:
        suffix = os.path.splitext(image.path)[1].lower()
        link = quote(os.fsencode(os.path.relpath(image.path, out))) if suffix in SHOWN_BY_BROWSERS else None
        if link is not None and os.path.getsize(image.path) <= LARGE:
            return link, None
    try:
        return link, shrink(image.read())
    except OSError:
        return link, None
