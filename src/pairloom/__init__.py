"""pairloom: learn from image-text pairs, find the bad ones, rewrite them."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from pairloom.api import *  # noqa: F403  # its names, one by one, stand in `pairloom/api/__init__.py`

__all__ = [  # noqa: F405
    "Detected", "Mistake", "Model", "PairSet", "demo", "import_weights", "load", "load_judge", "load_result", "open", "regions",
    "save", "systems", "train",
]  # fmt: skip
# names of rooms too: `pairloom.train(...)` runs, `pairloom.train.loop` is a module
FUNCTIONS = ("systems", "train")


def __getattr__(name: str) -> Any:
    """The front door opens late: `import pairloom` does not import torch."""
    if name in FUNCTIONS:  # the room, which `_Front` makes callable
        __import__(f"{__name__}.{name}")
        return sys.modules[f"{__name__}.{name}"]
    if name in __all__:
        from pairloom import api

        return getattr(api, name)
    raise AttributeError(f"module 'pairloom' has no attribute '{name}'")


class _Callable(ModuleType):
    """A room that is a function of the front door as well."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        from pairloom import api

        return getattr(api, self.__name__.rpartition(".")[2])(*args, **kwargs)


class _Front(ModuleType):
    """This module. Importing a room sets it here as an attribute, whoever imports it first."""

    def __setattr__(self, name: str, value: Any) -> None:
        if name in FUNCTIONS and isinstance(value, ModuleType):
            value.__class__ = _Callable
        super().__setattr__(name, value)

    def __dir__(self) -> list[str]:
        return sorted({*vars(self), *__all__})


sys.modules[__name__].__class__ = _Front
