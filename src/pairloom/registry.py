"""Registry of modules by file name: a folder is the registry, and this is the only dynamic import."""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache
from types import ModuleType

from pairloom.errors import Mistake, nearest


def names(room: str, package: str = "pairloom") -> list[str]:
    """The entries of a room such as "systems": its public module names, sorted. Modules that begin with _ are left out."""
    return list(_names(room, package))


@cache  # each load of weights asks for every layout of the room
def _names(room: str, package: str) -> list[str]:
    folder = importlib.import_module(f"{package}.{room}")
    every = (entry.name for entry in pkgutil.iter_modules(folder.__path__))
    return sorted(name for name in every if not name.startswith("_"))


def find(room: str, name: str, package: str = "pairloom") -> ModuleType:
    """The module of one entry. A dotted name outside pairloom (my_lab.my_system) is imported as it stands.

    Raises Mistake where there is none, naming the nearest one.
    """
    if "." in name:
        try:
            return importlib.import_module(name)
        except ModuleNotFoundError as error:
            raise Mistake(f"No module '{name}' can be imported.", str(error)) from error
    if name not in names(room, package):
        raise Mistake(f"There is no '{name}' in {room}.", "", nearest(name, names(room, package)))
    return importlib.import_module(f"{package}.{room}.{name}")
