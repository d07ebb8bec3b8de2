"""pairloom: learn from image-text pairs, find the bad ones, rewrite them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from pairloom import systems
    from pairloom.model import save
    from pairloom.weights import load

__all__ = ["load", "save", "systems"]


def __getattr__(name: str) -> Any:
    """The front door opens late: `import pairloom` does not import torch."""
    if name == "load":
        from pairloom.weights import load

        return load
    if name == "save":
        from pairloom.model import save

        return save
    if name == "systems":
        import pairloom.systems

        return pairloom.systems
    raise AttributeError(f"module 'pairloom' has no attribute '{name}'")
