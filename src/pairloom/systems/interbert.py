"""InterBERT: Vision-and-Language Interaction for Multi-modal Pretraining (Lin et al., 2020, arXiv 2003.13198): words and regions
interact in one stream, and then go on in two, each by itself.

Prose, tables and deviations: docs/papers/interbert.md.

B texts, R regions of a text's pictures, F features, K classes of the detector, T tokens, D width.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from pairloom.abilities import MATCH
from pairloom.blocks.embed import TextEmbed
from pairloom.blocks.language import LanguageHead
from pairloom.blocks.masks import padding
from pairloom.blocks.region_embed import GlobalRegionEmbed
from pairloom.blocks.transformer import Stack, initialise
from pairloom.data.batch import Batch, Texts
from pairloom.data.records import Regions
from pairloom.objectives.masked import masked_loss, masking_generator, real_words
from pairloom.objectives.mismatch import mismatched_half
from pairloom.objectives.regions import mask_regions, overlapping, region_distribution_loss
from pairloom.objectives.spans import mask_segments
from pairloom.systems import _fusion as fusion

if TYPE_CHECKING:
    from pairloom.data.feed import RegionFeed


@dataclass(frozen=True)
class Config(fusion.BertSizes):
    """Six layers of interaction (`depth`), then six of each stream; the image stream has 8 heads and a dropout of .2.

    masked: share of the words that are anchors of hidden segments, each with 0 to `longest` words behind it. regions_masked: of the
    regions; those that overlap one by more than `overlap` are hidden with it. pooled: width of the pooled rows.
    """

    length: int = 36
    depth: int = 6
    stream_depth: int = 6
    image_heads: int = 8
    image_dropout: float = 0.2
    features: int = 2048
    classes: int = 1601
    pooled: int = 1024
    masked: float = 0.1
    longest: int = 2
    regions_masked: float = 0.15
    overlap: float = 0.4


TINY = Config(
    **fusion.TINY_BERT | {"depth": 1},
    stream_depth=1,
    image_heads=4,
    image_dropout=0.0,
    features=24,
    classes=7,
    pooled=16,
)
PRESETS: dict[str, Config] = {"base": Config(), "tiny": TINY}
RECIPES: dict[str, dict[str, object]] = {
    "base": dict(lr=1e-4, batch=512, epochs=15, warmup=0.1, schedule="linear", weight_decay=0.01, clip=0.0),
}


def feed(config: Config) -> RegionFeed:
    """The 36 surest regions of a picture, with the detector's classes."""
    from pairloom.data.feed import RegionFeed

    return RegionFeed(config.features, 36, config.classes)


def example(config: Config, generator: torch.Generator) -> Batch:
    """Six texts with random regions."""
    from pairloom.data.random_batch import random_regions

    return random_regions(config, generator)


class System(nn.Module):
    """InterBERT. A row is the whole picture, regions, [CLS] text [SEP]."""

    abilities = (MATCH,)
    trains_on = ("pairs",)

    def __init__(self, config: Config) -> None:
        super().__init__()
        c = self.config = config
        self.text = TextEmbed(c.vocabulary, c.positions, c.width, 1e-12, c.dropout, segments=2)
        self.regions = GlobalRegionEmbed(c.features, c.width, c.dropout)
        self.interaction = Stack(c.layers())
        stream = c.layers()._replace(depth=c.stream_depth)
        self.text_stream = Stack(stream)
        self.image_stream = Stack(stream._replace(heads=c.image_heads, dropout=c.image_dropout))
        self.text_pooler, self.image_pooler = (nn.Linear(c.width, c.pooled) for _ in range(2))
        self.dropout, self.match_head = nn.Dropout(c.dropout), nn.Linear(c.pooled, 2)
        self.language_head = LanguageHead(c.width, c.vocabulary, 1e-12)
        self.class_head = nn.Sequential(
            nn.Linear(c.width, c.width), nn.GELU(), nn.LayerNorm(c.width, eps=1e-12), nn.Linear(c.width, c.classes)
        )  # fmt: skip
        initialise(self)

    def match(self, batch: Batch) -> Float[Tensor, " B"]:
        """Log-odds that text and picture belong together."""
        logits = self.match_logits(batch)
        return logits[:, 1] - logits[:, 0]

    def match_logits(self, batch: Batch) -> Float[Tensor, "B 2"]:
        """Logits of the matching head; class 1 = they belong together (class 0 in the released code)."""
        return self._matching(*self._fuse(batch.required("texts"), fusion.regions_of(batch)))

    def _matching(
        self, words: Float[Tensor, "B T D"], places: Float[Tensor, "B _ D"]
    ) -> Float[Tensor, "B 2"]:
        """From the product of both pooled first rows, of [CLS] and of the whole picture."""
        pooled = F.relu(self.text_pooler(words[:, 0])) * F.relu(self.image_pooler(places[:, 0]))
        return self.match_head(self.dropout(pooled)).float().flip(1)

    def _fuse(
        self, texts: Texts, regions: Regions, hidden: Bool[Tensor, "B R"] | None = None
    ) -> tuple[Float[Tensor, "B T D"], Float[Tensor, "B _ D"]]:
        """Rows of the words, and of the whole picture and each region. hidden: regions without features, and so without a part in the
        whole picture, which is the sum of the others over the number of all."""
        features, mask = regions.features, regions.mask
        if hidden is not None:
            features = features.masked_fill(hidden[..., None], 0.0)
        share = mask / mask.sum(1, keepdim=True).clamp(min=1)
        places = self.regions(features, regions.boxes, share)
        real = torch.cat([torch.ones_like(mask[:, :1]), mask], 1)
        rows = torch.cat([places, self.text(texts.ids)], 1)
        rows = self.interaction(rows, padding(torch.cat([real, texts.mask], 1)))
        places, words = rows.split([places.shape[1], texts.ids.shape[1]], 1)
        return self.text_stream(words, padding(texts.mask)), self.image_stream(places, padding(real))

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """Masked segments, masked groups of regions and matching with equal weights, from one pass. Half of the pictures get another
        row's text, whose words are predicted too; regions are predicted for true pairs alone."""
        c, generator = self.config, masking_generator(self.training)
        owner = fusion.owner_of(batch)
        partner, wrong = mismatched_half(fusion.picture_ids(batch, owner), generator)
        texts, regions = batch.required("texts")[partner], fusion.regions_of(batch, owner)
        ids = texts.ids
        candidates = real_words(ids, texts.mask, c)
        masked = mask_segments(
            ids, candidates, c.mask, (c.mask + 1, c.vocabulary), generator, c.masked, c.longest
        )
        anchors = mask_regions(regions.mask, generator, c.regions_masked)
        hidden = regions.mask & overlapping(regions.boxes, anchors, c.overlap)
        words, places = self._fuse(replace(texts, ids=masked.ids), regions, hidden)
        scores = self.language_head(words[masked.hidden], self.text.words.weight)
        losses = {
            "mlm": masked_loss(scores, ids[masked.hidden]),
            "match": F.cross_entropy(self._matching(words, places), (~wrong).long()),
        }
        learned = hidden & ~wrong[:, None]
        if regions.class_probabilities is not None:
            logits = self.class_head(places[:, 1:][learned])
            loss = region_distribution_loss(logits, regions.class_probabilities[learned])
            losses["regions"] = loss if len(logits) else logits.sum() * 0
        return losses
