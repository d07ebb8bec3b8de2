"""UNITER: UNiversal Image-TExt Representation Learning (Chen et al., 2020, arXiv 1909.11740): words and detected regions in
one BERT, of which only one modality is masked at a time, with words moved onto regions by optimal transport.

Prose, tables and deviations: docs/papers/uniter.md.

B texts, I pictures, N pictures of an example, R regions of all of them, F features, K classes of the detector, T tokens,
D width.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from pairloom.abilities import MATCH, Ability
from pairloom.blocks.embed import TextEmbed
from pairloom.blocks.language import LanguageHead
from pairloom.blocks.masks import padding
from pairloom.blocks.transformer import Stack, TransformerConfig, initialise
from pairloom.data.batch import Batch
from pairloom.data.records import Regions
from pairloom.objectives.masked import mask_words, masked_loss, masking_generator
from pairloom.objectives.match import match_loss
from pairloom.objectives.mismatch import mismatched_half
from pairloom.objectives.regions import (
    mask_regions,
    region_class_loss,
    region_distribution_loss,
    region_feature_loss,
)
from pairloom.objectives.transport import transport_distance
from pairloom.systems import _fusion as fusion

if TYPE_CHECKING:
    from pairloom.data.feed import RegionFeed

TASKS = ("itm", "mlm", "mrfr", "mrc", "mrc_kl")


@dataclass(frozen=True)
class Config:
    """UNITER base: BERT base, cased, on 2,048 features and 1,601 classes of a bottom-up-attention detector.

    mix: how often a batch is used for each task of TASKS (the paper's in-domain mix). together: every batch is used for all
    tasks of the mix (ours, for small sets; the paper draws one task a batch). masked: share of the words, or of the
    regions, that are hidden. wra: weight of the word-region alignment, a part of the itm task. classes: of the detector, with
    background first; 0: it gives none. pictures: 1 for a model of statements about one picture, whose truth the matching head
    learns; 0 for one of pairs.
    """

    features: int = 2048
    classes: int = 1601
    vocabulary: int = 28996
    length: int = 60
    positions: int = 512
    width: int = 768
    depth: int = 12
    heads: int = 12
    dropout: float = 0.1
    pad: int = 0
    cls: int = 101
    sep: int = 102
    mask: int = 103
    mix: tuple[float, ...] = (2.0, 2.0, 1.0, 0.0, 1.0)
    together: bool = False
    masked: float = 0.15
    wra: float = 0.1
    pictures: int = 0


TINY = Config(
    features=24, classes=7, vocabulary=64, length=12, positions=16, width=32, depth=2, heads=2, dropout=0.0, cls=2, sep=3,
    mask=4, mix=(1.0, 1.0, 1.0, 1.0, 1.0), together=True,
)  # fmt: skip
PRESETS: dict[str, Config] = {"base": Config(), "large": Config(width=1024, depth=24, heads=16), "tiny": TINY}
RECIPES: dict[str, dict[str, object]] = {
    "base": dict(lr=5e-5, betas=(0.9, 0.98), weight_decay=0.01, clip=5.0, warmup=10_000, steps=200_000),
}


def feed(config: Config) -> RegionFeed:
    """The input of UNITER: at most 100 regions of a picture, as the released features have."""
    from pairloom.data.feed import RegionFeed

    return RegionFeed(config.features, 100, 0 if config.pictures else config.classes)


def example(config: Config, generator: torch.Generator) -> Batch:
    """Six texts with random regions, some of them padding."""
    from pairloom.data.random_batch import random_regions

    return random_regions(config, generator)


class UniterRegionEmbed(nn.Module):
    """Region embedding of UNITER: LN(LN(W f) + LN(W box) + type), the box as left, top, right, bottom, width, height, area."""

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
        kind: Float[Tensor, " D"],
        hidden: Bool[Tensor, "B R"] | None = None,
    ) -> Float[Tensor, "B R D"]:
        """kind: the segment embedding of pictures. hidden: regions whose features are replaced by the mask embedding."""
        if hidden is not None:
            features = torch.where(hidden[..., None], self.hidden, features)
        sides = boxes[..., 2:] - boxes[..., :2]
        places = torch.cat([boxes, sides, sides.prod(-1, keepdim=True)], -1)
        rows = self.features_norm(self.features(features)) + self.boxes_norm(self.boxes(places)) + kind
        return self.dropout(self.norm(rows))


class System(nn.Module):
    """UNITER. `encoded` is the regions of each picture, flat over its N pictures."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        c = self.config = config
        if len(c.mix) != len(TASKS):
            raise ValueError(f"mix has {len(c.mix)} numbers, one for each of {', '.join(TASKS)} is needed")
        if c.pictures > 1:
            raise ValueError("a statement is about one picture here")
        self.text = TextEmbed(c.vocabulary, c.positions, c.width, 1e-12, c.dropout, segments=2)
        self.regions = UniterRegionEmbed(c.features, c.width, c.dropout)
        self.stack = Stack(TransformerConfig(c.width, c.depth, c.heads, "post", 1e-12, c.dropout))
        self.pooler = nn.Linear(c.width, c.width)
        self.match_head = nn.Linear(c.width, 2)
        self.language_head = LanguageHead(c.width, c.vocabulary, 1e-12)
        self.feature_head, self.class_head = (_head(c.width) for _ in range(2))
        self.feature_bias = nn.Parameter(torch.zeros(c.features))
        self.classify = nn.Linear(c.width, c.classes) if c.classes else None
        initialise(self)
        nn.init.normal_(self.regions.hidden, std=0.02)

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
        """Logits of the matching head from the pooled [CLS]; class 1 = they belong together."""
        texts = batch.required("texts")
        rows = self._fuse(texts.ids, texts.mask, self._flat(batch))
        return self._matching(rows[:, 0])

    def _matching(self, first: Float[Tensor, "B D"]) -> Float[Tensor, "B 2"]:
        return self.match_head(torch.tanh(self.pooler(first))).float()

    def _flat(self, batch: Batch, rows: Tensor | None = None) -> Regions:
        """The regions of each text's picture, over all N pictures of an example: [B R ...] of one picture."""
        regions = batch.required("regions")
        owner = batch.image_of if rows is None else rows
        return fusion.one_sequence(regions if owner is None else regions[owner])

    def _fuse(
        self,
        ids: Int[Tensor, "B T"],
        mask: Bool[Tensor, "B T"],
        regions: Regions,
        hidden: Tensor | None = None,
    ) -> Float[Tensor, "B _ D"]:
        """[CLS] words [SEP] regions through one transformer with full attention over all that is not padding."""
        assert self.text.segments is not None
        kind = self.text.segments.weight[1]
        places = self.regions(regions.features, regions.boxes, kind, hidden)
        real = torch.cat([mask, regions.mask], 1)
        return self.stack(torch.cat([self.text(ids), places], 1), padding(real))

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """The truth of statements; of pairs, losses of one task of the mix, or of all tasks with `together` and in evaluation; each task masks only one
        modality (conditional masking)."""
        c, generator = self.config, masking_generator(self.training)
        if c.pictures:
            return {"statement": F.cross_entropy(self.match_logits(batch), batch.required("labels"))}
        possible = {task: weight for task, weight in zip(TASKS, c.mix) if weight}
        if self.classify is None or batch.required("regions").class_probabilities is None:
            possible = {task: weight for task, weight in possible.items() if not task.startswith("mrc")}
        if c.together or not self.training:
            total = sum(possible.values())
            chosen = {task: weight * len(possible) / total for task, weight in possible.items()}
        else:
            drawn = int(torch.multinomial(torch.tensor(list(possible.values())), 1, generator=generator))
            chosen = {list(possible)[drawn]: 1.0}
        losses: dict[str, Tensor] = {}
        for task, weight in chosen.items():
            if task == "itm":
                losses |= {name: weight * value for name, value in self._aligned(batch, generator).items()}
            elif task == "mlm":
                losses[task] = weight * self._words(batch, generator)
            else:
                losses[task] = weight * self._masked_regions(batch, generator, task)
        return losses

    def _words(self, batch: Batch, generator: torch.Generator) -> Float[Tensor, ""]:
        texts = batch.required("texts")
        masked = mask_words(texts.ids, texts.mask, self.config, generator)
        rows = self._fuse(masked.ids, texts.mask, self._flat(batch))[:, : texts.ids.shape[1]]
        scores = self.language_head(rows[masked.hidden], self.text.words.weight)
        return masked_loss(scores, texts.ids[masked.hidden])

    def _masked_regions(
        self, batch: Batch, generator: torch.Generator, task: Literal["mrfr", "mrc", "mrc_kl"] | str
    ) -> Float[Tensor, ""]:
        texts, regions = batch.required("texts"), self._flat(batch)
        hidden = mask_regions(regions.mask, generator, self.config.masked)
        rows = self._fuse(texts.ids, texts.mask, regions, hidden)[:, texts.ids.shape[1] :][hidden]
        if task == "mrfr":  # through the transposed projection of the features: the two are tied
            features = F.linear(self.feature_head(rows), self.regions.features.weight.T, self.feature_bias)
            return region_feature_loss(features, regions.features[hidden])
        assert self.classify is not None and regions.class_probabilities is not None
        logits = self.classify(self.class_head(rows))
        loss = region_class_loss if task == "mrc" else region_distribution_loss
        return loss(logits, regions.class_probabilities[hidden])

    def _aligned(self, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        """Image-text matching, for which half of the pairs get a random other picture, and word-region alignment: the optimal
        transport distance should be small for true pairs and large for wrong ones."""
        texts = batch.required("texts")
        count, device = len(texts), texts.ids.device
        owner = torch.arange(count, device=device) if batch.image_of is None else batch.image_of
        partner, wrong = mismatched_half(owner if batch.image_ids is None else batch.image_ids, generator)
        regions = self._flat(batch, owner[partner])
        rows = self._fuse(texts.ids, texts.mask, regions)
        total, counted = match_loss(self._matching(rows[:, 0]), (~wrong).long(), torch.ones_like(wrong))
        losses = {"itm": total / counted}
        if self.config.wra:
            words, places = rows.split([texts.ids.shape[1], regions.mask.shape[1]], 1)
            distance = transport_distance(words, places, texts.mask, regions.mask)
            signed = torch.where(wrong, -distance, distance).sum() / count
            losses["wra"] = self.config.wra * signed
        return losses


def _head(width: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(width, width), nn.GELU(), nn.LayerNorm(width, eps=1e-12))
