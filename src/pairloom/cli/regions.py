"""Make regions of pictures for models that read those (UNITER, ViLBERT ...): by a detector, DETR or RT-DETR as transformers saves
them, or as a grid of an image tower's features. One .npz a picture; goes on where it was stopped."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from typer import Option

from pairloom.cli._options import Device, Json, Pictures, Restart


def command(
    pictures: Pictures,
    out: Annotated[Path, Option(help="The folder of the regions: for --regions of the other commands.")],
    detector: Annotated[Path | None, Option(help="A folder of transformers: DETR or RT-DETR.")] = None,
    grid: Annotated[bool, Option("--grid", help="The cells of an image tower, without a detector.")] = False,
    image_tower: Annotated[str | None, Option(help="Of --grid: its name or path (docs/towers.md).")] = None,
    most: Annotated[int, Option(help="Regions of a picture, the surest.")] = 36,
    threshold: Annotated[float, Option(help="How sure they must be at least.")] = 0.0,
    device: Device = "auto",
    restart: Restart = False,
    dry_run: Annotated[bool, Option("--dry-run", help="Say what would be done.")] = False,
    json: Json = False,
) -> None:
    import pairloom
    from pairloom.cli import _show

    with _show.progress("regions", None, quiet=json) as bar:
        result = pairloom.regions(
            pictures, out, detector=detector, image_tower=image_tower, grid=grid, most=most, threshold=threshold,
            device=device, restart=restart, dry_run=dry_run, tell=bar.step,
        )  # fmt: skip
    _show.result(result.facts(), result.lines(), json)
