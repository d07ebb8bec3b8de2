"""api: what a user imports. Each method calls one task or one job; commands and web pages call these methods."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pairloom.api.front import (
    demo,
    import_weights,
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
    from pairloom.api.model import Model
    from pairloom.api.pairs import PairSet

__all__ = [
    "Mistake",
    "Model",
    "PairSet",
    "demo",
    "import_weights",
    "load",
    "load_judge",
    "load_result",
    "open",
    "save",
    "systems",
    "train",
]


def __getattr__(name: str) -> Any:
    """The classes are imported when they are named: Model imports torch."""
    if name == "Model":
        from pairloom.api.model import Model

        return Model
    if name == "PairSet":
        from pairloom.api.pairs import PairSet

        return PairSet
    raise AttributeError(f"module 'pairloom.api' has no attribute '{name}'")
