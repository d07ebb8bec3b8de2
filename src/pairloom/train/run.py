"""Training runs, from a request to a model folder.

Does not know: the command line, the preparation of examples.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from pairloom import registry
from pairloom.config_json import to_dict
from pairloom.data.characters import character_tokens
from pairloom.data.disk import atomic_write, check_output
from pairloom.data.feed import feed_name
from pairloom.data.order import Plan
from pairloom.data.region_set import RegionSet
from pairloom.data.tokens import Tokens
from pairloom.errors import Mistake
from pairloom.frozen import forget
from pairloom.model import Model, claim, save
from pairloom.runtime.devices import resolve_device
from pairloom.train import checkpoint, run_folder
from pairloom.train.chunks import demand_chunks
from pairloom.train.distributed import ProcessGroup, process_group
from pairloom.train.evaluate import evaluation
from pairloom.train.loop import Fitted, fit
from pairloom.train.order import TrainRequest
from pairloom.train.region_inputs import completed, read_regions
from pairloom.train.reward import learner
from pairloom.train.settings import Settings
from pairloom.train.sources import Loaders, Sources, open_sources
from pairloom.train.starting import demand_start, fresh_model, named_model, started_model
from pairloom.verbs import Clusters, parts_of

# called with finished steps, all steps, the numbers of the last logged step, and the unreadable pictures so far
Report = Callable[[int, int, Mapping[str, float], int], None]


@dataclass(frozen=True)
class TrainRun:
    """A prepared run: the model, its data and its settings."""

    request: TrainRequest
    settings: Settings
    model: Model
    sources: Sources
    batches: Loaders

    def facts(self) -> dict[str, Any]:
        """The content of run.json; a run is resumed only where it is the same."""
        return {
            "system": self.request.system,
            "config": to_dict(self.model.config),
            feed_name(self.model.feed): to_dict(self.model.feed),
            "held_out": self.request.held_out,
            **({"mix": list(self.request.mix)} if self.request.mix else {}),
        }

    def unreadable(self) -> dict[str, str]:
        """Pictures that could not be read during training, and why."""
        names: dict[str, str] = self.batches.learn.unreadable()
        return names


@dataclass(frozen=True)
class TrainResult:
    """Result of a training run, or the plan of a dry run. facts: about system and sets. metrics: the last numbers of the log
    and of the held-out examples. steps: 0 for a model that is solved in closed form. resumed: the step that the run was resumed from. unreadable: picture -> reason. rank: of
    this process, 0 where it is the only one."""

    model: Path
    steps: int
    settings: Settings
    facts: Mapping[str, Any]
    metrics: Mapping[str, Any] = field(default_factory=dict)
    resumed: int = 0
    rank: int = 0
    unreadable: Mapping[str, str] = field(default_factory=dict)

    def planned(self) -> dict[str, Any]:
        """What would be done: about system and sets, and the settings of a model that is trained in steps."""
        return {**self.facts, **({"steps": self.steps, **vars(self.settings)} if self.steps else {})}

    def outcome(self) -> dict[str, Any]:
        """What was done: about system and sets, the last numbers, and where the model lies."""
        ran = {"bad": len(self.unreadable), "resumed": self.resumed, **self.metrics, "model": str(self.model)}
        return {**self.facts, **ran}


def train(request: TrainRequest, report: Report | None = None) -> TrainResult:
    """Train a system by a request, and write a model folder. A run that was stopped is resumed; under torchrun several
    processes train together.

    Mistake for everything in the request that does not fit, before any work.
    """
    with process_group() as group:
        return _train(request, report, group)


def _train(request: TrainRequest, report: Report | None, group: ProcessGroup) -> TrainResult:
    device = resolve_device(request.device, group.rank)
    if request.restart and group.writes and not request.dry_run:
        run_folder.restart(request.out)
    group.wait()
    run = prepare(request)
    settings = run.settings
    plan = Plan(settings.batch, settings.seed, settings.accumulate, group.rank, group.world)
    steps = settings.total(run.batches.learn.steps(plan))
    result = TrainResult(request.out, steps, settings, _facts(run), rank=group.rank)
    if request.dry_run:
        return result
    group.wait()
    if group.writes:
        begin(run)
    group.wait()
    fitted = _fit(run, steps, device, group, report)
    if group.writes:
        finish(run, fitted)
    last = {name: value for line in fitted.lines[-2:] for name, value in line.items()}
    return replace(result, metrics=last, resumed=fitted.resumed, unreadable=run.unreadable())


def prepare(request: TrainRequest) -> TrainRun:
    """Prepare a run: read the set, load or train the tokenizer, build the model.

    Mistake for everything in the request that does not fit, and where `out` is not a folder of a training run.
    """
    settings = request.run()
    if not 0 <= request.held_out < 1:
        raise Mistake(
            f"--held-out {request.held_out} is not a share.", "", "Give a number from 0 to below 1."
        )
    if not request.data.exists():
        raise Mistake(
            f"There is nothing at {request.data}.", "The path does not exist.", "Check the spelling."
        )
    check_output(request.out, request.data)
    demand_start(request)
    regions = read_regions(request)
    begun = named_model(request)
    request = completed(request, regions, begun)
    if not request.dry_run:
        claim(request.out)
        run_folder.demand_room(request.out)
    sources = _sources(request, regions)
    if begun is not None:
        model = started_model(request, begun, settings.seed)
    else:
        model = fresh_model(request, _tokenizer(request, sources), settings.seed, sources.main.index)
        if isinstance(model.system, Clusters) and model.system.clusters is not None and not request.dry_run:
            model.system.fit_clusters(sources.main.vectors(), settings.seed)
    demand_chunks(model.system, settings.chunk)
    run = TrainRun(request, settings, model, sources, sources.batches(model, request))
    run_folder.demand_same(request.out, run.facts())
    return run


def _sources(request: TrainRequest, regions: RegionSet | None) -> Sources:
    """Open the sets of a request; where that fails, no empty folder is left."""
    try:
        return open_sources(request, None if request.dry_run else request.out, regions)
    except Mistake:
        if request.out.is_dir() and not any(request.out.iterdir()):
            request.out.rmdir()
        raise


def _tokenizer(request: TrainRequest, sources: Sources) -> Tokens:
    """The tokenizer of the request, of the run that is resumed, or a new one; texts are cleaned as the system's recipe has it (CLEAN
    of its file). A system that reads characters states them (ALPHABET)."""
    clean = getattr(request.module, "CLEAN", "")
    if request.tokens:
        return Tokens.load(request.tokens, clean)
    if run_folder.begun_in(request.out) is not None and (request.out / "tokenizer.json").is_file():
        return Tokens.load(request.out)
    if alphabet := getattr(request.module, "ALPHABET", ""):
        return character_tokens(alphabet)
    return sources.tokenizer(request.vocabulary, clean)


def begin(run: TrainRun) -> None:
    """Write run.json and the tokenizer before the first step."""
    about = {"data": str(run.request.data), "settings": asdict(run.settings)}
    run_folder.sign(run.request.out, {**run.facts(), **about}, run.model.tokens.to_json())


def _fit(run: TrainRun, steps: int, device: str, group: ProcessGroup, report: Report | None) -> Fitted:
    request, settings, batches = run.request, run.settings, run.batches
    whole = checkpoint.checkpoints(request.out / "checkpoints")
    if report is not None and group.writes:
        report(int(whole[-1].name) if whole else 0, steps, {}, 0)

    def tell(done: int, total: int, numbers: Mapping[str, float]) -> None:
        if report is not None:
            report(done, total, numbers, len(run.unreadable()))

    turns = parts_of(run.model.system)[request.part]
    return fit(
        learner(run.model.system, settings.reward, batches.learn, getattr(run.model.config, "length", 0)),
        batches.mixed or batches.learn,
        settings,
        request.out,
        part=request.part,
        evaluate=evaluation(batches.held_out, settings.batch, turns, device, group),
        tell=tell,
        device=device,
    )


def finish(run: TrainRun, fitted: Fitted) -> Path:
    """Write the model folder, with the facts of the model card and further files of its layout."""
    request, settings, model = run.request, run.settings, run.model
    numbers: Mapping[str, float] = next(
        (line for line in reversed(fitted.lines) if any("held out" in key for key in line)), {}
    )
    about = {
        **model.about,
        **({"parts": [*model.about.get("parts", []), request.part]} if request.part else {}),
        "recipe": request.recipe or "none",
        "data": f"{len(run.batches.learn.rows):,} pictures of {request.data.name}, {run.sources.count:,} texts in all",
        "training": f"{fitted.steps:,} steps of {settings.batch}, lr {settings.lr:g}, seed {settings.seed}",
        "metrics": {
            key.removeprefix("held out/"): value
            for key, value in numbers.items()
            if key.startswith("held out")
        },
    }
    save(replace(model, about=about), request.out)
    layout = getattr(request.module, "BESIDE", "")
    files = registry.find("weights", layout).beside(model) if layout else {}
    for name, data in files.items():
        with atomic_write(request.out / name, replace=True) as stream:
            stream.write(data)
    forget(request.out)
    return request.out


def _facts(run: TrainRun) -> dict[str, Any]:
    learned = [value for value in run.model.system.parameters() if value.requires_grad]
    held_out = run.batches.held_out
    return {
        "system": run.request.system,
        "parameters": sum(value.numel() for value in learned),
        "tokens": run.model.tokens.size,
        "pictures": len(run.batches.learn.rows),
        "held out": len(held_out.rows) if held_out else 0,
        "skipped": run.sources.skipped,
    }
