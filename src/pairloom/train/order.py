"""Training requests: system, data and settings of a run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from types import ModuleType
from typing import Any

from pairloom import registry
from pairloom.config import override
from pairloom.errors import Mistake, nearest
from pairloom.train.optimiser import demand_part
from pairloom.train.settings import OF_A_TURN, Settings
from pairloom.verbs import parts_of, turns_of

GROUPS = ("model", "pixels")  # settings of these groups have the form group.key=value


@dataclass(frozen=True)
class TrainRequest:
    """Request for a training run.

    system: its name, or NAME:PART of one that is trained in parts. settings: key=value of Settings, turn.key=value of one
    turn, model.key=value (or, where the run has no such key, key=value) of the system's Config, pixels.key=value of the
    Transform. init: a model folder to start from, or
    PART=FILE[,PART=FILE]. mix: more sets, PATH=WEIGHT, which are part of every step; the weight of `data` is 1. tokens: a
    tokenizer (without it one is trained, of at most `vocabulary` ids). negatives: a table in NegCLIP's layout about the
    pictures of `data`. tower: name or path of a frozen pretrained network that the system stands on. regions: of the
    pictures (docs/regions.md), for a system that reads those. held_out: share of the pictures for evaluation. workers: threads that decode ahead. restart: remove the run in `out` and begin again. dry_run:
    write nothing.
    """

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
    device: str = "auto"
    restart: bool = False
    dry_run: bool = False
    tower: str | None = None
    regions: Path | None = None

    @property
    def name(self) -> str:
        """The system's name without a part."""
        return self.system.partition(":")[0]

    @property
    def part(self) -> str:
        """The part to train; "" for a system that is trained as a whole. Mistake where there is no such part."""
        part = self.system.partition(":")[2]
        demand_part(part, parts_of(self.module.System), self.name)
        return part

    @property
    def module(self) -> ModuleType:
        """The system's file."""
        return registry.find("systems", self.name)

    def of(self, group: str) -> list[str]:
        """The settings of a group or turn, without its prefix; "" for those of the run. One that is no setting of a run but of the
        system's Config needs no prefix."""
        groups = (*GROUPS, *filter(None, turns_of(self.module.System)))
        own = {entry.name for entry in fields(self.module.Config)} - set(vars(Settings()))
        whole = [f"model.{one}" if one.partition("=")[0].strip() in own else one for one in self.settings]
        named = [(setting.partition("=")[0].partition("."), setting) for setting in whole]
        if not group:
            return [setting for (head, dot, _), setting in named if not (dot and head.strip() in groups)]
        return [
            setting.partition(".")[2] for (head, dot, _), setting in named if head.strip() == group and dot
        ]

    def run(self) -> Settings:
        """The settings of the run: the recipe's, overridden by the request's."""
        recipes = self.module.RECIPES
        if self.recipe and self.recipe not in recipes:
            raise Mistake(f"{self.name} has no recipe '{self.recipe}'.", "", nearest(self.recipe, recipes))
        settings = override(replace(Settings(), **recipes.get(self.recipe, {})), self.of(""))
        own = {
            turn: {**settings.turns.get(turn, {}), **self._of_turn(turn)}
            for turn in turns_of(self.module.System)
            if turn
        }
        return replace(settings, turns={turn: values for turn, values in own.items() if values})

    def _of_turn(self, turn: str) -> Mapping[str, Any]:
        """The settings of a turn as values. Mistake for a setting that belongs to the run."""
        words = self.of(turn)
        names = [word.partition("=")[0].strip() for word in words]
        for name in names:
            if name not in OF_A_TURN and name in vars(Settings()):
                raise Mistake(
                    f"{turn}.{name} cannot be set.", f"{name} belongs to the whole run.", f"Write {name}=..."
                )
        values = vars(override(Settings(), words))
        return {name: values[name] for name in names}
