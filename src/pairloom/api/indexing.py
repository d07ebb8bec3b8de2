"""An index of pictures for searching: filled from a set, thinned by key or name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pairloom.api.front import load
from pairloom.data.cut import CutTexts
from pairloom.data.shards import PairSet
from pairloom.errors import Mistake
from pairloom.scale import worker_count
from pairloom.search.filling import fill
from pairloom.search.index import SearchResults
from pairloom.search.sheet import sentence
from pairloom.search.store import FILE, Store


def indexed(out: Path) -> int:
    """How many pictures an index holds; 0 where there is none."""
    return _known(out)[1]


def delete_pictures(out: Path, names: Sequence[str]) -> dict[str, int]:
    """Take pictures out for good, by key or name: how many were deleted, and how many are left."""
    with Store.open(out) as store:
        return {"deleted": store.delete(list(names)), "pictures": len(store)}


def index_set(
    pairs: PairSet,
    out: Path,
    model: Path | str | None = None,
    *,
    many: bool | None = None,
    workers: int = 0,
    device: str = "auto",
    restart: bool = False,
    tell: Callable[[int, int], None] = lambda done, bad: None,
) -> dict[str, Any]:
    """Bring the index at `out` up to what the set holds now. model: where a model that embeds lies; the index's own without
    it. many: inverted lists; by default past two million. Mistake where there is no model."""
    where = str(model) if model else "" if restart else _known(out)[0]
    if not where:
        raise Mistake(
            "Which model?", "A new index needs one that embeds: CLIP or BLIP.", "Add --model MODEL."
        )
    count = worker_count(workers, 1 << 30)
    return asdict(fill(pairs, load(where, device), where, out, restart, many, count, tell))


def index_lines(facts: dict[str, Any]) -> list[str]:
    """What was deleted from an index and what was added, in a few lines."""
    lines: list[str] = []
    if "deleted" in facts:
        lines.append(
            f"{facts['deleted']:,} pictures deleted; {facts['pictures']:,} are left in {facts['out']}"
        )
    if "added" not in facts:
        return lines
    lines.append(
        f"{facts['pictures']:,} pictures in {facts['out']}: {facts['added']:,} new, {facts['gone']:,} gone, "
        f"{facts['unreadable']:,} cannot be read"
    )
    lines += [f"  {name}: {why}" for name, why in facts["problems"]]
    lines += [f"  {CutTexts(**facts['cut'])}"] * bool(facts["cut"]["texts"])
    line, cells = facts["line"], facts["cells"]
    told_apart = f"told from a match with AUROC {line['area']:.3f}, over {line['queries']} texts of the set"
    lines.append(f"  no good match: {line['why'] or told_apart}")
    if cells:
        lines.append(f"  inverted lists: {cells['lists']:,}, recall {cells['recall']:.3f}")
    return lines


def results_table(results: SearchResults) -> tuple[list[str], list[list[Any]]]:
    """Columns and rows of what a search found; a score that no answer has is left out."""
    kinds = {"P(match)": ("p", ".0%"), "match": ("match", "+.2f"), "cosine": ("score", ".4f")}
    rows = results.results
    shown = {
        name: kind for name, kind in kinds.items() if any(getattr(one, kind[0]) is not None for one in rows)
    }

    def number(value: float | None, form: str) -> str:
        return "" if value is None else format(value, form)

    cells = [
        [
            at, *(number(getattr(one, name), form) for name, form in shown.values()), one.name,
            one.texts[0] if one.texts else "", one.file,
        ]
        for at, one in enumerate(rows, 1)
    ]  # fmt: skip
    return ["#", *shown, "name", "text", "file"], cells


def results_lines(results: SearchResults, sheet: Path | None = None) -> list[str]:
    """What a search found in one sentence, and what there is to know about it. sheet: the contact sheet that was written."""
    lines = [sentence(results)] + [f"{results.cut}."] * bool(results.cut)
    if results.results and results.why:
        lines.append(f"No P(match): {results.why}.")
    if not results.whole:
        lines.append("The index is not whole: run `pairloom index` again to go on.")
    return [*lines, f"written to {sheet}"] if sheet else lines


def _known(out: Path) -> tuple[str, int]:
    """The model of an index, and how many pictures it holds."""
    if not (out / FILE).is_file() or not (out / FILE).stat().st_size:
        return "", 0
    with Store.open(out) as store:
        return store.fact("model", ""), len(store)
