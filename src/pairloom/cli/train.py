"""Train a system on your pairs. The folder you name becomes a model; a run that was stopped goes on.

KEY=VALUE: lr=1e-4 batch=64 epochs=10 ... (docs/training.md has them all).

model.KEY=VALUE: the system's own numbers. pixels.KEY=VALUE: how pictures are prepared.

torchrun --no-python pairloom train ...: several processes train as one.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from pairloom.train.job import Job


def command(
    system: Annotated[str, typer.Argument(help="Which one: `pairloom systems` lists them.")],
    settings: Annotated[
        list[str] | None, typer.Argument(help="KEY=VALUE ...", metavar="[KEY=VALUE]...")
    ] = None,
    *,
    data: Annotated[Path, typer.Option(help="The set: a folder, tar shards, COCO JSON, parquet, ...")],
    out: Annotated[Path, typer.Option(help="Where the model, its checkpoints and its log go.")],
    preset: Annotated[str, typer.Option(help="The system's numbers: tiny, base, large ...")] = "base",
    recipe: Annotated[str, typer.Option(help="The paper's training settings by name, under your own.")] = "",
    init: Annotated[
        Path | None,
        typer.Option(
            help="A model folder to start from, or PART=FILE[,PART=FILE]: a published encoder, vision, language ..."
        ),
    ] = None,
    tokens: Annotated[
        Path | None, typer.Option(help="A tokenizer; without it one is trained on the set.")
    ] = None,
    vocabulary: Annotated[
        int, typer.Option(help="Largest size of a tokenizer trained on the set.", min=64)
    ] = 30524,
    held_out: Annotated[float, typer.Option(help="Share of the pictures kept for evaluation.")] = 0.05,
    workers: Annotated[int, typer.Option(help="Threads that decode ahead.", min=0)] = 2,
    mix: Annotated[
        list[str] | None,
        typer.Option(
            help="PATH=WEIGHT: another set to learn from in every step (--data weighs 1); repeatable."
        ),
    ] = None,
    negatives: Annotated[
        Path | None,
        typer.Option(
            help="A table of hard negatives (NegCLIP's layout); --data is the folder of its pictures."
        ),
    ] = None,
    device: Annotated[
        str, typer.Option(help="cpu, cuda, cuda:1 ...; auto takes a GPU where there is one.")
    ] = "auto",
    restart: Annotated[
        bool, typer.Option("--restart", help="Forget the run in --out and begin again.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be done; write nothing.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Machine-readable output.")] = False,
) -> None:
    from pairloom.cli import _show
    from pairloom.train import job as jobs
    from pairloom.train.distributed import join, leave

    order = jobs.Order(
        system, data, out, tuple(settings or ()), preset, recipe, init, tokens, vocabulary, held_out, workers,
        tuple(mix or ()), negatives,
    )  # fmt: skip
    ranks = join()
    where = _device(device, ranks.rank)
    if restart and ranks.writes and not dry_run:
        jobs.restart(out)
    ranks.wait()
    job = jobs.prepare(order, dry_run)
    total = job.settings.total(job.learn.steps(_plan(job, ranks)))
    if dry_run:
        _tell({**_facts(job), "steps": total, **vars(job.settings)}, json)
        return
    ranks.wait()
    if ranks.writes:
        jobs.begin(job)
    ranks.wait()
    fitted = _fit(job, total, where, ranks, quiet=json or not ranks.writes)
    if ranks.writes:
        jobs.finish(job, fitted)
        last = {name: value for line in fitted.lines[-2:] for name, value in line.items()}
        bad = job.bad()
        for name, reason in list(bad.items())[:3]:
            _show.console.print(f"could not be read: {name}: {reason}", markup=False)
        _tell({**_facts(job), "bad": len(bad), "resumed": fitted.resumed, **last, "model": str(out)}, json)
    leave()


def _fit(job: Job, total: int, device: str, ranks: Any, quiet: bool) -> Any:
    from pairloom.cli import _show
    from pairloom.train import checkpoint
    from pairloom.train.loop import fit

    whole = checkpoint.found(job.order.out / "checkpoints")
    done = int(whole[-1].name) if whole else 0
    if done and not quiet:
        _show.console.print(f"step {done:,} of {total:,} already done", markup=False)
    with _show.progress("train", total, quiet) as bar:
        bar.step(done)

        def tell(step: int, _: int, numbers: Any) -> None:
            bar.step(step - bar.done, len(job.bad()) - bar.bad, f"loss {numbers['loss']:.3f}")

        return fit(
            _learner(job),
            job.mixed or job.learn,
            job.settings,
            job.order.out,
            evaluate=_evaluate(job, device, ranks),
            tell=tell,
            device=device,
        )


def _learner(job: Job) -> Any:
    """The system, or what trains it on a reward."""
    from pairloom.errors import Mistake
    from pairloom.tasks.self_critical import Cider, SelfCritical
    from pairloom.verbs import able

    system = job.model.system
    if job.settings.reward == "none":
        return system
    if able(system, "caption") is None:
        raise Mistake(
            f"{job.order.system} cannot learn by a reward.", "It does not write.", "Leave reward out."
        )
    reward = Cider.of(job.learn.texts, job.learn.rows, job.learn.ids)
    return SelfCritical(system, reward, job.model.config.length)


def _evaluate(job: Job, device: str, ranks: Any) -> Any:
    """What the loop asks of the system while it learns: losses on this process's share, recall on all that is held."""
    from pairloom.data.order import Plan
    from pairloom.tasks.measure import accuracy, held_out_losses, recall

    held = job.held
    rows = 0 if held is None else len(held.rows)
    unit, even = math.lcm(8, ranks.world), math.lcm(2, ranks.world)
    steps = max(1, rows // job.settings.batch)
    size = rows // steps // unit * unit or rows // even * even  # the same for 1, 2, 4 or 8 processes
    if held is None or size < 2:
        return None

    def batches(plan: Plan) -> Any:
        return (part.to(device) for parts in held.read(plan, 0) for part in parts)

    def evaluate(system: Any) -> dict[str, float]:
        losses = held_out_losses(system, batches(Plan(size, rank=ranks.rank, world=ranks.world)))
        return losses | recall(system, batches(Plan(size))) | accuracy(system, batches(Plan(size)))

    return evaluate


def _plan(job: Job, ranks: Any) -> Any:
    from pairloom.data.order import Plan

    return Plan(job.settings.batch, job.settings.seed, job.settings.accumulate, ranks.rank, ranks.world)


def _device(wanted: str, rank: int) -> str:
    import torch

    from pairloom.errors import Mistake

    if wanted != "auto":
        try:
            torch.empty(0, device=wanted)
        except (RuntimeError, AssertionError) as error:  # unknown, not there, or not in this build of torch
            raise Mistake(
                f"There is no device '{wanted}' here.", str(error).split("\n")[0], "Try --device auto."
            ) from error
        return wanted
    return f"cuda:{rank % torch.cuda.device_count()}" if torch.cuda.is_available() else "cpu"


def _facts(job: Job) -> dict[str, Any]:
    learned = [value for value in job.model.system.parameters() if value.requires_grad]
    return {
        "system": job.order.system,
        "parameters": sum(value.numel() for value in learned),
        "tokens": job.model.tokens.size,
        "pictures": len(job.learn.rows),
        "held out": len(job.held.rows) if job.held else 0,
        "skipped": dict(job.index.skipped),
    }


def _tell(facts: dict[str, Any], json: bool) -> None:
    from pairloom.cli import _show

    if json:
        _show.say_json(facts)
    else:
        _show.table("Training", ["what", "value"], [[name, value] for name, value in facts.items()])
