"""Devices: the resolution of names such as "auto" and "cuda:1", and whether one computes in bf16."""

from __future__ import annotations

from typing import Any

import torch

from pairloom.errors import Mistake


def resolve_device(name: str = "auto", rank: int = 0) -> str:
    """A device of this machine by torch's name ("cpu", "cuda", "cuda:1"); "auto" is a GPU where there is one.

    rank: of this process; with "auto" each process of a machine takes a GPU of its own. Mistake where it is not there.
    """
    if name != "auto":
        try:
            torch.empty(0, device=name)
        except (RuntimeError, AssertionError) as error:  # unknown, not there, or not in this build of torch
            raise Mistake(
                f"There is no device '{name}' here.", str(error).split("\n")[0], "Try --device auto."
            ) from error
        return name
    return f"cuda:{rank % torch.cuda.device_count()}" if torch.cuda.is_available() else "cpu"


def has_bf16(device: torch.device) -> bool:
    """Whether the processor has instructions for bf16 products; False where torch cannot tell."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported())
    capabilities: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
    return any(has for name, has in capabilities.items() if "bf16" in name)
