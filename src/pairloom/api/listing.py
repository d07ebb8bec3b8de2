"""The list of systems: one for each file of `systems/`, and ridge regression, which is solved in closed form."""

from __future__ import annotations

from dataclasses import dataclass
from types import ModuleType

from pairloom import registry
from pairloom.errors import Mistake
from pairloom.regression import ridge_model
from pairloom.verbs import KINDS, Ability


@dataclass(frozen=True)
class SystemInfo:
    """A system by name: its paper, its abilities, its presets. needs: what to install first where it lacks a library."""

    name: str
    paper: str
    abilities: tuple[Ability, ...]
    presets: tuple[str, ...]
    needs: str = ""

    @property
    def can(self) -> tuple[str, ...]:
        """What it can be asked, in words: "write captions" ..."""
        return tuple(KINDS[ability.name].can for ability in self.abilities)


def systems() -> list[SystemInfo]:
    """Every system by name, as its file declares it; the abilities are those of its TINY configuration. Ridge regression has
    no presets."""
    ridge = SystemInfo(ridge_model.NAME, _paper(ridge_model), ridge_model.System.abilities, ())
    return sorted([ridge, *map(_info, registry.names("systems"))], key=lambda one: one.name)


def _paper(module: ModuleType) -> str:
    """The paper that a module names first."""
    return " ".join((module.__doc__ or "").split("\n\n")[0].split()).partition("): ")[0] + ")"


def _info(name: str) -> SystemInfo:
    module = registry.find("systems", name)
    abilities: tuple[Ability, ...] = ()
    needs = ""
    try:
        abilities = tuple(module.System(module.TINY).abilities)
    except Mistake as mistake:  # a library of an extra is not there
        needs = mistake.do
    return SystemInfo(name, _paper(module), abilities, tuple(sorted(module.PRESETS)), needs)
