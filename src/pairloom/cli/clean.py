"""Find the bad pairs of a set, rewrite or drop them by a calibrated, explained decision, and show a visual report."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

DROPS, WRITES, PROOF, SPEED, RUN = "What is dropped", "Captions", "Proof", "Effort and speed", "The run"


class Decode(StrEnum):
    """How captions are proposed."""

    nucleus = "nucleus"
    beam = "beam"


def command(
    pairs: Annotated[Path, typer.Argument(help="A folder, tar shards, COCO JSON, parquet, ...")],
    out: Annotated[
        Path, typer.Option(help="A new folder: pairs/ (the clean set), pairs.parquet, run.json, report.html.")
    ],
    model: Annotated[
        str,
        typer.Option(
            help="The judge: a model folder, or `self`: trained on these very pairs, cross-fitted.",
            rich_help_panel=DROPS,
        ),
    ] = "self",
    false_drop: Annotated[
        float,
        typer.Option(help="Largest share of the good pairs that may be dropped.", rich_help_panel=DROPS),
    ] = 0.05,
    captions: Annotated[
        bool,
        typer.Option(help="Propose captions where a picture has no good text left.", rich_help_panel=WRITES),
    ] = True,
    add: Annotated[
        bool,
        typer.Option(
            "--add",
            help="Add accepted captions beside kept texts too (the paper's union).",
            rich_help_panel=WRITES,
        ),
    ] = False,
    captioner: Annotated[
        Path | None,
        typer.Option(
            help="A model folder that writes captions, instead of the judge's.", rich_help_panel=WRITES
        ),
    ] = None,
    keep_alt_text: Annotated[
        bool,
        typer.Option(
            "--keep-alt-text", help="Keep a replaced text behind its replacement.", rich_help_panel=WRITES
        ),
    ] = False,
    decode: Annotated[
        Decode, typer.Option(help="How captions are proposed.", rich_help_panel=WRITES)
    ] = Decode.nucleus,
    top_p: Annotated[
        float, typer.Option(help="Mass that nucleus sampling draws from.", rich_help_panel=WRITES)
    ] = 0.9,
    proposals: Annotated[
        int, typer.Option(help="Captions proposed for a picture.", rich_help_panel=WRITES)
    ] = 6,
    accept: Annotated[
        float, typer.Option(help="P(match) that a proposed caption needs.", rich_help_panel=WRITES)
    ] = 0.5,
    decoupled: Annotated[
        bool,
        typer.Option(
            "--decoupled/--shared",
            help="Captioner and filter as two models, or one.",
            rich_help_panel=WRITES,
        ),
    ] = True,
    trusted: Annotated[
        Path | None,
        typer.Option(
            help="A human-made set that captioner and filter are fine-tuned on.", rich_help_panel=WRITES
        ),
    ] = None,
    prove: Annotated[
        bool,
        typer.Option(
            "--prove",
            help="Train the same model on raw and on clean pairs, and compare.",
            rich_help_panel=PROOF,
        ),
    ] = False,
    test: Annotated[
        Path | None,
        typer.Option(
            help="A held-out set for --prove; else one picture in ten is held out.", rich_help_panel=PROOF
        ),
    ] = None,
    effort: Annotated[
        float,
        typer.Option(help="Training time of the self judge; 2 trains twice as long.", rich_help_panel=SPEED),
    ] = 1.0,
    size: Annotated[
        int, typer.Option(help="Pixels a side that the self judge reads.", rich_help_panel=SPEED)
    ] = 64,
    rounds: Annotated[
        int,
        typer.Option(
            help="Judge and caption anew from the last result, at most so often.", rich_help_panel=SPEED
        ),
    ] = 1,
    self_judge_system: Annotated[
        str,
        typer.Option(
            help="The system that `self` trains: any that embeds or matches.", rich_help_panel=SPEED
        ),
    ] = "blip",
    workers: Annotated[
        int, typer.Option(help="Processes; 0: one for each core.", min=0, rich_help_panel=SPEED)
    ] = 0,
    device: Annotated[
        str, typer.Option(help="Where models run: cpu, cuda, cuda:1 ...", rich_help_panel=SPEED)
    ] = "cpu",
    seed: Annotated[int, typer.Option(help="Of everything random.", rich_help_panel=RUN)] = 0,
    restart: Annotated[
        bool,
        typer.Option("--restart", help="Forget what is done and begin anew.", rich_help_panel=RUN),
    ] = False,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Say what would be done; write nothing.", rich_help_panel=RUN),
    ] = False,
    json: Annotated[
        bool, typer.Option("--json", help="Machine-readable output.", rich_help_panel=RUN)
    ] = False,
) -> None:
    from pairloom.clean.plan import CleanSettings, permit
    from pairloom.clean.run import clean, demand_usable
    from pairloom.cli import _show
    from pairloom.data.shards import open_set
    from pairloom.errors import Mistake
    from pairloom.scale import Execution

    try:
        settings = CleanSettings(
            model=model, false_drop=false_drop, captions=captions, add=add, keep_alt_text=keep_alt_text, decode=decode.value,  # type: ignore[arg-type]
            top_p=top_p,
            proposals=proposals, accept=accept, decoupled=decoupled, trusted=None if trusted is None else str(trusted), rounds=rounds,
            prove=prove or test is not None, test=None if test is None else str(test), size=size, effort=effort, seed=seed,
            captioner=None if captioner is None else str(captioner), self_system=self_judge_system,
        )  # fmt: skip
    except ValueError as error:
        raise Mistake("These options do not fit.", str(error)) from error
    pair_set = open_set(pairs)
    permit(pair_set.path, out, settings)
    if dry_run:
        demand_usable(settings, None, device)
        _show.say_json(
            {
                "set": str(pairs),
                "format": pair_set.format,
                "shards": len(pair_set.shards),
                "out": str(out),
                "settings": vars(settings),
            }
        )
        return
    with _show.steps(quiet=json) as tell:
        execution = Execution(workers=_show.workers(workers, 99))
        result = clean(pairs, out, settings, execution=execution, device=device, restart=restart, tell=tell)
    if json:
        _show.say_json(result.facts)
    else:
        _show.summary(result.facts, out)
