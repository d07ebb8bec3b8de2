"""Frozen dataclasses as plain JSON values, and back again: every value is checked against the type that its field has."""

from __future__ import annotations

import dataclasses
import math
import types
import typing
from collections.abc import Mapping
from typing import Any, TypeVar

from pairloom.errors import Mistake, nearest

C = TypeVar("C")


def to_dict(config: Any) -> dict[str, Any]:
    """The config as plain JSON values."""
    return dataclasses.asdict(config)


def from_dict(kind: type[C], values: Mapping[str, Any], group: str = "") -> C:
    """The inverse of `to_dict`. Missing keys keep their defaults. Mistake for a key that is unknown, TypeError for a value of
    another type. group: the names of the groups that the values lie in, each with a dot behind it."""
    if not isinstance(values, Mapping):
        raise TypeError(f"'{group.rstrip('.')}' is {values!r:.60}, which is no group of settings")
    hints = typing.get_type_hints(kind)
    names = [field.name for field in dataclasses.fields(kind)]  # type: ignore[arg-type]
    arguments: dict[str, Any] = {}
    for name, value in values.items():
        if name not in names:
            raise Mistake(
                f"There is no setting '{name}'.", f"{kind.__name__} does not have it.", nearest(name, names)
            )
        kinds = [one for one in (hints[name], *typing.get_args(hints[name])) if dataclasses.is_dataclass(one)]
        if kinds and isinstance(value, Mapping):  # of several groups, the one that has all of its keys
            fitting = [
                one for one in kinds if value.keys() <= {field.name for field in dataclasses.fields(one)}
            ]
            arguments[name] = from_dict((fitting or kinds)[0], value, f"{group}{name}.")  # type: ignore[arg-type]
            continue
        value = tuple(value) if isinstance(value, list) else value
        demand_type(value, hints[name], f"{group}{name}")
        arguments[name] = value
    return kind(**arguments)


def demand_type(value: Any, hint: Any, name: str) -> None:
    """Raise TypeError where a value of a JSON file is not of an annotated type."""
    if not _is_a(value, hint):
        wanted = hint.__name__ if isinstance(hint, type) else str(hint).replace("typing.", "")
        raise TypeError(f"'{name}' is {value!r:.60}, which is not of type {wanted}")


def _is_a(value: Any, hint: Any) -> bool:
    """Whether a value of a JSON file is of an annotated type. Numbers are finite; a whole one is a float, too."""
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return any(_is_a(value, one) for one in inner)
    if origin is typing.Literal:
        return isinstance(value, str) and value in inner
    if origin is tuple:
        every = inner[:1] * len(value) if isinstance(value, tuple) and inner[1:] == (...,) else inner
        return isinstance(value, tuple) and len(value) == len(every) and all(map(_is_a, value, every))
    if hint in (int, float):
        kinds = int if hint is int else int | float
        return isinstance(value, kinds) and not isinstance(value, bool) and math.isfinite(value)
    return isinstance(value, origin or hint)
