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

from pairloom.abilities import MATCH, Ability
from pairloom.blocks.coattention import CoAttentionBlock
from pairloom.blocks.embed import TextEmbed
from pairloom.blocks.language import LanguageHead
from pairloom.blocks.masks import padding
from pairloom.blocks.transformer import Stack, initialise
from pairloom.data.batch import Batch, Texts
from pairloom.data.records import Regions
from pairloom.objectives.masked import mask_words, masked_loss, masking_generator
from pairloom.objectives.mismatch import mismatched_half
from pairloom.objectives.regions import hide_features, mask_regions
from pairloom.systems import _fusion as fusion

if TYPE_CHECKING:
    from pairloom.data.feed import RegionFeed


@dataclass(frozen=True)
class Config(fusion.BertSizes):
    """The paper's 9 layers of language (`depth`), 5 of regions and 5 of both.

    classes, attributes: of the detector, with background, or no attribute, first; 0 attributes: they are not predicted. answers:
    in the list that questions are answered from (0: none). answer_list: their texts, where they are known. matches: whether
    the model learns, and is asked, if text and picture belong together. pictures: of a statement, where the model is one of
    statements (NLVR2: 2); 0 otherwise.
    """

    depth: int = 9
    features: int = 2048
    classes: int = 1601
    attributes: int = 401
    region_depth: int = 5
    cross_depth: int = 5
    answers: int = 9500
    answer_list: tuple[str, ...] = ()
    matches: bool = True
    pictures: int = 0


TINY = Config(
    **fusion.TINY_BERT, features=24, classes=7, attributes=5, region_depth=1, cross_depth=2, answers=6
)
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


def feed(config: Config) -> RegionFeed:
    """The 36 surest regions of a picture, with the detector's classes where their loss is learned."""
    from pairloom.data.feed import RegionFeed

    return RegionFeed(config.features, 36, config.classes if config.matches and not config.pictures else 0)


def example(config: Config, generator: torch.Generator) -> Batch:
    """Six texts with random regions; half of the texts are questions with an answer."""
    from pairloom.data.random_batch import random_regions

    batch = random_regions(config, generator, attributes=config.attributes)
    return replace(batch, labels=torch.tensor([3, -1, 0, 5, -1, -1]))


class LXMERTRegionEmbed(nn.Module):
    """Region embedding of LXMERT: the mean of the normed features and the normed box."""

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


