"""Numbers that a model computes are checked once, on their way out of a verb: what is not finite is no answer."""

from __future__ import annotations

from torch import Tensor

from pairloom.errors import Mistake


def finite(values: Tensor, what: str) -> Tensor:
    """The same values. Mistake where one of them is not a finite number. what: their name in the message, in the plural."""
    if bool(values.isfinite().all()):
        return values
    raise Mistake(
        f"The model's {what} are not finite numbers.",
        "Its weights may be damaged, or too large for half precision.",
        "Load another copy of the weights (a .safetensors file in fp32, say), or use --speed exact.",
    )
