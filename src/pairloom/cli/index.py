"""Embed the pictures of a set once and keep them for searching; run again, it adds what is new and takes out what has gone."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from typer import Argument, Option

from pairloom.cli._options import Device, Json


def command(
    out: Annotated[Path, Option(help="The folder of the index.")],
    pairs: Annotated[Path | None, Argument(help="A folder, tar shards, COCO JSON, parquet, ...")] = None,
    model: Annotated[Path | None, Option(help="A model that embeds; by default the index's own.")] = None,
    delete: Annotated[
        list[str] | None, Option(help="Take this picture out, by key or name, for good; may be repeated.")
    ] = None,
    many: Annotated[
        bool | None, Option("--many/--few", help="Inverted lists (faiss); by default past two million.")
    ] = None,
    workers: Annotated[int, Option(help="Threads that decode pictures; 0: one for each core.", min=0)] = 0,
    device: Device = "auto",
    restart: Annotated[bool, Option("--restart", help="Forget the index and begin anew.")] = False,
    json: Json = False,
) -> None:
    import pairloom
    from pairloom.api.indexing import delete_pictures, index_lines, indexed
    from pairloom.cli import _show
    from pairloom.errors import Mistake

    if pairs is None and not delete:
        raise Mistake("There is nothing to index.", "", "pairloom index PAIRS --model MODEL --out DIR")
    facts: dict[str, Any] = {"out": str(out)}
    if delete:
        facts |= delete_pictures(out, delete)
    if pairs is not None:
        before = 0 if restart else indexed(out)
        if before and not json:
            _show.console.print(f"{before:,} pictures already in {out}", markup=False)
        with _show.progress("indexing", None, json) as bar:
            facts |= pairloom.open(pairs).index(
                out, model, many=many, workers=workers, device=device, restart=restart, tell=bar.step
            )
    _show.result(facts, index_lines(facts), json)
