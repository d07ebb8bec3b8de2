"""Model: a system with its tokens and pixels; built, saved as a folder, resized. `pairloom.weights.load` reads any."""

from typing import TYPE_CHECKING, Any

from pairloom.model.folder import MARK, read_json
from pairloom.model.model import Model

if TYPE_CHECKING:
    from pairloom.model.builder import at_size, build
    from pairloom.model.saving import claim, save

__all__ = ["MARK", "Model", "at_size", "build", "claim", "read_json", "save"]


def __getattr__(name: str) -> Any:
    """What makes and saves models is imported when it is used: who loads a saved one does not need it."""
    if name in ("at_size", "build"):
        from pairloom.model import builder

        return getattr(builder, name)
    if name in ("claim", "save"):
        from pairloom.model import saving

        return getattr(saving, name)
    raise AttributeError(f"module 'pairloom.model' has no attribute '{name}'")
