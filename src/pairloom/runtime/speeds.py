"""The speeds of an engine, and what is known of the engine of a network."""

from __future__ import annotations

from typing import Any, get_args

from pairloom.runtime import Speed

SPEEDS: tuple[Speed, ...] = get_args(Speed)
SCALED: tuple[Speed, ...] = ("fast", "int8")  # a JPEG may be decoded at a fraction of its size


def speed_of(network: Any) -> Speed:
    """The speed of an engine; "exact" for a network that is none."""
    speed: Speed = getattr(network, "speed", "exact")
    return speed


def implementation_of(network: Any) -> dict[str, str]:
    """What runs each image tower of an engine, such as "openvino bf16", by the tower's name; empty for a network that is
    none."""
    implementation: dict[str, str] = getattr(network, "implementation", {})
    return implementation
