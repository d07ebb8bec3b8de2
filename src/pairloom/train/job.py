"""Job: from an order (a system, a set, a folder) to a model that is ready to learn, and its batches; and the folder after.

Does not know: the command line, what a system is asked for, how pictures are made.
"""

from __future__ import annotations

import itertools
import json
import math
import re
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import pairloom
from pairloom import registry
from pairloom.blocks.tensors import put_shared, put_tensors, tensors_of
from pairloom.config import override, to_dict
from pairloom.data.disk import atomic_write, check_output
from pairloom.data.index import Index
from pairloom.data.mixture import Mixture
from pairloom.data.pixels import Transform
from pairloom.data.tokens import Tokens
from pairloom.errors import Mistake, nearest
from pairloom.model import MARK, Model, at_size, build, claim, read_json, save
from pairloom.train import checkpoint
from pairloom.train.chunks import demand_chunks
from pairloom.train.hardneg import ADAPTERS, adapted, write_adapters
from pairloom.train.loop import Fitted
from pairloom.train.settings import Settings
from pairloom.weights import load, with_part

SAMPLE = 200_000  # texts that a vocabulary is learned from
HELD = 1000  # most pairs held out
SHAPES = tuple("patch image_width image_depth image_heads stem positions width depth heads".split())
GROUPS = ("model", "pixels")  # settings of these are written group.key=value
OWN = (
    *"log.jsonl times.jsonl config.json model.safetensors tokenizer.json README.md run.json".split(),
    ADAPTERS,
)


@dataclass(frozen=True)
class Order:
    """What is asked for. settings: key=value of Settings, model.key=value of the system's Config, pixels.key=value of
    the Transform. init: a model folder to start from, or PART=FILE[,PART=FILE]. mix: more sets, PATH=WEIGHT, learned from in
    every step beside `data`, whose weight is 1. tokens: a tokenizer (without it one is trained, of at most
    `vocabulary` ids). negatives: a table of NegCLIP's layout, whose pictures lie in `data`. held_out: share of the pictures kept for evaluation. workers: threads that decode ahead."""

    system: str
    data: Path
    out: Path
    settings: tuple[str, ...] = ()
    preset: str = "base"
    recipe: str = ""
    init: Path | None = None
    tokens: Path | None = None
    vocabulary: int = 30524
    held_out: float = 0.05
    workers: int = 2
    mix: tuple[str, ...] = ()
    negatives: Path | None = None

    def of(self, group: str) -> list[str]:
        """The settings of a group, without its name; "" for the run's own."""
        named = [(setting.partition("=")[0].partition("."), setting) for setting in self.settings]
        if not group:
            return [setting for (head, dot, _), setting in named if not (dot and head.strip() in GROUPS)]
        return [
            setting.partition(".")[2] for (head, dot, _), setting in named if head.strip() == group and dot
        ]

    def run(self) -> Settings:
        """The recipe's settings with the order's own over them."""
        recipes = registry.find("systems", self.system).RECIPES
        if self.recipe and self.recipe not in recipes:
            raise Mistake(f"{self.system} has no recipe '{self.recipe}'.", "", nearest(self.recipe, recipes))
        return override(replace(Settings(), **recipes.get(self.recipe, {})), self.of(""))


@dataclass(frozen=True)
class Job:
    """Ready to learn. learn: a Loader, or what its lesson has instead. texts: how many the set has; held: batches for
    evaluation, None where too few were held out; mixed: the set among others, where there are any."""

    order: Order
    settings: Settings
    model: Model
    index: Index
    texts: int
    learn: Any
    held: Any
    mixed: Mixture | None = None

    def facts(self) -> dict[str, Any]:
        """What run.json tells; a run goes on only where these are the same."""
        return {
            "system": self.order.system,
            "config": to_dict(self.model.config),
            "pixels": to_dict(self.model.pixels),
            "held_out": self.order.held_out,
            **({"mix": list(self.order.mix)} if self.order.mix else {}),
        }

    def bad(self) -> dict[str, str]:
        """Pictures that could not be read while learning, and why."""
        found: dict[str, str] = getattr(self.learn.pictures, "bad", {})
        return found


