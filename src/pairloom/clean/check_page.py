"""Page of a check: report.html with every finding, all its examples, and the groups of copies side by side.

Its gallery, style and scripts are those of the report of `clean`, but for what only one of them has. Does not know: how a fault is
detected.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pairloom.clean.gallery import Columns, JsonStream, Pairs, write_gallery
from pairloom.clean.issues import MOST_SHOWN, OF_COPIES
from pairloom.clean.page_file import PACKED, count, fill, write_file
from pairloom.clean.report import audit_rows, flat

SCRIPTS = ("ledger", "severities", "cards", "large", "keys", "start")
OF_PAIRS = ("group", "keep", "copy", "width", "height")  # columns of the pairs beside those of every gallery


def write_page(path: Path, facts: Mapping[str, Any], shown: Path) -> None:
    """Write the page to `path`, atomically. facts: of run.json; shown: the table of the rows that the page shows (`issues.TABLES`)."""
    columns, out = Columns(shown), JsonStream()
    pairs = Pairs.read(columns)
    settings = {
        "version": facts["pairloom"],
        "set": facts["set"]["path"],
        "threshold": None,
        "p_threshold": None,
    }
    more = {name: pairs.one(columns.values(name)) for name in OF_PAIRS}
    thumbnails = pairs.one(columns.values("thumbnail"))
    pictures = {str(pair): place for pair, place in enumerate(thumbnails) if place}
    write_gallery(out, columns, pairs, settings, pictures, pairs.one(columns.values("link")), more)
    packed, data_name = out.close()
    audit = audit_rows(facts["audit"])
    values = {
        "run": facts, "sentence": sentence(facts), "audit": audit,
        "doubts": sum(row["count"] for row in audit if row["severity"] == "doubt"),
        "command": list(_command(facts)), "most": MOST_SHOWN,
        "many": [row["code"] for row in audit if row["count"] > MOST_SHOWN and row["code"] not in OF_COPIES]
        + ["groups of copies"] * (facts["check"]["groups"] > MOST_SHOWN),
    }  # fmt: skip
    write_file(path, fill("check", SCRIPTS, PACKED, data_name, values), packed)


def _command(facts: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    yield from flat({name: value for name, value in facts["command"].items() if value is not None})


def sentence(facts: Mapping[str, Any]) -> str:
    """One-sentence summary of a check."""
    raw, bad = facts["set"], facts["check"]["bad"]
    read = f"{count(raw['pairs'])} pair{'s' * (raw['pairs'] != 1)}"
    if raw["texts"] != raw["pairs"]:
        read += f" with {count(raw['texts'])} text{'s' * (raw['texts'] != 1)}"
    if not facts["audit"]:
        return f"{read} read, nothing found."
    return f"{read} read: {count(bad)} bad" + (", nothing to drop." if not bad else ".")
