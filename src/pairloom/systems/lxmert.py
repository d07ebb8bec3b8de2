"""LXMERT: Learning Cross-Modality Encoder Representations from Transformers (Tan and Bansal, 2019, arXiv 1908.07490): an
encoder of words, one of regions and one that joins them by a cross-attention which both directions share, learned from
scratch by five tasks, answering questions among them.

Prose, tables and deviations: docs/papers/lxmert.md.

B texts, R regions of a text's pictures, F features, T tokens, D width, A answers.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from pairloom.blocks.coattention import CoAttentionBlock
from pairloom.blocks.embed import TextEmbed
from pairloom.blocks.language import LanguageHead
from pairloom.blocks.masks import padding
from pairloom.blocks.region_norms import AveragedRegionEmbed
from pairloom.blocks.transformer import Stack, initialise
from pairloom.data.batch import Batch, Texts
from pairloom.objectives.answers import answers_of
from pairloom.objectives.masked import mask_words, masked_loss
from pairloom.objectives.mismatch import mismatched_half
from pairloom.objectives.regions import hide_features, mask_regions
from pairloom.systems import _fusion as fusion
from pairloom.systems import _fusion_encoder as base

if TYPE_CHECKING:
    from pairloom.data.records import Regions


@dataclass(frozen=True)
class Config(fusion.RegionSizes, fusion.TaskSizes, fusion.BertSizes):
    """The paper's 9 layers of language (`depth`), 5 of regions and 5 of both.

    classes, attributes: of the detector, with background, or no attribute, first; 0 attributes: they are not predicted.
    """

    depth: int = 9
    attributes: int = 401
    region_depth: int = 5
    cross_depth: int = 5
    answers: int = 9500


TINY = Config(**fusion.TINY_REGIONS, attributes=5, region_depth=1, cross_depth=2)
PRESETS: dict[str, Config] = {
    "base": Config(),
    "vqa": Config(answers=3129, matches=False),
    "gqa": Config(answers=1842, matches=False),
    "nlvr2": Config(answers=0, matches=False, pictures=2),
    "tiny": TINY,
}
_FINE = dict(batch=32, epochs=4, schedule="linear", warmup=0.1, weight_decay=0.01, clip=5.0)
RECIPES: dict[str, dict[str, object]] = {
    "base": dict(lr=1e-4, batch=256, epochs=20, schedule="linear", warmup=0.05, weight_decay=0.01, clip=1.0),
    "vqa": dict(_FINE, lr=5e-5),
    "gqa": dict(_FINE, lr=1e-5),
    "nlvr2": dict(_FINE, lr=5e-5),
}
feed = fusion.task_regions(36, "attributes")


def example(config: Config, generator: torch.Generator) -> Batch:
    """Six texts with random regions, which have attributes; half of the texts are questions with an answer."""
    from pairloom.data.random_batch import random_regions

    batch = random_regions(config, generator, attributes=config.attributes)
    return replace(batch, labels=torch.tensor([3, -1, 0, 5, -1, -1]))


class System(base.FusionEncoder):
    """LXMERT. Heads that the config has no use for are None."""

    heads = ("match_head.", "language_head.", "region_heads.", *base.FusionEncoder.heads)
    region_heads: Any

    def __init__(self, config: Config) -> None:
        super().__init__()
        c = self.config = config
        self.text = TextEmbed(c.vocabulary, c.positions, c.width, 1e-12, c.dropout, segments=2)
        self.regions = AveragedRegionEmbed(c.features, c.width, c.dropout)
        self.language, self.relations = Stack(c.layers()), Stack(c.layers()._replace(depth=c.region_depth))
        both = c.layers()._replace(order=("cross", "self", "feed"))
        self.exchanges = nn.ModuleList(
            CoAttentionBlock(both, both, shared=True) for _ in range(c.cross_depth)
        )
        self.pooler = nn.Linear(c.width, c.width)
        self.language_head = self.region_heads = None
        if c.matches:
            self.match_head = nn.Linear(c.width, 2)
            self.language_head = LanguageHead(c.width, c.vocabulary, 1e-12)
            sizes = {"features": c.features, "objects": c.classes - 1, "attributes": c.attributes - 1}
            heads = {name: nn.Linear(c.width, size) for name, size in sizes.items() if size > 0}
            self.region_heads = nn.ModuleDict({"transform": fusion.normed_layer(c.width), **heads})
        self.add_task_heads(c.width)
        initialise(self)
        nn.init.normal_(self.regions.features.bias, std=0.02)  # the norm of a zeroed region divides by it

    def encode_regions(self, regions: Regions, hidden: Bool[Tensor, "B R"] | None = None) -> base.VisualRows:
        """Through the encoder of regions. What is hidden is so in the features already."""
        rows = self.relations(self.regions(regions.features, regions.boxes), padding(regions.mask))
        return base.VisualRows(rows, regions.mask)

    def encode_words(self, texts: Texts) -> Float[Tensor, "B T D"]:
        return self.language(self.text(texts.ids), padding(texts.mask))

    def fuse(
        self, words: Float[Tensor, "B T D"], mask: Bool[Tensor, "B T"], visual: base.VisualRows
    ) -> tuple[Float[Tensor, "B T D"], Float[Tensor, "B _ D"]]:
        """The cross-modality encoder."""
        places = visual.rows
        for exchange in self.exchanges:
            words, places = exchange(words, places, mask, visual.mask)
        return words, places

    def pair_losses(self, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        """The tasks of pre-training with equal weights, from one pass: words and regions are masked together, and half of the
        pictures get another row's text, whose words are still predicted but whose question is not answered."""
        c, owner = self.config, fusion.owner_of(batch)
        partner, wrong = mismatched_half(fusion.picture_ids(batch, owner), generator)
        texts, regions = batch.required("texts")[partner], fusion.regions_of(batch, owner)
        masked = mask_words(texts.ids, texts.mask, c, generator)
        hidden = mask_regions(regions.mask, generator, c.masked, False)
        read = hide_features(regions.features, hidden, regions.mask, generator, zero=0.8, other=0.1)
        words, places = self.read_pairs(replace(texts, ids=masked.ids), replace(regions, features=read))
        pooled = self.pool(words, places)
        losses = {
            "mlm": self.word_loss(words, masked, texts.ids),
            "match": F.cross_entropy(self.matching(pooled), (~wrong).long()),
            **self._region_losses(places, regions, hidden),
        }
        if c.answers and batch.labels is not None:
            answers = answers_of(batch.labels)
            known = (answers >= 0) & ~wrong
            losses["answer"] = masked_loss(self.answer_head(pooled[known]), answers[known])
        return losses

    def _region_losses(
        self, places: Float[Tensor, "B R D"], regions: Regions, hidden: Bool[Tensor, "B R"]
    ) -> dict[str, Tensor]:
        """Features of the hidden regions, and their objects and attributes where the detector gave some. Each is summed over them, and
        divided by the number of all regions times the share that is hidden."""
        from pairloom.objectives.region_losses import confident_class_losses, smooth_feature_losses

        count, heads = regions.mask.sum() * self.config.masked, self.region_heads
        rows = heads["transform"](places[hidden])
        losses = {"feature": smooth_feature_losses(heads["features"](rows), regions.features[hidden])}
        chances = {"object": regions.class_probabilities, "attribute": regions.attribute_probabilities}
        for name, probabilities in chances.items():
            if f"{name}s" in heads and probabilities is not None:
                losses[name] = confident_class_losses(heads[f"{name}s"](rows), probabilities[hidden])
        return {name: each.sum() / count for name, each in losses.items()}
