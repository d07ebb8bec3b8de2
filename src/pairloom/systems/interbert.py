"""InterBERT: Vision-and-Language Interaction for Multi-modal Pretraining (Lin et al., 2020, arXiv 2003.13198): words and regions
interact in one stream, and then go on in two, each by itself.

Prose, tables and deviations: docs/papers/interbert.md.

B texts, R regions of a text's pictures, T tokens, D width, P width of pooled rows.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from pairloom.blocks.embed import TextEmbed
from pairloom.blocks.language import LanguageHead
from pairloom.blocks.masks import padding
from pairloom.blocks.region_embed import GlobalRegionEmbed
from pairloom.blocks.transformer import Stack, initialise
from pairloom.data.batch import Batch
from pairloom.objectives.masked import real_words
from pairloom.objectives.mismatch import mismatched_half
from pairloom.objectives.regions import mask_regions, overlapping
from pairloom.objectives.spans import mask_segments
from pairloom.systems import _fusion as fusion
from pairloom.systems import _fusion_encoder as base
from pairloom.systems import _whole_picture as whole_picture

if TYPE_CHECKING:
    from pairloom.data.records import Regions


@dataclass(frozen=True)
class Config(fusion.RegionSizes, fusion.TaskSizes, fusion.BertSizes):
    """Six layers of interaction (`depth`), then six of each stream; the image stream has 8 heads and a dropout of .2.

    masked: share of the words that are anchors of hidden segments, each with 0 to `longest` words behind it. regions_masked: of the
    regions; those that overlap one by more than `overlap` are hidden with it. pooled: width of the pooled rows.
    """

    length: int = 36
    depth: int = 6
    stream_depth: int = 6
    image_heads: int = 8
    image_dropout: float = 0.2
    pooled: int = 1024
    masked: float = 0.1
    longest: int = 2
    regions_masked: float = 0.15
    overlap: float = 0.4


TINY = Config(
    **fusion.TINY_REGIONS | {"depth": 1}, stream_depth=1, image_heads=4, image_dropout=0.0, pooled=16,
)  # fmt: skip
PRESETS: dict[str, Config] = {"base": Config(), "tiny": TINY}
RECIPES: dict[str, dict[str, object]] = {
    "base": dict(lr=1e-4, batch=512, epochs=15, warmup=0.1, schedule="linear", weight_decay=0.01, clip=0.0),
}
feed = fusion.task_regions(36)
example = fusion.example


class System(whole_picture.WholePictureEncoder):
    """InterBERT. A row is the whole picture, regions, [CLS] text [SEP]."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        c = self.config = config
        self.text = TextEmbed(c.vocabulary, c.positions, c.width, 1e-12, c.dropout, segments=2)
        self.regions = GlobalRegionEmbed(c.features, c.width, c.dropout)
        self.interaction = Stack(c.layers())
        stream = c.layers()._replace(depth=c.stream_depth)
        self.text_stream = Stack(stream)
        self.image_stream = Stack(stream._replace(heads=c.image_heads, dropout=c.image_dropout))
        self.add_poolers(c.width, c.width, c.pooled)
        self.dropout = nn.Dropout(c.dropout)
        self.language_head = LanguageHead(c.width, c.vocabulary, 1e-12)
        self.class_head = fusion.first_row_head(c.width, c.classes, growth=1)
        self.add_task_heads(c.pooled)
        initialise(self)

    def encode_regions(self, regions: Regions, hidden: Bool[Tensor, "B R"] | None = None) -> base.VisualRows:
        """hidden: regions without features, and so without a part in the whole picture, which is the sum of the others over the number
        of all."""
        return self.with_whole_picture(regions, hidden)

    def fuse(
        self, words: Float[Tensor, "B T D"], mask: Bool[Tensor, "B T"], visual: base.VisualRows
    ) -> tuple[Float[Tensor, "B T D"], Float[Tensor, "B _ D"]]:
        """One stream, then two."""
        rows = torch.cat([visual.rows, words], 1)
        rows = self.interaction(rows, padding(torch.cat([visual.mask, mask], 1)))
        places, words = rows.split([visual.mask.shape[1], mask.shape[1]], 1)
        return self.text_stream(words, padding(mask)), self.image_stream(places, padding(visual.mask))

    def matching(self, pooled: Float[Tensor, "B P"]) -> Float[Tensor, "B 2"]:
        return super().matching(self.dropout(pooled))

    def pair_losses(self, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        """Masked segments, masked groups of regions and matching with equal weights, from one pass. Half of the pictures get another
        row's text, whose words are predicted too; regions are predicted for true pairs alone."""
        c = self.config
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
        words, places = self.read_pairs(replace(texts, ids=masked.ids), regions, hidden)
        losses = {
            "mlm": self.word_loss(words, masked, ids),
            "match": F.cross_entropy(self.matching(self.pool(words, places)), (~wrong).long()),
        }
        losses |= self.region_class_losses(places, regions, hidden & ~wrong[:, None])
        return losses | fusion.answer_losses(self, batch)
