"""Embed the pictures of a set once and keep them for searching; run again, it adds what is new and takes out what has gone."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer


def command(
    out: Annotated[Path, typer.Option(help="The folder of the index.")],
    pairs: Annotated[
        Path | None, typer.Argument(help="A folder, tar shards, COCO JSON, parquet, ...")
    ] = None,
    model: Annotated[
        Path | None, typer.Option(help="A model that embeds; by default the index's own.")
    ] = None,
    delete: Annotated[
        list[str] | None,
        typer.Option(help="Take this picture out, by key or name, for good; may be repeated."),
    ] = None,
    many: Annotated[
        bool | None, typer.Option("--many/--few", help="Inverted lists (faiss); by default past two million.")
    ] = None,
    workers: Annotated[
        int, typer.Option(help="Threads that decode pictures; 0: one for each core.", min=0)
    ] = 0,
    restart: Annotated[bool, typer.Option("--restart", help="Forget the index and begin anew.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Machine-readable output.")] = False,
) -> None:
    from pairloom.cli import _show
    from pairloom.errors import Mistake
    from pairloom.search.store import Store

    if pairs is None and not delete:
        raise Mistake(
            "There is nothing to index.", "", "Name a set: pairloom index PAIRS --model MODEL --out DIR"
        )
    facts: dict[str, Any] = {"out": str(out)}
    if delete:
        store = Store.open(out)
        facts |= {"deleted": store.delete(delete), "pictures": len(store)}
        store.close()
    if pairs is not None:
        facts |= _fill(pairs, model, out, restart, many, _show.workers(workers, 1 << 30), json)
    if json:
        _show.say_json(facts)
    else:
        _tell(facts)


def _fill(
    pairs: Path, model: Path | None, out: Path, restart: bool, many: bool | None, workers: int, quiet: bool
) -> dict[str, Any]:
    import pairloom
    from pairloom.cli import _show
    from pairloom.data.shards import open_set
    from pairloom.errors import Mistake
    from pairloom.search.filling import fill
    from pairloom.search.store import FILE, Store

    where = str(model) if model else ""
    if (out / FILE).is_file() and (out / FILE).stat().st_size and not restart:
        store = Store.open(out)
        where = where or store.fact("model", "")
        if not quiet and len(store):
            _show.console.print(f"{len(store):,} pictures already in {out}", markup=False)
        store.close()
    if not where:
        raise Mistake(
            "Which model?", "A new index needs one that embeds: CLIP or BLIP.", "Add --model MODEL."
        )
    found = open_set(pairs)
    with _show.progress("indexing", None, quiet) as bar:
        done = fill(found, pairloom.load(where), where, out, restart, many, workers, bar.step)
    return asdict(done)


def _tell(facts: dict[str, Any]) -> None:
    from pairloom.cli import _show

    def say(line: str) -> None:
        _show.out.print(line, markup=False)

    if "deleted" in facts:
        say(f"{facts['deleted']:,} pictures deleted; {facts['pictures']:,} are left in {facts['out']}")
    if "added" not in facts:
        return
    say(
        f"{facts['pictures']:,} pictures in {facts['out']}: {facts['added']:,} new, {facts['gone']:,} gone, "
        f"{facts['unreadable']:,} cannot be read"
    )
    for name, why in facts["problems"]:
        say(f"  {name}: {why}")
    line, cells = facts["line"], facts["cells"]
    say(f"  no good match: {line['why'] or _worth(line)}")
    if cells:
        say(f"  inverted lists: {cells['lists']:,}, recall {cells['recall']:.3f}")


def _worth(line: dict[str, Any]) -> str:
    return f"told from a match with AUROC {line['area']:.3f}, over {line['queries']} texts of the set"
