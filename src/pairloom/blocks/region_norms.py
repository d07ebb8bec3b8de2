"""From regions of a detector to rows of a transformer: features and box are each normed.

B pictures, R regions, F features, D width.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn


class AveragedRegionEmbed(nn.Module):
    """Mean of the normed features and the normed box (Tan and Bansal, 2019, LXMERT)."""

    def __init__(self, features: int, width: int, dropout: float) -> None:
        super().__init__()
        self.features, self.boxes = nn.Linear(features, width), nn.Linear(4, width)
        self.features_norm, self.boxes_norm = (nn.LayerNorm(width, eps=1e-12) for _ in range(2))
        self.dropout = nn.Dropout(dropout)

    def forward(
        self, features: Float[Tensor, "B R F"], boxes: Float[Tensor, "B R 4"]
    ) -> Float[Tensor, "B R D"]:
        rows = self.features_norm(self.features(features)) + self.boxes_norm(self.boxes(boxes))
        return self.dropout(rows / 2)


class MaskableRegionEmbed(nn.Module):
    """LN(LN(W f) + LN(W box) + segment) with a vector in the place of hidden features (Chen et al., 2020, UNITER). The box is left,
    top, right, bottom, width, height, area."""

    def __init__(self, features: int, width: int, dropout: float) -> None:
        super().__init__()
        self.features, self.boxes = nn.Linear(features, width), nn.Linear(7, width)
        self.features_norm, self.boxes_norm, self.norm = (nn.LayerNorm(width, eps=1e-12) for _ in range(3))
        self.hidden = nn.Parameter(torch.zeros(features))
        self.dropout = nn.Dropout(dropout)

    def forward(
        self,
        features: Float[Tensor, "B R F"],
        boxes: Float[Tensor, "B R 4"],
        segment: Float[Tensor, " D"],
        hidden: Bool[Tensor, "B R"] | None = None,
    ) -> Float[Tensor, "B R D"]:
        """segment: the embedding of all regions. hidden: regions whose features are replaced."""
        if hidden is not None:
            features = torch.where(hidden[..., None], self.hidden, features)
        sides = boxes[..., 2:] - boxes[..., :2]
        places = torch.cat([boxes, sides, sides.prod(-1, keepdim=True)], -1)
        rows = self.features_norm(self.features(features)) + self.boxes_norm(self.boxes(places)) + segment
        return self.dropout(self.norm(rows))
