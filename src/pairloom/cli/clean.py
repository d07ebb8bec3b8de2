"""Find the bad pairs of a set, rewrite or drop them by a calibrated, explained decision, and show a visual report."""

from __future__ import annotations

from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from typer import Option

from pairloom.cli._options import Format, ImageColumn, Sets, TextColumn

DROPS = partial(Option, rich_help_panel="What is dropped")
WRITES = partial(Option, rich_help_panel="Captions")
PROOF = partial(Option, rich_help_panel="Proof")
SPEED = partial(Option, rich_help_panel="Effort and speed")
RUN = partial(Option, rich_help_panel="The run")


class Decode(StrEnum):
    """How captions are proposed."""

    nucleus = "nucleus"
    beam = "beam"


def command(
    pairs: Sets,
    out: Annotated[
        Path, Option(help="A new folder: pairs/ (the clean set), pairs.parquet, run.json, report.html.")
    ],
    format: Format = None,
    text_column: TextColumn = "",
    image_column: ImageColumn = "",
    model: Annotated[
        str, DROPS(help="The judge: a model folder, or `self`: trained on these very pairs, cross-fitted.")
    ] = "self",
    false_drop: Annotated[float, DROPS(help="Largest share of the good pairs that may be dropped.")] = 0.05,
    captions: Annotated[bool, WRITES(help="Propose captions where a picture has no good text left.")] = True,
    add: Annotated[
        bool, WRITES("--add", help="Add accepted captions beside kept texts too (the paper's union).")
    ] = False,
    captioner: Annotated[
        Path | None, WRITES(help="A model folder that writes captions, instead of the judge's.")
    ] = None,
    keep_alt_text: Annotated[
        bool, WRITES("--keep-alt-text", help="Keep a replaced text behind its replacement.")
    ] = False,
    decode: Annotated[Decode, WRITES(help="How captions are proposed.")] = Decode.beam,
    top_p: Annotated[float, WRITES(help="Mass that nucleus sampling draws from.")] = 0.9,
    proposals: Annotated[int, WRITES(help="Captions proposed for a picture.")] = 6,
    accept: Annotated[
        float,
        WRITES(help="P(match) that a proposed caption needs, if the threshold of P(match) is not higher."),
    ] = 0.5,
    decoupled: Annotated[
        bool, WRITES("--decoupled/--shared", help="Captioner and filter as two models, or one.")
    ] = True,
    trusted: Annotated[
        Path | None,
        WRITES(help="A set that is known to be good: it bounds the false drops and teaches the captioner."),
    ] = None,
    repair: Annotated[
        bool,
        WRITES("--repair", help="Apply what `check` proposes: mojibake, markup, blanks, shared phrases."),
    ] = False,
    merge_copies: Annotated[
        bool, WRITES("--merge-copies", help="Of copied pictures keep the best, with the texts of all.")
    ] = False,
    labels: Annotated[
        Path | None,
        DROPS(help="Answers of `pairloom label` or of the report: decide again by them, in seconds."),
    ] = None,
    prove: Annotated[
        bool, PROOF("--prove", help="Train the same model on raw and on clean pairs, and compare.")
    ] = False,
    test: Annotated[
        Path | None, PROOF(help="A held-out set for --prove; else one picture in ten is held out.")
    ] = None,
    effort: Annotated[float, SPEED(help="Training time of the self judge; 2 trains twice as long.")] = 1.0,
    size: Annotated[int, SPEED(help="Pixels a side that the self judge reads.")] = 64,
    rounds: Annotated[int, SPEED(help="Judge and caption anew from the last result, at most so often.")] = 1,
    self_judge_system: Annotated[
        str, SPEED(help="What `self` is: `ridge` regression, or a system to train that embeds or matches.")
    ] = "ridge",
    image_tower: Annotated[
        str | None, DROPS(help="Pretrained image tower for `self`: a path, a name, or `none`.")
    ] = None,
    text_tower: Annotated[
        str | None, DROPS(help="Pretrained text tower for `self`: a folder, a name, or `none`.")
    ] = None,
    workers: Annotated[int, SPEED(help="Processes; 0: one for each core.", min=0)] = 0,
    device: Annotated[
        str, SPEED(help="cpu, cuda, cuda:1 ...; auto takes a GPU where there is one.")
    ] = "auto",
    seed: Annotated[int, RUN(help="Of everything random.")] = 0,
    restart: Annotated[bool, RUN("--restart", help="Forget what is done and begin anew.")] = False,
    dry_run: Annotated[bool, RUN("--dry-run", help="Say what would be done; write nothing.")] = False,
    json: Annotated[bool, RUN("--json", help="Machine-readable output.")] = False,
) -> None:
    import pairloom
    from pairloom.api.cleaning import clean_pairs, clean_settings, plan_clean
    from pairloom.cli import _show

    settings = clean_settings(
        model=model, false_drop=false_drop, captions=captions, add=add, keep_alt_text=keep_alt_text, decode=decode.value,
        top_p=top_p, proposals=proposals, accept=accept, decoupled=decoupled, rounds=rounds, size=size, effort=effort,
        seed=seed, prove=prove or test is not None, test=None if test is None else str(test),
        trusted=None if trusted is None else str(trusted), captioner=None if captioner is None else str(captioner),
        self_system=self_judge_system, image_tower=image_tower, text_tower=text_tower,
        repair=repair, merge_copies=merge_copies,
    )  # fmt: skip
    pair_set = pairloom.open(pairs, format, text_column=text_column, image_column=image_column)
    if dry_run:
        _show.say_json(plan_clean(pair_set, out, settings, device))
        return
    with _show.steps(quiet=json) as tell:
        result = clean_pairs(
            pair_set, out, settings, labels=labels, workers=workers, device=device, restart=restart, tell=tell
        )
    if json:
        _show.say_json(result.facts)
    else:
        _show.say_lines(result.summary())
    raise typer.Exit(0 if result.has_pairs else 1)
