"""The one knob of speed, the same on every command that asks a model."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import typer

Speed = Annotated[
    str, typer.Option(help="exact: fp32, the same tokens; fast: products in bf16 (docs/speed.md).")
]


def known(speed: str) -> Literal["exact", "fast"]:
    """The word, where it is one of the two. Mistake where it is not."""
    from pairloom.errors import Mistake, nearest

    if speed == "exact" or speed == "fast":
        return speed  # type: ignore[return-value]
    raise Mistake(f"There is no speed '{speed}'.", "", nearest(speed, ("exact", "fast")))


def at_speed(model: Any, speed: str) -> Any:
    """The model's engine at this speed. Mistake for another word."""
    return model.at_speed(known(speed))