def prepare(order: Order, dry_run: bool = False) -> Job:
    """Read the set, find or train the tokenizer, build the model. dry_run: leave the disk as it is.

    Raises Mistake for everything in the order that does not fit, and where `out` is someone else's folder.
    """
    settings = order.run()
    if not 0 <= order.held_out < 1:
        raise Mistake(f"--held-out {order.held_out} is not a share.", "", "Give a number from 0 to below 1.")
    if not order.data.exists():
        raise Mistake(f"There is nothing at {order.data}.", "The path does not exist.", "Check the spelling.")
    check_output(order.out, order.data)
    begun = _begun(order.out)
    if not dry_run:
        claim(order.out)
        _demand_room(order.out)
    lesson, others = _lessons(order, None if dry_run else order.out)
    model = _model(order, [lesson, *(other for other, _ in others)], settings.seed)
    demand_chunks(model.system, settings.chunk)
    learning, held = lesson.split(order.held_out)

    def loader(rows: Any, training: bool, lesson: Any = lesson) -> Any:
        return lesson.loader(model.tokens, model.config, model.pixels, rows, training, order.workers)

    job = Job(
        order,
        settings,
        model,
        lesson.index,
        lesson.count,
        loader(learning, True),
        loader(held[:HELD], False) if len(held) > 1 else None,
    )
    if others:
        more = [loader(other.split(order.held_out)[0], True, other) for other, _ in others]
        weights = (1.0, *(weight for _, weight in others))
        job = replace(job, mixed=Mixture((job.learn, *more), weights))
    changed = [name for name, value in _plain(job.facts()).items() if begun and begun.get(name) != value]
    if changed:
        raise Mistake(
            f"{order.out} holds another run: {_differences(begun or {}, _plain(job.facts()), changed)}.",
            "A run goes on only as it began.",
            "Give the same settings, another folder, or --restart to begin again.",
        )
    return job


def _weighed(word: str) -> tuple[Path, float]:
    """PATH=WEIGHT. Mistake where it is none, or the weight is not above 0."""
    path, equals, number = word.rpartition("=")
    try:
        weight = float(number)
    except ValueError:
        weight = 0.0
    if not equals or not 0 < weight < math.inf:
        raise Mistake(f"'{word}' is no set with a weight.", "", "Write PATH=WEIGHT, say --mix pairs=0.2.")
    return Path(path), weight


def _begun(out: Path) -> dict[str, Any] | None:
    """What run.json in `out` tells of a run that began there; None where there is none, or one of another command."""
    told = read_json(out / "run.json")
    return told if MARK in told and "system" in told else None


def _demand_room(out: Path) -> None:
    """Mistake where `out` holds what no run of training began: a model from elsewhere, or what another command made."""
    if _begun(out) is None and any(not entry.name.startswith(".") for entry in out.iterdir()):
        raise Mistake(
            f"{out} holds a model or the work of another command.",
            "Nothing of yours is overwritten.",
            "Name an empty or a new folder; --init starts from a model.",
        )


def _lessons(order: Order, aside: Path | None) -> tuple[Any, list[tuple[Any, float]]]:
    """The set as what the system learns from, and what is mixed in. A set that is none leaves no empty folder behind."""
    module = registry.find("systems", order.system)
    kind = registry.find("data.lessons", module.System.trains_on[0])
    try:
        if order.negatives is not None:
            return _with_negatives(order, module, aside), []
        others = [(kind.Lesson(path, aside), weight) for path, weight in map(_weighed, order.mix)]
        return kind.Lesson(order.data, aside), others
    except Mistake:
        if order.out.is_dir() and not any(order.out.iterdir()):
            order.out.rmdir()
        raise


def _with_negatives(order: Order, module: Any, aside: Path | None) -> Any:
    """The pictures of a table, with what is wrong of each."""
    if order.mix or "negatives" not in module.System.trains_on:
        why = (
            "A table of them is a set by itself."
            if order.mix
            else f"{order.system} does not learn from them."
        )
        raise Mistake(
            "Negatives cannot be used here.", why, f"Leave out {'--mix' if order.mix else '--negatives'}."
        )
    return registry.find("data.lessons", "negatives").Lesson(order.data, aside, order.negatives)


def _model(order: Order, lessons: list[Any], seed: int) -> Model:
    parts = re.split(r",(?=\w+=)", str(order.init or ""))
    if order.init is not None and (order.init.exists() or "=" not in parts[0]):
        model = _started(order, load(order.init), seed)
    else:
        tokens = Tokens.load(order.tokens) if order.tokens else _trained(order, lessons)
        model = build(order.system, tokens, order.preset, order.of("model"), seed)
        for part, equals, file in (word.partition("=") for word in parts):
            model = with_part(model, part, Path(file)) if equals else model
        model = replace(model, pixels=_cropped(model.pixels))
    if getattr(model.config, "length", 3) < 3:
        raise Mistake(
            "model.length leaves no text.", "It counts the first and the last token.", "Give 3 or more."
        )
    pixels = override(model.pixels, order.of("pixels"))
    if pixels.size != getattr(model.config, "image_size", pixels.size):
        side = model.config.image_size
        raise Mistake(
            f"pixels.size={pixels.size} does not fit.", f"The model reads {side} px.", "Set model.image_size."
        )
    return replace(model, pixels=pixels)


