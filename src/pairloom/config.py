"""Frozen dataclasses, and `key=value` over them. No registry, no YAML: the defaults stand in the class."""

from __future__ import annotations

import dataclasses
import json
import types
import typing
from collections.abc import Iterable
from typing import Any, TypeVar

from pairloom.errors import Mistake, nearest

C = TypeVar("C")
BOOLS = dict.fromkeys(("true", "yes", "1", "on"), True) | dict.fromkeys(("false", "no", "0", "off"), False)


def override(config: C, settings: Iterable[str]) -> C:
    """A copy of a (nested) frozen dataclass with `key=value` settings applied, `a.b=3` reaching inside.

    An unknown key or a value of the wrong type is a Mistake that names the nearest key or the type.
    """
    for setting in settings:
        key, equals, value = setting.partition("=")
        if not equals:
            raise Mistake(
                f"'{setting}' is not a setting.", "Settings are written key=value.", f"Try {key}=..."
            )
        config = _set(config, key.strip().split("."), value.strip(), key.strip())
    return config


def _set(config: Any, path: list[str], value: str, whole: str) -> Any:
    kinds = typing.get_type_hints(type(config))
    names = [field.name for field in dataclasses.fields(config)]
    name, rest = path[0], path[1:]
    if name not in names:
        raise Mistake(
            f"There is no setting '{whole}'.",
            f"{type(config).__name__} does not have it.",
            nearest(name, names),
        )
    now = getattr(config, name)
    if rest and not dataclasses.is_dataclass(now):
        raise Mistake(f"There is no setting '{whole}'.", f"'{name}' is a single value.", f"Write {name}=...")
    if dataclasses.is_dataclass(now) and not rest and value.lower() != "none":
        inner = ", ".join(f"{name}.{field.name}" for field in dataclasses.fields(now))
        raise Mistake(f"'{name}' is a group of settings.", "", f"Set one of: {inner}.")
    new = _set(now, rest, value, whole) if rest else parse(value, kinds[name], whole)
    try:
        return dataclasses.replace(config, **{name: new})
    except ValueError as error:  # a config's own __post_init__ may refuse
        raise Mistake(f"{whole}={value} does not fit.", str(error)) from error


def _listed(value: str, name: str) -> list[Any]:
    """The parts of a list: with commas between, or a JSON list, whose parts may have commas of their own."""
    if not value.startswith("["):
        return value.split(",")
    try:
        return list(json.loads(value))
    except ValueError as error:
        raise Mistake(f"{name}={value:.60} is no list.", str(error)) from error


def parse(value: str, kind: Any, name: str) -> Any:
    """Read a word from the command line as a value of an annotated type (int, float, bool, str, X | None, tuple)."""
    origin = typing.get_origin(kind)
    if origin in (typing.Union, types.UnionType):
        options = typing.get_args(kind)
        if value.lower() in ("none", "null", "") and type(None) in options:
            return None
        return parse(value, next(option for option in options if option is not type(None)), name)
    if origin is typing.Literal:
        if value not in typing.get_args(kind):
            raise Mistake(
                f"{name}={value} is not a choice.", "", nearest(value, map(str, typing.get_args(kind)))
            )
        return value
    if origin is tuple:
        inner = typing.get_args(kind)[0]
        return tuple(parse(str(part), inner, name) for part in _listed(value, name) if part != "")
    if dataclasses.is_dataclass(kind):
        raise Mistake(
            f"'{name}' is a group of settings.", "One word cannot set it.", "Name a preset that has it."
        )
    if kind is bool:
        if value.lower() not in BOOLS:
            raise Mistake(f"{name}={value} is not a yes or a no.", "", f"Write {name}=true or {name}=false.")
        return BOOLS[value.lower()]
    try:
        return kind(value)
    except ValueError as error:
        raise Mistake(f"{name}={value} does not fit.", f"It should be of type {kind.__name__}.") from error
