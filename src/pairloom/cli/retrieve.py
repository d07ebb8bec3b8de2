"""Rank all texts of a set for each picture and all pictures for each text: R@1, R@5, R@10, median rank and MRR."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    import pyarrow

    from pairloom.model import Model
    from pairloom.tasks.ranking import Retrieved, Settings
    from pairloom.tasks.retrieve import Corpus


def command(
    pairs: Annotated[Path, typer.Argument(help="A folder, tar shards, COCO JSON, parquet, ...")],
    model: Annotated[
        Path, typer.Option(help="A model that judges; one with a match head re-ranks the best.")
    ],
    protocol: Annotated[
        str,
        typer.Option(help="odds (ours), blip (k 256, logit + cosine), blip-flickr (the same with k 128)."),
    ] = "odds",
    k: Annotated[int | None, typer.Option(help="Candidates of a query that the match head scores.")] = None,
    out: Annotated[
        Path | None, typer.Option(help="A new .parquet file with the best of every query.")
    ] = None,
    top: Annotated[int, typer.Option(help="How many of them.")] = 10,
    restart: Annotated[bool, typer.Option("--restart", help="Forget what is done and begin anew.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Machine-readable output.")] = False,
) -> None:
    from dataclasses import asdict

    import pairloom
    from pairloom.cli import _show
    from pairloom.data.shards import open_set
    from pairloom.errors import Mistake
    from pairloom.tasks.ranking import settings, worth
    from pairloom.tasks.retrieve import Corpus, Retriever
    from pairloom.verbs import demand_way

    chosen = settings(protocol, k)
    if top < 1:
        raise Mistake(f"--top {top} keeps nothing.", "", "Give 1 or more.")
    found = open_set(pairs)
    parts = _parts(out, found.path, restart) if out else None
    asked = pairloom.load(model)
    demand_way(asked.system)
    corpus = Corpus.of(found.pairs())
    if parts is not None:
        _claim(parts, corpus, asked, chosen)
    with _show.steps(quiet=json) as tell:
        made = Retriever(asked, corpus, chosen, parts, tell).run()
    told = worth(made)
    if out is not None and parts is not None:
        _write(out, parts, made, top, restart)
    facts = {
        "pictures": len(made.names), "texts": len(made.owner), "matched": len(made.codes), "protocol": protocol,
        "k": chosen.k, "unreadable": made.broken, "skipped": dict(corpus.index.skipped),
        "metrics": {way: {name: asdict(value) for name, value in row.items()} for way, row in told.items()},
    }  # fmt: skip
    if json:
        _show.say_json(facts)
        return
    title = f"{facts['pictures']:,} pictures, {facts['texts']:,} texts; {facts['matched']:,} pairs matched"
    names = list(next(iter(told.values())))
    _show.table(
        title, ["", *names], [[way, *(str(row[name]) for name in names)] for way, row in told.items()]
    )
    if made.broken:
        _show.console.print(f"{len(made.broken)} pictures cannot be read", markup=False)


def _parts(out: Path, source: Path, restart: bool) -> Path:
    """Where unfinished work lies. Mistake where `out` exists already, or lies in the set."""
    import shutil

    from pairloom.data.disk import check_output, taken
    from pairloom.scale._table import demand_ours, parts_of

    check_output(out, source)
    if out.exists() and not restart:
        raise taken(out)
    if restart:
        demand_ours(out, _schema())
        shutil.rmtree(parts_of(out), ignore_errors=True)
    return parts_of(out)


def _claim(parts: Path, corpus: Corpus, model: Model, chosen: Settings) -> None:
    """Parts of other pictures, another model or other settings are refused."""
    from pairloom.data.disk import atomic_write
    from pairloom.data.pair import content_hash
    from pairloom.errors import Mistake
    from pairloom.search.filling import fingerprint

    texts = repr(list(corpus.index.words())).encode()
    mark = content_hash(bytes(corpus.index.key), texts, repr(chosen).encode(), fingerprint(model).encode())
    held = parts / "plan"
    if held.is_file() and held.read_text() != mark:
        raise Mistake(
            f"{parts} holds work on other pairs.", "Or of another model.", "Name another --out, or --restart."
        )
    with atomic_write(held) as file:
        file.write(mark.encode())


def _schema() -> pyarrow.Schema:
    """What --out has of the best of every query."""
    import pyarrow as pa

    kinds = {"direction": pa.string(), "query": pa.string(), "place": pa.int32(), "candidate": pa.string()}
    return pa.schema([*kinds.items(), ("score", pa.float64()), ("right", pa.bool_())])


def _write(out: Path, parts: Path, made: Retrieved, top: int, replace: bool) -> None:
    """The best of every query; then the parts have done their work."""
    import shutil

    import pyarrow as pa
    import pyarrow.parquet as pq

    from pairloom.data.disk import atomic_write
    from pairloom.tasks.ranking import rankings

    schema = _schema()
    with atomic_write(out, replace) as file, pq.ParquetWriter(file, schema) as writer:
        for rows in rankings(made, top):
            writer.write_table(pa.Table.from_pylist(rows, schema))
    shutil.rmtree(parts)
