"""Model: a system with its tokens and pixels; built, saved as a folder, resized. `pairloom.weights.load` reads any."""

from typing import TYPE_CHECKING, Any

from pairloom.model.folder import MARK, claim, read_json, save
from pairloom.model.model import Model

if TYPE_CHECKING:
    from pairloom.model.builder import at_size, build

__all__ = ["MARK", "Model", "at_size", "build", "claim", "read_json", "save"]


def __getattr__(name: str) -> Any:
    """What makes new models is imported when it is used: who loads a saved one does not need it."""
    if name not in ("at_size", "build"):
        raise AttributeError(f"module 'pairloom.model' has no attribute '{name}'")
    from pairloom.model import builder

    return getattr(builder, name)
