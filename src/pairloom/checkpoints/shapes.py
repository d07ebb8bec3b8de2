"""Shapes of tensors that belong together, by the letters of their axes.

Does not know: what the tensors are for.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def demand_shapes(arrays: Mapping[str, Any], shapes: Mapping[str, str], **sizes: int) -> dict[str, int]:
    """The size of every letter in `shapes` (name of an array -> letters of its axes, "K m E"). sizes: of letters that are known.

    KeyError where an array is missing, ValueError where one has another number of axes, numbers that are not floating, or
    another size than its letter has elsewhere.
    """
    for name, letters in shapes.items():
        array, axes = arrays[name], letters.split()
        if len(array.shape) != len(axes) or "float" not in str(array.dtype):
            raise ValueError(
                f"'{name}' is {list(array.shape)} of {array.dtype}, not floating numbers [{letters}]"
            )
        for letter, size in zip(axes, array.shape):
            if sizes.setdefault(letter, size) != size:
                raise ValueError(
                    f"'{name}' is {list(array.shape)}: {letter} of [{letters}] is {sizes[letter]}"
                )
    return sizes
