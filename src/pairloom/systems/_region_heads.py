"""Heads that predict what a hidden region of LXMERT is.

B texts, R regions of a text's pictures, D width.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

if TYPE_CHECKING:
    from pairloom.data.records import Regions


class RegionHeads(nn.Module):
    """What is predicted of a hidden region: its features, its object and its attribute."""

    def __init__(self, config: Any) -> None:
        super().__init__()
        c = config
        self.masked = c.masked
        self.transform = nn.Sequential(
            nn.Linear(c.width, c.width), nn.GELU(), nn.LayerNorm(c.width, eps=1e-12)
        )
        self.features = nn.Linear(c.width, c.features)
        self.objects = nn.Linear(c.width, c.classes - 1) if c.classes else None
        self.attributes = nn.Linear(c.width, c.attributes - 1) if c.attributes else None

    def losses(
        self, rows: Float[Tensor, "B R D"], regions: Regions, hidden: Bool[Tensor, "B R"]
    ) -> dict[str, Tensor]:
        """Smooth L1 of the features ("L2" in the paper), and cross-entropy with the detector's best object and attribute, weighted by
        its confidence. Each is summed over the hidden regions, and divided by all regions times the share that is hidden."""
        count = regions.mask.sum() * self.masked
        rows = self.transform(rows[hidden])
        apart = F.smooth_l1_loss(self.features(rows).float(), regions.features[hidden], reduction="none")
        losses = {"feature": apart.mean(1).sum() / count}
        for name, head, chances in (
            ("object", self.objects, regions.class_probabilities),
            ("attribute", self.attributes, regions.attribute_probabilities),
        ):
            if head is not None and chances is not None:
                confidence, label = chances[hidden][:, 1:].max(1)
                each = F.cross_entropy(head(rows).float(), label, reduction="none")
                losses[name] = (confidence * each).sum() / count
        return losses