def _cropped(pixels: Transform) -> Transform:
    """With random crops in training: the system's own, or BLIP's."""
    return replace(pixels, crop_scale=pixels.crop_scale or (0.5, 1.0))


def _started(order: Order, begun: Model, seed: int) -> Model:
    """A model that begins with the weights of another: of the same system, or of one that the system's STARTS knows."""
    module, about = registry.find("systems", order.system), {"init": str(order.init)}
    if begun.name == order.system:
        config = override(begun.config, order.of("model"))
        if getattr(config, "rank", 0) and not begun.config.rank:
            begun = adapted(begun, config.rank, config.adapted, config.margin, seed)
        system = module.System(config)
        drop = tuple(getattr(system, "training_state", ()))
        put_tensors(system, tensors_of(begun.system, drop), drop)
        return Model(begun.name, system, begun.tokens, begun.pixels, about)
    starts = getattr(module, "STARTS", {})
    if begun.name not in starts:
        known = f" It can begin as a {' or a '.join(starts)}." if starts else ""
        raise Mistake(
            f"{order.init} is a {begun.name}, not a {order.system}.",
            known,
            f"pairloom train {begun.name} ...",
        )
    made = build(
        order.system, begun.tokens, order.preset, [*_sizes(begun.config, order), *order.of("model")], seed
    )
    begun = at_size(begun, made.config.image_size)
    fresh = put_shared(made.system, starts[begun.name](tensors_of(begun.system), made.config))
    pixels = _cropped(begun.pixels)
    return replace(made, pixels=pixels, about={**about, "begun afresh": ", ".join(fresh) or "nothing"})


def _sizes(config: Any, order: Order) -> list[str]:
    """The settings of a config that its weights depend on, as the new system knows them."""
    known = {entry.name for entry in fields(registry.find("systems", order.system).Config)}
    return [f"{name}={getattr(config, name)}" for name in SHAPES if name in known and hasattr(config, name)]


def _trained(order: Order, lessons: list[Any]) -> Tokens:
    """The tokenizer of a run that goes on, or a new one learned from every n-th text of the sets."""
    if _begun(order.out) is not None and (order.out / "tokenizer.json").is_file():
        return Tokens.load(order.out)
    texts = (text for lesson in lessons for group in lesson.words() for text in group)
    count = sum(lesson.count for lesson in lessons)
    return Tokens.train(itertools.islice(texts, 0, None, 1 + count // SAMPLE), order.vocabulary)


def begin(job: Job) -> None:
    """Sign the folder before the first step."""
    told = {
        MARK: pairloom.__version__,
        **job.facts(),
        "data": str(job.order.data),
        "settings": asdict(job.settings),
    }
    files = {"run.json": json.dumps(told, indent=1) + "\n", "tokenizer.json": job.model.tokens.to_json()}
    for name, text in files.items():
        with atomic_write(job.order.out / name, replace=True) as file:
            file.write(text.encode())


def restart(out: Path) -> None:
    """Forget a run: its checkpoints, log and model. A folder that is not pairloom's is left alone with a Mistake."""
    if not out.exists():
        return
    claim(out)
    _demand_room(out)
    checkpoint.clear(out / "checkpoints")
    shutil.rmtree(out / "tensorboard", ignore_errors=True)
    for name in OWN:
        (out / name).unlink(missing_ok=True)


def finish(job: Job, fitted: Fitted) -> Path:
    """Write the model into the folder, with what the model card tells."""
    order, settings = job.order, job.settings
    numbers: Mapping[str, float] = next(
        (line for line in reversed(fitted.lines) if any("held out" in key for key in line)), {}
    )
    about = {
        **job.model.about,
        "recipe": order.recipe or "none",
        "data": f"{len(job.learn.rows):,} pictures of {order.data.name}, {job.texts:,} texts in all",
        "training": f"{fitted.steps:,} steps of {settings.batch}, lr {settings.lr:g}, seed {settings.seed}",
        "metrics": {
            key.removeprefix("held out/"): value
            for key, value in numbers.items()
            if key.startswith("held out")
        },
    }
    save(replace(job.model, about=about), order.out)
    if getattr(job.model.config, "rank", 0):
        write_adapters(job.model, order.out)
    return order.out


def _plain(facts: Mapping[str, Any]) -> dict[str, Any]:
    made: dict[str, Any] = json.loads(json.dumps(facts))
    return made


def _differences(before: Mapping[str, Any], now: Mapping[str, Any], names: Iterable[str]) -> str:
    """The names that differ, with their group."""
    told = []
    for name in names:
        if isinstance(now[name], dict) and isinstance(before.get(name), dict):
            told += [f"{name}.{key}" for key in now[name] if before[name].get(key) != now[name][key]]
        else:
            told.append(name)
    return ", ".join(told)
