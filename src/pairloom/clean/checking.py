"""Check of a set into a folder: a table of every finding, a table of every pair, and a page. The set is only read.

Every step is a task for each shard, which writes a part that is its own commit mark, so that the same command goes on after a stop
and ends with the same bytes. This process has counts in memory, never texts or names.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pairloom
from pairloom.clean import audit_set, plan
from pairloom.clean.audit_set import Findings, Tell
from pairloom.clean.issues import IssuesTask, join_tables, shown_shares, write_issues
from pairloom.clean.plan import CheckSettings
from pairloom.data.disk import atomic_write, json_bytes, unwritable
from pairloom.data.shards import PairSet
from pairloom.scale import Execution


def check_into(
    pairs: PairSet, out: Path, execution: Execution, against: PairSet | None = None, restart: bool = False, tell: Tell | None = None
) -> dict[str, Any]:  # fmt: skip
    """Check a set into the folder `out`: issues.parquet, pairs.parquet, report.html, thumbnails/ and run.json, whose content is
    returned. The same call goes on after a stop. Mistake where `out` holds anything that pairloom did not write, or another run."""
    settings = CheckSettings(None if against is None else str(against.path))
    plan.permit(pairs.sources, out, settings)
    with plan.alone(out):
        work = plan.prepare(pairs, out, settings, restart)
        facts = plan.finished(out)
        try:
            if facts is None:
                facts = write_tables(pairs, out, execution, against, tell, work)
                facts |= {
                    "command": asdict(settings),
                    "plan": json.loads((work / "plan.json").read_text())["hash"],
                }
                _write_page(out, work, facts, pairs)
                with atomic_write(out / "run.json") as file:  # last, since it marks a finished check
                    file.write(json_bytes(facts))
            plan.tidy(out)
            return facts
        except OSError as error:
            raise unwritable(Path(error.filename or out), error) from error


def write_tables(
    pairs: PairSet, out: Path, execution: Execution, against: PairSet | None = None, tell: Tell | None = None,
    work: Path | None = None,
) -> dict[str, Any]:  # fmt: skip
    """Audit the shards of a set, write the parts of each, and join them to issues.parquet and pairs.parquet in `out`. work: the
    folder of the parts where there will be a page; without one they lie in `out`. Returns the facts of run.json."""
    page, work = work is not None, work or out
    for name in ("audit", "issues", "pairs", *(["shown"] if page else [])):
        (work / name).mkdir(exist_ok=True)
    findings = audit_set.check(pairs, execution, against, folder=work / "audit", size=0, tell=tell)
    facts = _facts(pairs, findings)
    shares = shown_shares(*_counts(facts))
    tasks = [
        IssuesTask(shard, work, whole, out if page else None, shares)
        for shard, whole in zip(pairs.shards, findings.by_shard())
    ]
    for _ in execution.run(write_issues, tasks):
        pass
    join_tables(pairs.shards, work, "issues", out / "issues.parquet")
    join_tables(pairs.shards, work, "pairs", out / "pairs.parquet")
    return facts


def _counts(facts: Mapping[str, Any]) -> tuple[dict[str, int], int]:
    """The counts of the findings, and of the groups of copies."""
    return {code: entry["count"] for code, entry in facts["audit"].items()}, facts["check"]["groups"]


def _facts(pairs: PairSet, findings: Findings) -> dict[str, Any]:
    return {
        "pairloom": pairloom.__version__,
        "check": {"bad": findings.bad(), "bad_share": findings.bad_share, "groups": len(findings.groups)},
        "set": {**pairs.facts(), "notes": list(findings.notes), **findings.counts()},
        "audit": findings.audit(),
    }  # fmt: skip


def _write_page(out: Path, work: Path, facts: dict[str, Any], pairs: PairSet) -> None:
    from pairloom.clean.check_page import write_page

    shown = work / "shown.parquet"
    shown.unlink(missing_ok=True)
    join_tables(pairs.shards, work, "shown", shown)
    write_page(out / "report.html", facts, shown)
