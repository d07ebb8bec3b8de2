"""From regions of a detector to rows of a transformer whose vocabulary has a name for each region.

B examples, N pictures of an example, R regions of a picture, F features, D width, V vocabulary.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn


class NamedRegionEmbed(nn.Module):
    """Features and box, each projected and normed, the picture's number, and the row of the word table that is the region's name (Cho
    et al., 2021, VL-T5)."""

    def __init__(self, features: int, width: int) -> None:
        super().__init__()
        self.features, self.boxes = nn.Linear(features, width), nn.Linear(5, width)
        self.features_norm, self.boxes_norm = (nn.RMSNorm(width, eps=1e-6) for _ in range(2))
        self.pictures = nn.Embedding(2, width)

    def forward(
        self, features: Float[Tensor, "B N R F"], boxes: Float[Tensor, "B N R 4"], words: Float[Tensor, "V D"]
    ) -> Float[Tensor, "B _ D"]:
        """Of at most two pictures -> rows [B N*R D]. The fifth number of a box is not its area: the released
        code reads left, top, right, bottom as left, right, top, bottom, and its weights need that."""
        left, top, right, low = boxes.unbind(-1)
        boxes = torch.cat([boxes, ((low - right) * (top - left))[..., None]], -1)
        count, each = features.shape[1:3]
        names = words[len(words) - each :].flip(0)
        rows = self.features_norm(self.features(features)) + self.boxes_norm(self.boxes(boxes))
        return (rows + self.pictures.weight[:count, None] + names).flatten(1, 2)
