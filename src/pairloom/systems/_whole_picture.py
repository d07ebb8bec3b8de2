"""What ViLBERT and InterBERT, which grew from its code, share: a row of the whole picture in front of the regions.

B texts, R regions of a text's pictures, T tokens, D width of the text's rows, E width of the regions' rows, P of pooled rows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from pairloom.systems import _fusion_encoder as base

if TYPE_CHECKING:
    from pairloom.data.records import Regions


class WholePictureEncoder(base.FusionEncoder):
    """A fusion encoder whose `regions` are a GlobalRegionEmbed. It pools by the product of two first rows; class 0 is a match."""

    class_head: Any

    def add_poolers(self, width: int, visual_width: int, pooled: int) -> None:
        """Poolers of both first rows, and the matching head on their product."""
        self.text_pooler, self.visual_pooler = nn.Linear(width, pooled), nn.Linear(visual_width, pooled)
        self.match_head = nn.Linear(pooled, 2)

    def with_whole_picture(
        self,
        regions: Regions,
        hidden: Bool[Tensor, "B R"] | None,
        uncounted: Bool[Tensor, "B R"] | None = None,
    ) -> base.VisualRows:
        """Rows of the whole picture and of each region. hidden: regions whose features are set to zero. uncounted: those that the
        mean over all regions, which is the whole picture, leaves out."""
        features, mask = regions.features, regions.mask
        if hidden is not None:
            features = features.masked_fill(hidden[..., None], 0.0)
        counted = mask if uncounted is None else mask & ~uncounted
        share = counted / counted.sum(1, keepdim=True).clamp(min=1)
        rows = self.regions(features, regions.boxes, share)
        return base.VisualRows(rows, torch.cat([torch.ones_like(mask[:, :1]), mask], 1))

    def region_class_losses(
        self, places: Float[Tensor, "B _ E"], regions: Regions, hidden: Bool[Tensor, "B R"]
    ) -> dict[str, Tensor]:
        """KL from the detector's class distribution to that of `class_head`, at hidden regions; none where one of the two is missing."""
        from pairloom.objectives.region_losses import region_distribution_loss

        if self.class_head is None or regions.class_probabilities is None:
            return {}
        logits = self.class_head(places[:, 1:][hidden])
        return {"regions": region_distribution_loss(logits, regions.class_probabilities[hidden])}

    def pool(self, words: Float[Tensor, "B T D"], places: Float[Tensor, "B _ E"]) -> Float[Tensor, "B P"]:
        """Product of the pooled [CLS] and the pooled whole picture."""
        return F.relu(self.text_pooler(words[:, 0])) * F.relu(self.visual_pooler(places[:, 0]))

    def matching(self, pooled: Float[Tensor, "B P"]) -> Float[Tensor, "B 2"]:
        """The two classes are swapped, since the released weights call a match class 0."""
        return super().matching(pooled).flip(1)
