"""Rank all texts of a set for each picture and all pictures for each text: R@1, R@5, R@10, median rank and MRR."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from typer import Option

from pairloom.cli._options import Device, Json, Pairs, Regions, Restart


def command(
    pairs: Pairs,
    model: Annotated[Path, Option(help="A model that judges; one with a match head re-ranks the best.")],
    protocol: Annotated[
        str, Option(help="odds (ours), blip (k 256, logit + cosine), blip-flickr (the same with k 128).")
    ] = "odds",
    k: Annotated[int | None, Option(help="Candidates of a query that the match head scores.")] = None,
    out: Annotated[Path | None, Option(help="A new .parquet file: the best of each.")] = None,
    top: Annotated[int, Option(help="How many of them.")] = 10,
    regions: Regions = None,
    device: Device = "auto",
    restart: Restart = False,
    json: Json = False,
) -> None:
    import pairloom
    from pairloom.cli import _show

    with _show.steps(quiet=json) as tell:
        retrieved = pairloom.load(model, device, regions=regions).retrieve(
            pairs, protocol=protocol, k=k, out=out, top=top, restart=restart, tell=tell
        )
    _show.note(retrieved.cut)
    if json:
        _show.say_json(retrieved.to_dict())
        return
    _show.table(*retrieved.table())
    if retrieved.unreadable:
        _show.console.print(f"{len(retrieved.unreadable)} pictures cannot be read", markup=False)