class System(nn.Module):
    """LXMERT. Heads that the config has no use for are None."""

    match_head: Any
    language_head: Any
    region_heads: Any
    answer_head: Any
    verdict_head: Any

    def __init__(self, config: Config) -> None:
        super().__init__()
        c, layers = config, config.layers()
        self.config = c
        self.text = TextEmbed(c.vocabulary, c.positions, c.width, 1e-12, c.dropout, segments=2)
        self.regions = LXMERTRegionEmbed(c.features, c.width, c.dropout)
        self.language, self.relations = Stack(layers), Stack(layers._replace(depth=c.region_depth))
        crossing = layers._replace(order=("cross", "self", "feed"))
        self.exchanges = nn.ModuleList(
            CoAttentionBlock(crossing, crossing, shared=True) for _ in range(c.cross_depth)
        )
        self.pooler = nn.Linear(c.width, c.width)
        self.match_head = self.language_head = self.region_heads = self.answer_head = self.verdict_head = None
        if c.matches:
            self.match_head = nn.Linear(c.width, 2)
            self.language_head = LanguageHead(c.width, c.vocabulary, 1e-12)
            self.region_heads = RegionHeads(c)
        if c.answers:
            self.answer_head = fusion.first_row_head(c.width, c.answers)
        if c.pictures:
            self.verdict_head = fusion.first_row_head(c.pictures * c.width, 2, growth=1)
        initialise(self)

    @property
    def abilities(self) -> tuple[Ability, ...]:
        c = self.config
        has = {
            MATCH: c.matches and not c.pictures,
            Ability("choose", reads="question", by="answer head"): c.answers,
            Ability("reason", reads="statement", by="match head", pictures=max(1, c.pictures)): c.pictures,
        }
        return tuple(ability for ability, there in has.items() if there)

    @property
    def trains_on(self) -> tuple[str, ...]:
        return ("statements",) if self.config.pictures else ("pairs",)

    def match(self, batch: Batch) -> Float[Tensor, " B"]:
        """Log-odds that text and picture belong together, or that a statement about its pictures is true."""
        logits = self.match_logits(batch)
        return logits[:, 1] - logits[:, 0]

    def match_logits(self, batch: Batch) -> Float[Tensor, "B 2"]:
        """The two classes: class 1 = they belong together, or the statement is true. A statement is read with each of its
        pictures by itself, and judged from the pooled rows side by side, as the released NLVR2 model does."""
        if self.verdict_head is None:
            return self.match_head(self._read(batch)).float()
        texts, regions = batch.required("texts"), batch.required("regions")[fusion.owner_of(batch)]
        if regions.mask.shape[1] != self.config.pictures:
            raise ValueError(f"a statement needs {self.config.pictures} pictures")
        pictures = [fusion.of_picture(regions, place) for place in range(self.config.pictures)]
        return self.verdict_head(
            torch.cat([self._pool(self._fuse(texts, one)[0]) for one in pictures], 1)
        ).float()

    def answer_logits(self, batch: Batch) -> Float[Tensor, "B A"]:
        """Scores of the answers of the list; the texts are the questions."""
        return self.answer_head(self._read(batch)).float()

    def _read(self, batch: Batch) -> Float[Tensor, "B D"]:
        return self._pool(self._fuse(batch.required("texts"), fusion.regions_of(batch))[0])

    def _pool(self, words: Float[Tensor, "B T D"]) -> Float[Tensor, "B D"]:
        return torch.tanh(self.pooler(words[:, 0]))

    def _fuse(self, texts: Texts, regions: Regions) -> tuple[Float[Tensor, "B T D"], Float[Tensor, "B R D"]]:
        """Words and regions, each through its own encoder, then through the cross-modality encoder."""
        words = self.language(self.text(texts.ids), padding(texts.mask))
        places = self.regions(regions.features, regions.boxes)
        places = self.relations(places, padding(regions.mask))
        for exchange in self.exchanges:
            words, places = exchange(words, places, texts.mask, regions.mask)
        return words, places

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """The tasks of pre-training with equal weights, from one pass: words and regions are masked together, and half of the
        pictures get another row's text, whose words are still predicted but whose question is not answered. `labels` are the
        answers, below 0 where a text has none. A model of statements or of answers alone learns that."""
        c, generator = self.config, masking_generator(self.training)
        if c.pictures or not c.matches:
            learned = self.match_logits(batch) if c.pictures else self.answer_logits(batch)
            return {"answer": F.cross_entropy(learned, batch.required("labels"))}
        owner = fusion.owner_of(batch)
        partner, wrong = mismatched_half(fusion.picture_ids(batch, owner), generator)
        texts, regions = batch.required("texts")[partner], fusion.regions_of(batch, owner)
        masked = mask_words(texts.ids, texts.mask, c, generator)
        hidden = mask_regions(regions.mask, generator, c.masked)
        features = hide_features(regions.features, hidden, regions.mask, generator, zero=0.8, other=0.1)
        words, places = self._fuse(replace(texts, ids=masked.ids), replace(regions, features=features))
        pooled = self._pool(words)
        scores = self.language_head(words[masked.hidden], self.text.words.weight)
        losses = {
            "mlm": masked_loss(scores, texts.ids[masked.hidden]),
            "match": F.cross_entropy(self.match_head(pooled).float(), (~wrong).long()),
            **self.region_heads.losses(places, regions, hidden),
        }
        if c.answers and batch.labels is not None:
            known = (batch.labels >= 0) & ~wrong
            losses["answer"] = masked_loss(self.answer_head(pooled[known]), batch.labels[known])
        return losses


class RegionHeads(nn.Module):
    """What is predicted of a hidden region: its features, its object and its attribute."""

    def __init__(self, config: Config) -> None:
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
