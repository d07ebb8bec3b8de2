"""ViLBERT: Pretraining Task-Agnostic Visiolinguistic Representations for Vision-and-Language Tasks (Lu et al., 2019,
arXiv 1908.02265): a BERT of words and a transformer of regions, which read each other through co-attention.

Prose, tables and deviations: docs/papers/vilbert.md.

B texts, I pictures, N pictures of an example, R regions of all of them, F features, K classes of the detector, T tokens,
D width of the text stream, E width of the visual one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from pairloom.abilities import MATCH, Ability
from pairloom.blocks.coattention import CoAttentionBlock
from pairloom.blocks.embed import TextEmbed
from pairloom.blocks.language import LanguageHead
from pairloom.blocks.masks import padding
from pairloom.blocks.region_embed import GlobalRegionEmbed
from pairloom.blocks.transformer import Block, TransformerConfig, initialise
from pairloom.data.batch import Batch
from pairloom.objectives.masked import mask_words, masked_loss, masking_generator
from pairloom.objectives.mismatch import paired_match_loss, random_negatives
from pairloom.objectives.regions import mask_regions, overlapping, region_distribution_loss

if TYPE_CHECKING:
    from pairloom.data.feed import RegionFeed


@dataclass(frozen=True)
class Config:
    """Sizes of the released base model: BERT base of 12 layers, 6 visual layers of 1,024 (feed-forward 1,024), co-attention of
    8 heads before the last 6 text layers and before each visual layer.

    exchanges: number of co-attention layers; the first comes after `depth - exchanges` text layers and before all visual
    ones. shared_width: of all heads of a co-attention together, and of the pooled rows. masked: share of words and of
    regions that are hidden. overlap: regions whose intersection over union with a hidden one is above this are left out of
    the global row. classes: of the detector, with background first; 0: it gives none. pictures: 1 for a model of statements about
    one picture, whose truth the matching head learns; 0 for one of pairs.
    """

    features: int = 2048
    classes: int = 1601
    vocabulary: int = 30522
    length: int = 36
    positions: int = 512
    width: int = 768
    depth: int = 12
    heads: int = 12
    visual_width: int = 1024
    visual_depth: int = 6
    visual_heads: int = 8
    visual_growth: float = 1.0
    exchanges: int = 6
    shared_width: int = 1024
    shared_heads: int = 8
    dropout: float = 0.1
    pad: int = 0
    cls: int = 101
    sep: int = 102
    mask: int = 103
    masked: float = 0.15
    overlap: float = 0.4
    pictures: int = 0


TINY = Config(
    features=24, classes=7, vocabulary=64, length=12, positions=16, width=32, depth=3, heads=2, visual_width=40,
    visual_depth=2, visual_heads=2, exchanges=2, shared_width=16, shared_heads=2, dropout=0.0, cls=2, sep=3, mask=4,
)  # fmt: skip
PRESETS: dict[str, Config] = {"base": Config(), "tiny": TINY}
RECIPES: dict[str, dict[str, object]] = {
    "base": dict(lr=1e-4, batch=512, epochs=10, schedule="linear", weight_decay=0.01, clip=0.0),
}


def feed(config: Config) -> RegionFeed:
    """The input of ViLBERT: the 36 regions of a picture with the highest detection scores. Their mean is the global row."""
    from pairloom.data.feed import RegionFeed

    return RegionFeed(config.features, 36, 0 if config.pictures else config.classes)


def example(config: Config, generator: torch.Generator) -> Batch:
    """Six texts with random regions, some of them padding."""
    from pairloom.data.random_batch import random_regions

    return random_regions(config, generator)


class System(nn.Module):
    """ViLBERT."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        c = self.config = config
        if not 0 < c.exchanges <= min(c.depth, c.visual_depth):
            raise ValueError(f"{c.exchanges} exchanges need as many layers of both streams")
        if c.pictures > 1:
            raise ValueError("a statement is about one picture here")
        words = TransformerConfig(c.width, c.depth, c.heads, "post", 1e-12, c.dropout)
        visual = TransformerConfig(
            c.visual_width, c.visual_depth, c.visual_heads, "post", 1e-12, c.dropout, growth=c.visual_growth
        )
        self.text = TextEmbed(c.vocabulary, c.positions, c.width, 1e-12, c.dropout, segments=2)
        self.regions = GlobalRegionEmbed(c.features, c.visual_width, c.dropout)
        self.text_layers = nn.ModuleList(Block(words) for _ in range(c.depth))
        self.visual_layers = nn.ModuleList(Block(visual) for _ in range(c.visual_depth))
        across = (
            stream._replace(heads=c.shared_heads, inside=c.shared_width, order=("cross", "feed"))
            for stream in (words, visual)
        )
        first, second = across
        self.exchanges = nn.ModuleList(CoAttentionBlock(first, second) for _ in range(c.exchanges))
        self.text_pooler = nn.Linear(c.width, c.shared_width)
        self.visual_pooler = nn.Linear(c.visual_width, c.shared_width)
        self.match_head = nn.Linear(c.shared_width, 2)
        self.language_head = LanguageHead(c.width, c.vocabulary, 1e-12)
        self.class_head = None
        if c.classes:
            self.class_head = nn.Sequential(
                nn.Linear(c.visual_width, c.visual_width),
                nn.GELU(),
                nn.LayerNorm(c.visual_width, eps=1e-12),
                nn.Linear(c.visual_width, c.classes),
            )
        initialise(self)

    @property
    def abilities(self) -> tuple[Ability, ...]:
        """A model of statements says whether they are true of a picture; any other whether a text belongs to it."""
        truth = Ability("reason", reads="statement", by="match head")
        return (truth,) if self.config.pictures else (MATCH,)

    @property
    def trains_on(self) -> tuple[str, ...]:
        """Statements, or pairs."""
        return ("statements",) if self.config.pictures else ("pairs",)

    def match(self, batch: Batch) -> Float[Tensor, " B"]:
        """Log-odds that text and picture belong together, or that the statement is true."""
        logits = self.match_logits(batch)
        return logits[:, 1] - logits[:, 0]

    def match_logits(self, batch: Batch) -> Float[Tensor, "B 2"]:
        """Logits of the matching head; class 1 = they belong together (class 0 in the released code)."""
        texts = batch.required("texts")
        return self._matching(*self._fuse(texts.ids, texts.mask, *self._visual(batch, batch.image_of)))

    def _matching(
        self, words: Float[Tensor, "B T D"], places: Float[Tensor, "B R E"]
    ) -> Float[Tensor, "B 2"]:
        """Matching head on the product of the pooled [CLS] and the pooled global row; its two classes are swapped, since the
        released weights call a match class 0."""
        pooled = F.relu(self.text_pooler(words[:, 0])) * F.relu(self.visual_pooler(places[:, 0]))
        return self.match_head(pooled).float().flip(1)

    def _visual(
        self, batch: Batch, owner: Tensor | None, hidden: Tensor | None = None
    ) -> tuple[Float[Tensor, "B R E"], Bool[Tensor, "B R"]]:
        """Rows of the whole picture and of each region, and their mask. hidden [B R]: regions whose features are set to zero;
        neither they nor regions that overlap them count in the global row."""
        regions = batch.required("regions")
        regions = regions if owner is None else regions[owner]
        features, boxes = regions.features.flatten(1, 2), regions.boxes.flatten(1, 2)
        mask = pooled = regions.mask.flatten(1, 2)
        if hidden is not None:
            features = features.masked_fill(hidden[..., None], 0.0)
            pooled = mask & ~overlapping(boxes, hidden, self.config.overlap)
        rows = self.regions(features, boxes, pooled / pooled.sum(1, keepdim=True).clamp(min=1))
        return rows, torch.cat([mask.new_ones(len(mask), 1), mask], 1)

    def _fuse(
        self,
        ids: Int[Tensor, "B T"],
        mask: Bool[Tensor, "B T"],
        places: Float[Tensor, "B R E"],
        places_mask: Bool[Tensor, "B R"],
    ) -> tuple[Float[Tensor, "B T D"], Float[Tensor, "B R E"]]:
        """Two-stream encoder: the first text layers alone, then co-attention and a layer of each stream by turns."""
        words, alone = self.text(ids), self.config.depth - self.config.exchanges
        for layer in self.text_layers[:alone]:
            words = layer(words, padding(mask))
        last = len(self.exchanges) - 1
        for index, exchange in enumerate(self.exchanges):
            words, places = exchange(words, places, mask, places_mask)
            words = self.text_layers[alone + index](words, padding(mask))
            for layer in self.visual_layers[index : None if index == last else index + 1]:
                places = layer(places, padding(places_mask))
        return words, places

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """The truth of statements; of pairs, masked language modelling, masked region classification and image-text alignment with equal weights (section 3.1).
        Masked words and regions are predicted for true pairs alone, as in the code of 12-in-1."""
        c, generator = self.config, masking_generator(self.training)
        if c.pictures:
            return {"statement": F.cross_entropy(self.match_logits(batch), batch.required("labels"))}
        texts, regions = batch.required("texts"), batch.required("regions")
        owner = batch.image_of
        if owner is None:
            owner = torch.arange(len(texts), device=texts.ids.device)
        masked = mask_words(texts.ids, texts.mask, c, generator)
        drawn = mask_regions(regions.mask[owner].flatten(1, 2), generator, c.masked)
        zeroed = drawn & (torch.rand(drawn.shape, generator=generator).to(drawn.device) < 0.9)
        rows, places = self._fuse(masked.ids, texts.mask, *self._visual(batch, owner, zeroed))
        scores = self.language_head(rows[masked.hidden], self.text.words.weight)
        losses = {
            "mlm": masked_loss(scores, texts.ids[masked.hidden]),
            "alignment": self._alignment(batch, owner, masked.ids, self._matching(rows, places), generator),
        }
        if self.class_head is not None and regions.class_probabilities is not None:
            probabilities = regions.class_probabilities[owner].flatten(1, 2)[drawn]
            losses["regions"] = region_distribution_loss(self.class_head(places[:, 1:][drawn]), probabilities)
        return losses

    def _alignment(
        self, batch: Batch, owner: Tensor, ids: Tensor, matched: Tensor, generator: torch.Generator
    ) -> Float[Tensor, ""]:
        """Image-text alignment: each text once with its own picture and once with a random other one."""
        other, available = random_negatives(owner if batch.image_ids is None else batch.image_ids, generator)
        visual = self._visual(batch, owner[other])
        wrong = self._matching(*self._fuse(ids, batch.required("texts").mask, *visual))
        total, count = paired_match_loss(matched, wrong, available)
        return total / count
