"""The list of systems."""

from __future__ import annotations

from dataclasses import dataclass

from pairloom import registry
from pairloom.errors import Mistake
from pairloom.verbs import Ability


@dataclass(frozen=True)
class SystemInfo:
    """A system by name: its paper, its abilities, its presets. needs: what to install first where it lacks a library."""

    name: str
    paper: str
    abilities: tuple[Ability, ...]
    presets: tuple[str, ...]
    needs: str = ""


def systems() -> list[SystemInfo]:
    """Every system by name, as its file declares it; the abilities are those of its TINY configuration."""
    return [_info(name) for name in registry.names("systems")]


def _info(name: str) -> SystemInfo:
    module = registry.find("systems", name)
    paper = " ".join((module.__doc__ or "").split("\n\n")[0].split()).partition("): ")[0] + ")"
    abilities: tuple[Ability, ...] = ()
    needs = ""
    try:
        abilities = tuple(module.System(module.TINY).abilities)
    except Mistake as mistake:  # a library of an extra is not there
        needs = mistake.do
    return SystemInfo(name, paper, abilities, tuple(sorted(module.PRESETS)), needs)
