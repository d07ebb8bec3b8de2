"""Embed the pictures of a set with a model, into one table of keys and vectors; goes on where it was stopped."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pairloom.cli._speed import Speed, known


def command(
    pairs: Annotated[Path, typer.Argument(help="A folder, tar shards, COCO JSON, parquet, ...")],
    model: Annotated[Path, typer.Option(help="A model that embeds: CLIP or BLIP.")],
    out: Annotated[Path, typer.Option(help="A new .parquet file: key, name, embedding, problem.")],
    workers: Annotated[int, typer.Option(help="Processes; 0: one for each core.", min=0)] = 0,
    speed: Speed = "exact",
    restart: Annotated[bool, typer.Option("--restart", help="Forget what is done and begin anew.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Machine-readable output.")] = False,
) -> None:
    from json import dumps

    import pyarrow.parquet as pq

    import pairloom
    from pairloom.cli import _show
    from pairloom.data.disk import check_output
    from pairloom.data.shards import open_set
    from pairloom.scale._table import make_table, parts_of
    from pairloom.tasks.embed import Job, embed_shard, schema
    from pairloom.verbs import demand

    found = open_set(pairs)
    check_output(out, found.path)
    asked = pairloom.load(model)
    demand(asked.system, "embed")
    jobs = [
        Job(shard, str(model), parts_of(out) / f"{shard.name}.parquet", known(speed))
        for shard in found.shards
    ]
    facts = {"set": str(found.path), "model": str(model), "speed": speed}
    plan = dumps({**facts, "shards": [job.shard.name for job in jobs]})
    count, width = _show.workers(workers, len(jobs)), asked.config.embedding
    with _show.steps(quiet=json) as tell:
        make_table(
            embed_shard,
            jobs,
            out,
            schema(width),
            plan,
            count,
            restart,
            lambda done, all: tell("embed", done, all),
        )
    vectors = pq.read_table(out, columns=["embedding"]).column("embedding")
    facts = {"pictures": len(vectors) - vectors.null_count, "unreadable": vectors.null_count, "width": width}
    if json:
        _show.say_json({**facts, "out": str(out)})
    else:
        _show.out.print(
            f"{facts['pictures']:,} pictures embedded in {width} numbers each, {facts['unreadable']:,} could not be; "
            f"written to {out}",
            markup=False,
        )
