"""Discovery by file name: the folder is the registry, and this is the only dynamic import."""

from __future__ import annotations

import importlib
import pkgutil
from types import ModuleType

from pairloom.errors import Mistake, nearest


def names(room: str) -> list[str]:
    """The entries of a room such as "systems": its module names, furniture (a leading _) left out."""
    package = importlib.import_module(f"pairloom.{room}")
    return sorted(
        entry.name for entry in pkgutil.iter_modules(package.__path__) if not entry.name.startswith("_")
    )


def find(room: str, name: str) -> ModuleType:
    """The module of one entry. A dotted name outside pairloom (my_lab.my_system) is imported as it stands."""
    if "." in name:
        try:
            return importlib.import_module(name)
        except ModuleNotFoundError as error:
            raise Mistake(f"No module '{name}' can be imported.", str(error)) from error
    if name not in names(room):
        raise Mistake(f"There is no '{name}' in {room}.", "", nearest(name, names(room)))
    return importlib.import_module(f"pairloom.{room}.{name}")
