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


def described_speed(*networks: Any) -> str:
    """The speed of engines, and what runs their image towers where answers depend on that: "fast, openvino bf16"."""
    speed = speed_of(networks[0]) if networks else "exact"
    towers = {name for network in networks for name in implementation_of(network).values()}
    return speed if speed == "exact" else ", ".join([speed, *sorted(towers)])
