"""Find what is wrong with a set without any model: broken pictures, duplicates, spam, file names, leaks. Read-only."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from pairloom.cli._options import Json, Pairs, Workers


def command(
    pairs: Pairs,
    against: Annotated[
        Path | None,
        typer.Option(help="Another set (a test set, say) whose pictures must not be in this one."),
    ] = None,
    tolerate: Annotated[
        float, typer.Option(help="Exit code 1 where more than this share of the pairs is bad.")
    ] = 0.0,
    examples: Annotated[int, typer.Option(help="Examples shown of each finding.")] = 2,
    workers: Workers = 0,
    json: Json = False,
) -> None:
    import pairloom
    from pairloom.cli import _show

    pair_set = pairloom.open(pairs)
    with _show.progress("checking", None, quiet=json) as bar:
        findings = pair_set.check(against, workers=workers, tell=bar.step)
    audit = findings.audit()
    share = findings.bad() / max(1, findings.pairs)
    if json:
        _show.say_json({
            "set": {"path": str(pairs), "format": pair_set.format, "pairs": findings.pairs, "texts": findings.texts, "images": findings.images},
            "audit": audit, "bad": findings.bad(), "bad_share": share,
        })  # fmt: skip
    else:
        _say(pair_set, findings, audit, examples)
    raise typer.Exit(1 if share > tolerate else 0)


def _say(pair_set: Any, findings: Any, audit: dict[str, Any], examples: int) -> None:
    from pairloom.cli import _show

    _show.out.print(
        f"{findings.pairs:,} pairs, {findings.texts:,} texts, {findings.images:,} distinct pictures ({pair_set.format})",
        markup=False,
    )
    if not audit:
        _show.out.print("Nothing found.")
        return
    rows = [[code, entry["severity"], entry["count"], entry["says"]] for code, entry in audit.items()]
    _show.table("Findings", ["finding", "severity", "count", "what it means"], rows)
    for code, entry in audit.items():
        for example in entry["examples"][:examples] if entry["severity"] != "note" else []:
            text = example["text"].replace("\n", " ")[:100]
            _show.out.print(f"  {code}: {example['name']}" + (f"  {text!r}" if text else ""), markup=False)
    _show.out.print("`pairloom clean` drops what is bad, and judges the rest.", markup=False)
