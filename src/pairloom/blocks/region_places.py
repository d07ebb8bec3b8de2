"""From regions of a detector to rows of a transformer, with more of their places: sines of the box, or the class scores.

B pictures, R regions, F features, K classes of the detector, D width.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn


class SinusoidalRegionEmbed(nn.Module):
    """ReLU of a projection of the region's features and of sines of its box, its centre and sides in hundredths of the picture (Su
    et al., 2019, VL-BERT)."""

    speeds: Tensor

    def __init__(self, features: int, coordinates: int, width: int) -> None:
        super().__init__()
        self.project = nn.Linear(features + coordinates, width)
        count = coordinates // 8
        self.register_buffer("speeds", 1000.0 ** -(torch.arange(count) / count), persistent=False)

    def forward(
        self, features: Float[Tensor, "B R F"], boxes: Float[Tensor, "B R 4"]
    ) -> Float[Tensor, "B R D"]:
        low, high = boxes.split(2, -1)
        angles = 100 * torch.cat([(low + high) / 2, high - low], -1)[..., None] * self.speeds
        waves = torch.cat([angles.sin(), angles.cos()], -1).flatten(-2)
        return F.relu(self.project(torch.cat([waves, features], -1)))


class ClassedRegionEmbed(nn.Module):
    """Features through two layers, plus a projection of place and class scores: the six numbers (corners, area, confidence) and the
    scores are each normed (Zhou et al., 2019, VLP)."""

    def __init__(self, features: int, classes: int, width: int, dropout: float) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Linear(features, features), nn.ReLU(), nn.Linear(features, width), nn.ReLU(), nn.Dropout(dropout)
        )  # fmt: skip
        self.places = nn.Sequential(nn.Linear(6 + classes, width), nn.ReLU(), nn.Dropout(dropout))

    def forward(
        self, features: Float[Tensor, "B R F"], boxes: Float[Tensor, "B R 4"],
        chances: Float[Tensor, "B R K"], mask: Bool[Tensor, "B R"],
    ) -> Float[Tensor, "B R D"]:  # fmt: skip
        """The corners are shares of the farthest right and the lowest edge of the picture's boxes, not of the picture's sides."""
        far = boxes[..., 2:].masked_fill(~mask[..., None], 0.0).amax(1, keepdim=True).clamp(min=1e-6)
        boxes = boxes / far.repeat(1, 1, 2)
        area = (boxes[..., 2:] - boxes[..., :2]).clamp(min=0).prod(-1, keepdim=True)
        six = torch.cat([boxes, area, chances[..., 1:].amax(-1, keepdim=True)], -1)
        parts = [F.layer_norm(part, part.shape[-1:], eps=1e-5) for part in (six, chances)]
        return self.features(features) + self.places(torch.cat(parts, -1))
