"""What a published config says, checked before a network is built of it: wrong types, and numbers that no network has.

Does not know: any one layout.
"""

from __future__ import annotations

import dataclasses
import math
import types
import typing
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pairloom.errors import Mistake

LARGEST, DEEPEST = 1 << 24, 1 << 10  # above every width and vocabulary; above every number of layers
SIZES = (
    "image_size",
    "patch",
    "vocabulary",
    "length",
    "embedding",
    "queries",
)  # and all that end in width or heads
RAISED = (TypeError, ValueError, KeyError, AttributeError, ZeroDivisionError, OverflowError, RuntimeError)


@contextmanager
def described_by(file: Path) -> Iterator[None]:
    """Whatever settings of the file raise that fit no network becomes a Mistake about the file."""
    try:
        yield
    except RAISED as error:
        why = str(error).split("\n")[0] or type(error).__name__
        raise Mistake(
            f"{file} does not describe a model that can be built.", f"{why}.", "Copy the file again."
        ) from error


def check(config: Any) -> None:
    """Raise ValueError for a setting of a (nested) Config whose value is not of its type, or is no size of a network."""
    hints = typing.get_type_hints(type(config))
    for entry in dataclasses.fields(config):
        value = getattr(config, entry.name)
        if dataclasses.is_dataclass(value):
            check(value)
        elif not _fits(value, hints[entry.name]):
            raise ValueError(f"{entry.name} cannot be {value!r}")
        if value == 0 and (entry.name in SIZES or entry.name.endswith(("width", "heads"))):
            raise ValueError(f"{entry.name} cannot be 0")
        if entry.name.endswith("depth") and value > DEEPEST:
            raise ValueError(f"{value} layers are more than any network has")


def _fits(value: Any, hint: Any) -> bool:
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return any(_fits(value, one) for one in inner)
    if origin is typing.Literal:
        return value in inner
    if origin is tuple:
        return isinstance(value, tuple) and all(_fits(one, inner[0]) for one in value)
    if hint is type(None):
        return value is None
    if hint is bool or isinstance(value, bool):
        return hint is bool and isinstance(value, bool)
    if hint is int:
        return isinstance(value, int) and 0 <= value < LARGEST
    if hint is float:
        return isinstance(value, int | float) and math.isfinite(value)
    return isinstance(value, hint)
