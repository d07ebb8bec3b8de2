"""VL-BERT: Pre-training of Generic Visual-Linguistic Representations (Su et al., 2019, arXiv 1908.08530): a BERT of which every
element, word or region, carries a visual feature: a word that of the whole picture.

Prose, tables and deviations: docs/papers/vl_bert.md.

B texts, R regions of a text's pictures, F features, K classes of the detector, T tokens, D width, A answers.
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
from pairloom.blocks.region_places import SinusoidalRegionEmbed
from pairloom.blocks.transformer import Stack, initialise
from pairloom.data.batch import Batch, Texts
from pairloom.objectives.masked import mask_words, masked_loss, masking_generator
from pairloom.objectives.regions import mask_regions
from pairloom.systems import _fusion as fusion
from pairloom.systems import _listed_answers as listed

if TYPE_CHECKING:
    from pairloom.data.feed import RegionFeed
    from pairloom.data.records import Regions


QUESTION, ANSWER, PICTURE = range(3)  # segments


@dataclass(frozen=True)
class Config(fusion.RegionSizes, fusion.AnswerSizes, fusion.BertSizes):
    """VL-BERT base on precomputed features ("prec"): BERT base, at most 100 regions of 2,048 features and 1,601 classes.

    coordinates: numbers of the sines of a box. alone: weight of masked words that are read without a picture (0: not computed).
    """

    length: int = 64
    coordinates: int = 2048
    alone: float = 1.0


TINY = Config(**fusion.TINY_REGIONS, coordinates=16)
PRESETS: dict[str, Config] = {
    "base": Config(),
    "large": Config(width=1024, depth=24, heads=16),
    "vqa": Config(answers=3129),
    "tiny": TINY,
}
_RECIPE = dict(batch=256, schedule="linear", weight_decay=1e-4)
RECIPES: dict[str, dict[str, object]] = {
    "base": dict(_RECIPE, lr=2.56e-5, epochs=10, warmup=16_000, clip=10.0),
    "large": dict(_RECIPE, lr=2.56e-5, epochs=10, warmup=16_000, clip=10.0),
    "vqa": dict(_RECIPE, lr=1.6e-4, epochs=5, warmup=500),
}


def feed(config: Config) -> RegionFeed:
    """The 100 surest regions of a picture with the detector's classes."""
    from pairloom.data.feed import RegionFeed

    return RegionFeed(config.features, 100, config.classes)


example = fusion.example


