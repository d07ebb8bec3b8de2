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
from pairloom.objectives.masked import mask_words, masked_loss, masking_generator
from pairloom.objectives.mismatch import mismatched_half
from pairloom.objectives.regions import hide_features, mask_regions
from pairloom.systems import _fusion as fusion
from pairloom.systems import _fusion_encoder as encoder

if TYPE_CHECKING:
    from pairloom.data.records import Regions


@dataclass(frozen=True)
class Config(fusion.RegionSizes, fusion.TaskSizes, fusion.BertSizes):
    """The paper's 9 layers of language (`depth`), 5 of regions and 5 of both.

    classes, attributes: of the detector, with background, or no attribute, first; 0 attributes: they are not predicted. pictures: of
    a statement (NLVR2: 2).
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


feed = fusion.task_regions(36)


def example(config: Config, generator: torch.Generator) -> Batch:
    """Six texts with random regions, which have attributes; half of the texts are questions with an answer."""
    from pairloom.data.random_batch import random_regions

    batch = random_regions(config, generator, attributes=config.attributes)
    return replace(batch, labels=torch.tensor([3, -1, 0, 5, -1, -1]))


class System(encoder.FusionEncoder):
    """LXMERT. Heads that the config has no use for are None."""

    heads = ("match_head.", "language_head.", "region_heads.", *encoder.FusionEncoder.heads)
    language_head: Any
    region_heads: Any

    def __init__(self, config: Config) -> None:
        super().__init__()
        c, layers = config, config.layers()
        self.config = c
        self.text = TextEmbed(c.vocabulary, c.positions, c.width, 1e-12, c.dropout, segments=2)
        self.regions = AveragedRegionEmbed(c.features, c.width, c.dropout)
        self.language, self.relations = Stack(layers), Stack(layers._replace(depth=c.region_depth))
        crossing = layers._replace(order=("cross", "self", "feed"))
        self.exchanges = nn.ModuleList(
            CoAttentionBlock(crossing, crossing, shared=True) for _ in range(c.cross_depth)
        )
        self.pooler = nn.Linear(c.width, c.width)
        self.language_head = self.region_heads = None
        if c.matches:
            from pairloom.systems import _region_heads

            self.match_head = nn.Linear(c.width, 2)
            self.language_head = LanguageHead(c.width, c.vocabulary, 1e-12)
            self.region_heads = _region_heads.RegionHeads(c)
        self.add_task_heads(c.width)
        initialise(self)

    def encode_regions(
        self, regions: Regions, hidden: Bool[Tensor, "B R"] | None = None
    ) -> encoder.VisualRows:
        """Through the encoder of regions. What is hidden is so in the features already."""
        rows = self.relations(self.regions(regions.features, regions.boxes), padding(regions.mask))
        return encoder.VisualRows(rows, regions.mask)

    def encode_words(self, texts: Texts) -> Float[Tensor, "B T D"]:
        return self.language(self.text(texts.ids), padding(texts.mask))

    def fuse(
        self, words: Float[Tensor, "B T D"], mask: Bool[Tensor, "B T"], visual: encoder.VisualRows
    ) -> tuple[Float[Tensor, "B T D"], Float[Tensor, "B _ D"]]:
        """The cross-modality encoder."""
        places = visual.rows
        for exchange in self.exchanges:
            words, places = exchange(words, places, mask, visual.mask)
        return words, places

    def pool(self, words: Float[Tensor, "B T D"], places: Float[Tensor, "B _ D"]) -> Float[Tensor, "B D"]:
        """From [CLS]."""
        return torch.tanh(self.pooler(words[:, 0]))

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """The tasks of pre-training with equal weights, from one pass: words and regions are masked together, and half of the
        pictures get another row's text, whose words are still predicted but whose question is not answered. `labels` are the
        answers, below 0 where a text has none. A model of statements or of answers alone learns that."""
        if losses := self.task_losses(batch):
            return losses
        c, generator = self.config, masking_generator(self.training)
        owner = fusion.owner_of(batch)
        partner, wrong = mismatched_half(fusion.picture_ids(batch, owner), generator)
        texts, regions = batch.required("texts")[partner], fusion.regions_of(batch, owner)
        masked = mask_words(texts.ids, texts.mask, c, generator)
        hidden = mask_regions(regions.mask, generator, c.masked, False)
        features = hide_features(regions.features, hidden, regions.mask, generator, zero=0.8, other=0.1)
        words, places = self.read_pairs(replace(texts, ids=masked.ids), replace(regions, features=features))
        pooled = self.pool(words, places)
        scores = self.language_head(words[masked.hidden], self.text.words.weight)
        losses = {
            "mlm": masked_loss(scores, texts.ids[masked.hidden]),
            "match": F.cross_entropy(self.matching(pooled), (~wrong).long()),
            **self.region_heads.losses(places, regions, hidden),
        }
        if c.answers and batch.labels is not None:
            from pairloom.objectives.answers import answers_of

            answers = answers_of(batch.labels)
            known = (answers >= 0) & ~wrong
            losses["answer"] = masked_loss(self.answer_head(pooled[known]), answers[known])
        return losses
