"""From regions of a detector to rows of a transformer, with a row of the whole picture before them.

B pictures, R regions, F features, D width.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn


class GlobalRegionEmbed(nn.Module):
    """Norm of the sum of projected features and projected box: left, top, right, bottom, area (Lu et al., 2019, ViLBERT; Lin et al.,
    2020, InterBERT). The whole picture has a weighted sum of the regions' features, and the box that is all of it."""

    def __init__(self, features: int, width: int, dropout: float) -> None:
        super().__init__()
        self.features, self.boxes = nn.Linear(features, width), nn.Linear(5, width)
        self.norm, self.dropout = nn.LayerNorm(width, eps=1e-12), nn.Dropout(dropout)

    def forward(
        self, features: Float[Tensor, "B R F"], boxes: Float[Tensor, "B R 4"], share: Float[Tensor, "B R"]
    ) -> Float[Tensor, "B _ D"]:
        """share: weight of each region in the row of the whole picture."""
        features = torch.cat([share[:, None] @ features, features], 1)
        whole = boxes.new_tensor([0.0, 0.0, 1.0, 1.0]).expand(len(boxes), 1, 4)
        boxes = torch.cat([whole, boxes], 1)
        area = (boxes[..., 2:] - boxes[..., :2]).prod(-1, keepdim=True)
        rows = self.features(features) + self.boxes(torch.cat([boxes, area], -1))
        return self.dropout(self.norm(rows))
