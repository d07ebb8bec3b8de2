"""Check of a set from Python: counts, and tables of every finding, every pair and every group of copies."""

from __future__ import annotations

import shutil
import tempfile
import weakref
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pairloom.api.results import html_table
from pairloom.clean import checking, plan
from pairloom.clean.audit import EXAMPLES
from pairloom.clean.audit_set import Tell, demand_understood
from pairloom.clean.faults import REPAIRABLE
from pairloom.clean.ledger import to_pandas
from pairloom.data.shards import PairSet
from pairloom.errors import Mistake
from pairloom.scale import Execution, worker_count

FILES = {"issues": "issues.parquet", "pairs": "pairs.parquet", "report": "report.html"}


@dataclass(frozen=True, repr=False, eq=False)
class CheckResult:
    """Result of a check: the folder of its tables, and the content of run.json. has_page: whether a page lies beside them."""

    out: Path
    facts: dict[str, Any]
    has_page: bool

    @classmethod
    def load(cls, out: str | Path) -> CheckResult:
        """Load the result of a finished check from its --out folder. Mistake where there is none."""
        return cls(Path(out), plan.demand_finished(Path(out), "check", "check"), has_page=True)

    @property
    def pairs(self) -> int:
        """Number of pairs."""
        return int(self.facts["set"]["pairs"])

    @property
    def texts(self) -> int:
        """Number of texts."""
        return int(self.facts["set"]["texts"])

    @property
    def images(self) -> int:
        """Number of distinct readable pictures."""
        return int(self.facts["set"]["images"])

    @property
    def bad_share(self) -> float:
        """`bad` as a share of the texts, a pair without one counted as one."""
        return float(self.facts["check"]["bad_share"])

    def bad(self) -> int:
        """Number of texts that `clean` drops by rule, each once; a pair without a text counts as one."""
        return int(self.facts["check"]["bad"])

    def audit(self) -> dict[str, dict[str, Any]]:
        """The findings by code, with count, severity, sentence and a few examples; the most severe and most frequent first."""
        audit: dict[str, dict[str, Any]] = self.facts["audit"]
        return audit

    def table(self, name: str = "issues") -> pa.Table:
        """The table `issues` (a row for each finding), `pairs` (a row for each pair) or `groups` (a row for each pair with a
        copy) as a pyarrow table."""
        if name != "groups":
            return pq.read_table(self.out / f"{name}.parquet")
        rows = pq.read_table(self.out / "pairs.parquet", filters=[("group", ">=", 0)])
        order = [("group", "ascending"), ("keep", "descending")]
        return rows.sort_by(order).select(
            ["group", "keep", "copy", "name", "shard", "key", "width", "height", "texts", "codes"]
        )

    @cached_property
    def issues(self) -> Any:
        """Every finding as a pandas DataFrame: a row each, with the pair's key and name, the text, code, severity and sentence.
        Mistake where pandas is not installed."""
        return to_pandas(self.table("issues"))

    @cached_property
    def groups(self) -> Any:
        """Every pair with a copy as a pandas DataFrame, group by group; `keep` marks the picture to keep, which comes first.
        Mistake where pandas is not installed."""
        return to_pandas(self.table("groups"))

    @property
    def report(self) -> Path:
        """The page, one HTML file. Mistake for a check without an output folder."""
        if not self.has_page:
            raise Mistake("This check has no page.", "It had no output folder.", "pairs.check(out=FOLDER)")
        return self.out / "report.html"

    def to_json(self, path: str = "") -> dict[str, Any]:
        """The facts as one document: the set (under the path that a user named), the findings, the counts and the files."""
        raw = {name: value for name, value in self.facts["set"].items() if not name.endswith("_column")}
        files = (
            {"files": {name: str(self.out / file) for name, file in FILES.items()}} if self.has_page else {}
        )
        return {
            "set": {**raw, "path": path or raw["path"]},
            "audit": self.audit(),
            **self.facts["check"],
            "copies": self._copies(),
            **files,
        }

    def _copies(self) -> list[dict[str, Any]]:
        """The first groups of copies: the name of the picture to keep, and those of the others with how they are copies of it."""
        columns = ["group", "keep", "copy", "name"]
        rows = pq.read_table(self.out / FILES["pairs"], columns=columns, filters=[("group", "<", EXAMPLES)])
        groups: dict[int, dict[str, Any]] = {}
        for row in rows.to_pylist():
            group = groups.setdefault(row["group"], {"group": row["group"], "keep": "", "copies": []})
            if row["keep"]:
                group["keep"] = row["name"]
            else:
                group["copies"].append({"name": row["name"], "copy": row["copy"]})
        return [groups[number] for number in sorted(groups)]

    def rows(self) -> list[list[Any]]:
        """Code, severity, count and sentence of every finding."""
        return [[code, one["severity"], one["count"], one["says"]] for code, one in self.audit().items()]

    def headline(self) -> str:
        """The numbers of pairs, texts and pictures, and the format."""
        raw = self.facts["set"]
        return f"{raw['pairs']:,} pairs, {raw['texts']:,} texts, {raw['images']:,} distinct pictures ({raw['format']})"

    def remarks(self, examples: int) -> list[str]:
        """The set's notes, so many examples of each finding that is no mere note (with the text repaired, where it can be), and what to do
        next, a line each."""
        lines = [f"Note: {note}" for note in self.facts["set"]["notes"]]
        for code, entry in self.audit().items():
            if entry["severity"] == "note" and code != "repaired" and code not in REPAIRABLE:
                continue
            for example in entry["examples"][:examples]:
                texts = [
                    example[key].replace("\n", " ")[:100] for key in ("text", "proposal") if example.get(key)
                ]
                lines.append(f"  {code}: {example['name']}  {' -> '.join(map(repr, texts))}".rstrip())
        proposed = any(" -> " in line for line in lines)
        groups = self.facts["check"]["groups"]
        lines += [f"{groups:,} group{'s' * (groups != 1)} of copies of one picture."] if groups else []
        if not self.audit():
            lines.append("Nothing found.")
        elif self.has_page:
            lines.append("Written: " + "  ".join(str(self.out / file) for file in FILES.values()))
        else:
            lines.append("--out FOLDER writes every finding as a table and as a page.")
        return [
            *lines,
            *(["`pairloom clean` drops what is bad, and judges the rest."] if self.audit() else []),
            *(
                ["`pairloom clean --repair` also applies the proposals behind the arrows."]
                if proposed
                else []
            ),
        ]

    def __repr__(self) -> str:
        lines = [self.headline(), f"{self.bad():,} bad ({self.bad_share:.1%})"]
        lines += [
            f"  {code:<20} {severity:<6} {count:>8,}  {says}" for code, severity, count, says in self.rows()
        ]
        return "\n".join([*lines, "Tables: .issues, .groups, .table('pairs')"])

    def _repr_html_(self) -> str:
        titles = ["finding", "severity", "count", "what it means"]
        return html_table(titles, self.rows(), f"{self.headline()}; {self.bad():,} bad")


def check_pairs(
    pairs: PairSet, against: PairSet | None = None, out: Path | None = None, *, workers: int = 0, restart: bool = False,
    tell: Tell | None = None,
) -> CheckResult:  # fmt: skip
    """Check a set, into a folder or, without one, into a temporary one that goes with the result. Mistake where not one picture
    has a text."""
    demand_understood(pairs)
    execution = Execution(workers=worker_count(workers, len(pairs.shards)))
    if out is not None:
        facts = checking.check_into(pairs, out, execution, against, restart, tell)
        return CheckResult(out, facts, has_page=True)
    aside = Path(tempfile.mkdtemp(prefix="pairloom-check-"))
    try:
        facts = checking.write_tables(pairs, aside, execution, against, tell)
    except BaseException:
        shutil.rmtree(aside, ignore_errors=True)
        raise
    result = CheckResult(aside, facts, has_page=False)
    weakref.finalize(result, shutil.rmtree, aside, True)
    return result
