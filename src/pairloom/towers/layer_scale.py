"""Layer scale folded into the linear maps before it (Touvron et al., 2021, "Going deeper with image transformers").

Does not know: any one network.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor


def fold_layer_scale(tensors: Mapping[str, Tensor], pattern: str, linear: str) -> dict[str, Tensor]:
    """Multiply the weight and the bias of every linear map by the layer scale after it, a factor of each channel, and leave the
    scales out. pattern: of the scales' names; linear: the name of a scale's map, with the groups of the pattern."""
    folded = {name: tensor for name, tensor in tensors.items() if not re.fullmatch(pattern, name)}
    for name, scale in tensors.items():
        if (match := re.fullmatch(pattern, name)) is None:
            continue
        for kind in ("weight", "bias"):
            if (there := f"{match.expand(linear)}.{kind}") in folded:
                factor = scale[:, None] if kind == "weight" else scale
                folded[there] = folded[there] * factor
    return folded
