"""Train a system on your pairs. The folder you name becomes a model; a run that was stopped goes on.

`pairloom train ridge` fits the judge of `clean` as a model that embeds: no steps, seconds to minutes, and no settings.

KEY=VALUE: lr=1e-4 batch=64 epochs=10 ... (docs/training.md has them all).

model.KEY=VALUE: the system's own numbers. pixels.KEY=VALUE: how pictures are prepared. TURN.KEY=VALUE: one optimiser's of several.

torchrun --no-python pairloom train ...: several processes train as one.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Any

from typer import Argument, Option

from pairloom.cli._options import Device, Json, Regions, Restart


def command(
    system: Annotated[str, Argument(help="Its name (`pairloom systems`), or NAME:PART of one in parts.")],
    settings: Annotated[list[str] | None, Argument(help="KEY=VALUE ...", metavar="[KEY=VALUE]...")] = None,
    *,
    data: Annotated[Path, Option(help="The set: a folder, tar shards, COCO JSON, parquet, ...")],
    out: Annotated[Path, Option(help="Where the model, its checkpoints and its log go.")],
    preset: Annotated[str, Option(help="The system's numbers: tiny, base, large ...")] = "base",
    recipe: Annotated[str, Option(help="The paper's training settings by name, under your own.")] = "",
    init: Annotated[
        Path | None, Option(help="A model to start from, or PART=FILE,...: a published encoder ...")
    ] = None,
    tokens: Annotated[Path | None, Option(help="A tokenizer; without it one is trained on the set.")] = None,
    vocabulary: Annotated[int, Option(help="Largest size of a tokenizer that is trained.", min=64)] = 30524,
    held_out: Annotated[float, Option(help="Share of the pictures kept for evaluation.")] = 0.05,
    workers: Annotated[int, Option(help="Threads that decode ahead.", min=0)] = 2,
    mix: Annotated[
        list[str] | None, Option(help="PATH=WEIGHT: another set in every step (--data weighs 1).")
    ] = None,
    negatives: Annotated[
        Path | None, Option(help="Hard negatives (NegCLIP's table); --data holds its pictures.")
    ] = None,
    image_tower: Annotated[
        str | None,
        Option(help="A frozen image network to stand on: a name, a path, or none (docs/towers.md)."),
    ] = None,
    text_tower: Annotated[str | None, Option(help="Of `ridge`: the same for texts.")] = None,
    regions: Regions = None,
    device: Device = "auto",
    restart: Restart = False,
    dry_run: Annotated[bool, Option("--dry-run", help="Say what would be done.")] = False,
    json: Json = False,
) -> None:
    from pairloom.api.closed_form import TowerNames
    from pairloom.api.closed_form import train as train_request
    from pairloom.cli import _show
    from pairloom.train.order import TrainRequest

    request = TrainRequest(
        system, data, out, tuple(settings or ()), preset, recipe, init, tokens, vocabulary, held_out, workers,
        tuple(mix or ()), negatives, device, restart, dry_run, regions=regions,
    )  # fmt: skip
    with ExitStack() as bar:
        towers = TowerNames(image_tower, text_tower)
        result = train_request(request, towers, None if json else _progress(bar))
    if result.rank:
        return  # the first process tells
    if dry_run:
        _show.facts("Training", result.planned(), json)
        return
    for name, reason in list(result.unreadable.items())[:3]:
        _show.console.print(f"could not be read: {name}: {reason}", markup=False)
    _show.facts("Training", result.outcome(), json)


def _progress(stack: ExitStack) -> Any:
    """Shows a run's progress as a bar, from the step that it goes on from."""
    from pairloom.cli import _show

    bars: list[_show.Progression] = []

    def report(done: int, total: int, numbers: Mapping[str, float], unreadable: int) -> None:
        if not bars:
            if done:
                _show.console.print(f"step {done:,} of {total:,} already done", markup=False)
            bars.append(stack.enter_context(_show.progress("train", total)))
        losses = (f"{name} {value:.3f}" for name, value in numbers.items() if name.split("/")[-1] == "loss")
        bars[0].step(done - bars[0].done, unreadable - bars[0].bad, " ".join(losses))

    return report