class System(listed.ListedAnswers):
    """VL-BERT. A row is [CLS] text [SEP] whole-picture regions [END]."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        c = self.config = config
        self.text = TextEmbed(c.vocabulary, c.positions, c.width, 1e-12, c.dropout, segments=3)
        self.visual = SinusoidalRegionEmbed(c.features, c.coordinates, c.width)
        self.word_norm, self.region_norm = (nn.LayerNorm(c.width, eps=1e-12) for _ in range(2))
        self.image_row, self.masked_row, self.end_row, self.no_picture = (
            nn.Parameter(torch.zeros(c.width)) for _ in range(4)
        )
        self.hidden = nn.Parameter(torch.zeros(c.features))
        self.stack = Stack(c.layers())
        self.language_head = LanguageHead(c.width, c.vocabulary, 1e-12)
        self.class_head = None
        if c.classes:
            self.class_head = nn.Sequential(
                nn.Linear(c.width, c.width), nn.GELU(), nn.Linear(c.width, c.classes)
            )
        if c.answers:
            self.answer_head = nn.Linear(c.width, c.answers)
        initialise(self)
        for row in (self.image_row, self.masked_row, self.end_row, self.no_picture):
            nn.init.normal_(row, std=0.02)
        for norm in (
            self.word_norm,
            self.region_norm,
        ):  # a BERT at first: features come in as they are learned
            nn.init.zeros_(norm.weight)

    def answer_logits(self, batch: Batch) -> Float[Tensor, "B A"]:
        """The answer is read at a [MASK] behind the question, through the first layers of the head of masked words."""
        texts, c = batch.required("texts"), self.config
        behind = texts.ids.new_tensor([c.mask, c.sep]).expand(len(texts), 2)
        rows, _ = self._read(texts, fusion.regions_of(batch), answer=behind)
        row = rows[:, texts.ids.shape[1]]
        head = self.language_head
        read = head.norm(F.gelu(head.dense(row)))  # an engine may give it in half precision
        return self.answer_head(read.to(self.answer_head.weight.dtype)).float()

    def _read(
        self,
        texts: Texts,
        regions: Regions | None,
        masked: Bool[Tensor, "B R"] | None = None,
        answer: Tensor | None = None,
    ) -> tuple[Float[Tensor, "B _ D"], int]:
        """Rows of words (and of an answer behind them), then of the whole picture, each region and [END]; and where the regions begin.
        regions None: words alone. masked: regions that are hidden; the whole picture is the mean of the others."""
        ids, mask, embed = texts.ids, texts.mask, self.text
        count = mask.sum(1)[:, None]  # of the row's own tokens: what follows has the next positions
        place = torch.arange(ids.shape[1], device=ids.device).expand_as(ids)
        kind = torch.full_like(ids, QUESTION)
        if answer is not None:
            width = answer.shape[1]
            ids = torch.cat([ids, answer], 1)
            place = torch.cat([place, count + torch.arange(width, device=ids.device)], 1)
            kind = torch.cat([kind, torch.full_like(answer, ANSWER)], 1)
            mask = torch.cat([mask, torch.ones_like(answer, dtype=torch.bool)], 1)
            count = count + width
        words = embed.words(ids) + embed.positions(place) + embed.segments(kind)  # type: ignore[misc]
        picture = embed.segments.weight[PICTURE]  # type: ignore[union-attr]
        end = self.end_row + embed.positions(count + 1) + picture
        if regions is None:
            x = torch.cat([words + self.word_norm(self.no_picture), end], 1)
            every = torch.cat([mask, torch.ones_like(mask[:, :1])], 1)
            return self.stack(embed.dropout(embed.norm(x)), padding(every)), ids.shape[1]
        seen, real = self._pictures(regions, masked)
        rows = self.image_row.expand_as(seen)
        if masked is not None:
            hidden = F.pad(masked, (1, 0))[..., None]
            rows = torch.where(hidden, self.masked_row, rows)
        rows = rows + self.region_norm(seen) + embed.positions(count) + picture
        words = words + self.word_norm(seen[:, :1])
        x = embed.dropout(embed.norm(torch.cat([words, rows, end], 1)))
        every = torch.cat([mask, real, torch.ones_like(real[:, :1])], 1)
        return self.stack(x, padding(every)), ids.shape[1] + 1

    def _pictures(
        self, regions: Regions, masked: Bool[Tensor, "B R"] | None
    ) -> tuple[Float[Tensor, "B _ D"], Bool[Tensor, "B _"]]:
        """Visual features of the whole picture and of each region, and which are real."""
        features, mask = regions.features, regions.mask
        shown = mask if masked is None else mask & ~masked
        share = shown / shown.sum(1, keepdim=True).clamp(min=1)
        whole = share[:, None] @ features  # of regions that are not hidden
        if masked is not None:
            features = torch.where(masked[..., None], self.hidden, features)
        box = regions.boxes.new_tensor([0.0, 0.0, 1.0, 1.0]).expand(len(mask), 1, 4)
        seen = self.visual(torch.cat([whole, features], 1), torch.cat([box, regions.boxes], 1))
        return seen, torch.cat([torch.ones_like(mask[:, :1]), mask], 1)

    def pair_losses(self, batch: Batch) -> dict[str, Tensor]:
        """Masked words with the picture, masked regions by the detector's distribution, and masked words without a picture (the only
        loss where the batch has no regions). Words and regions are hidden together; 90 % of the drawn regions are masked, the others
        stay as they are."""
        c, generator = self.config, masking_generator(self.training)
        texts = batch.required("texts")
        masked = mask_words(texts.ids, texts.mask, c, generator)
        hidden = replace(texts, ids=masked.ids)

        def words(rows: Tensor) -> Tensor:
            own = rows[:, : texts.ids.shape[1]][masked.hidden]
            return masked_loss(self.language_head(own, self.text.words.weight), texts.ids[masked.hidden])

        losses = {}
        if c.alone or batch.regions is None:
            losses["text"] = (c.alone or 1.0) * words(self._read(hidden, None)[0])
        if batch.regions is None:
            return losses
        regions = fusion.regions_of(batch)
        drawn = mask_regions(regions.mask, generator, c.masked)
        gone = drawn & (torch.rand(drawn.shape, generator=generator) < 0.9).to(drawn.device)
        rows, first = self._read(hidden, regions, gone)
        losses["mlm"] = words(rows)
        if self.class_head is not None and regions.class_probabilities is not None:
            logits = self.class_head(rows[:, first : first + drawn.shape[1]][drawn])
            losses["regions"] = F.cross_entropy(logits.float(), regions.class_probabilities[drawn])
        return losses
