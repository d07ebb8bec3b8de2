"""api: what a user imports. Each method calls one task or one job; commands and web pages call these methods."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pairloom.api.front import (
    load,
    load_judge,
    load_result,
    open,
    save,
    systems,
    train,
)
from pairloom.errors import Mistake

if TYPE_CHECKING:
    from pairloom.api.making import demo, import_weights, regions
    from pairloom.api.model import Model
    from pairloom.api.pairs import PairSet
    from pairloom.data.detected import Detected

__all__ = [
    "Detected",
    "Mistake",
    "Model",
    "PairSet",
    "demo",
    "import_weights",
    "load",
    "load_judge",
    "load_result",
    "open",
    "regions",
    "save",
    "systems",
    "train",
]


def __getattr__(name: str) -> Any:
    """Classes, and what makes folders of files, are imported when they are named: Model imports torch."""
    if name in ("demo", "import_weights", "regions"):
        from pairloom.api import making

        return getattr(making, name)
    if name == "Model":
        from pairloom.api.model import Model

        return Model
    if name == "PairSet":
        from pairloom.api.pairs import PairSet

        return PairSet
    if name == "Detected":
        from pairloom.data.detected import Detected

        return Detected
    raise AttributeError(f"module 'pairloom.api' has no attribute '{name}'")
