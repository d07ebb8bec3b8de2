"""UNITER: UNiversal Image-TExt Representation Learning (Chen et al., 2020, arXiv 1909.11740): words and detected regions in
one BERT, of which only one modality is masked at a time, with words moved onto regions by optimal transport.

Prose, tables and deviations: docs/papers/uniter.md.

B texts, R regions of a text's pictures, F features, T tokens, D width.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from pairloom.blocks.embed import TextEmbed
from pairloom.blocks.language import LanguageHead
from pairloom.blocks.region_norms import MaskableRegionEmbed
from pairloom.blocks.transformer import Stack, initialise
from pairloom.data.batch import Batch, Texts
from pairloom.objectives import region_losses
from pairloom.objectives.masked import mask_words
from pairloom.objectives.mismatch import mismatched_half
from pairloom.objectives.regions import mask_regions
from pairloom.systems import _fusion as fusion
from pairloom.systems import _fusion_encoder as base

if TYPE_CHECKING:
    from pairloom.data.records import Regions

TASKS = ("itm", "mlm", "mrfr", "mrc", "mrc_kl")


@dataclass(frozen=True)
class Config(fusion.RegionSizes, fusion.TaskSizes, fusion.BertSizes):
    """UNITER base: BERT base, cased, on 2,048 features and 1,601 classes of a bottom-up-attention detector.

    mix: how often a batch is used for each task of TASKS (the paper's in-domain mix). together: every batch is used for all
    tasks of the mix (ours, for small sets; the paper draws one task a batch). masked: share of the words, or of the
    regions, that are hidden. wra: weight of the word-region alignment, a part of the itm task.
    """

    vocabulary: int = 28996
    length: int = 60
    mix: tuple[float, ...] = (2.0, 2.0, 1.0, 0.0, 1.0)
    together: bool = False
    wra: float = 0.1


TINY = Config(**fusion.TINY_REGIONS, mix=(1.0, 1.0, 1.0, 1.0, 1.0), together=True)
PRESETS: dict[str, Config] = {
    "base": Config(),
    "large": Config(width=1024, depth=24, heads=16),
    "vqa": Config(answers=3129, matches=False),
    "nlvr2": Config(pictures=2),
    "tiny": TINY,
}
_FINE = dict(betas=(0.9, 0.98), weight_decay=0.01, warmup=0.1)
RECIPES: dict[str, dict[str, object]] = {
    "base": dict(_FINE, lr=5e-5, clip=5.0, warmup=10_000, steps=200_000),
    "vqa": dict(_FINE, lr=8e-5, clip=2.0, steps=6000),
    "nlvr2": dict(_FINE, lr=3e-5, clip=2.0, steps=8000),
}
feed = fusion.task_regions(100)
example = fusion.example


class System(base.FusionEncoder):
    """UNITER. A row is [CLS] words [SEP] regions."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        c = self.config = config
        if len(c.mix) != len(TASKS):
            raise ValueError(f"mix has {len(c.mix)} numbers, one for each of {', '.join(TASKS)} is needed")
        self.text = TextEmbed(c.vocabulary, c.positions, c.width, 1e-12, c.dropout, segments=2)
        self.regions = MaskableRegionEmbed(c.features, c.width, c.dropout)
        self.stack = Stack(c.layers())
        self.pooler = nn.Linear(c.width, c.width)
        self.match_head = nn.Linear(c.width, 2)
        self.language_head = LanguageHead(c.width, c.vocabulary, 1e-12)
        self.feature_head, self.class_head = (fusion.normed_layer(c.width) for _ in range(2))
        self.feature_bias = nn.Parameter(torch.zeros(c.features))
        self.classify = nn.Linear(c.width, c.classes) if c.classes else None
        self.add_task_heads(c.width)
        initialise(self)
        nn.init.normal_(self.regions.hidden, std=0.02)

    def encode_regions(self, regions: Regions, hidden: Bool[Tensor, "B R"] | None = None) -> base.VisualRows:
        """hidden: regions whose features are the mask embedding's."""
        picture = self.text.segments.weight[1]  # type: ignore[union-attr]
        return base.VisualRows(self.regions(regions.features, regions.boxes, picture, hidden), regions.mask)

    def pair_losses(self, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        """Losses of one task of the mix, or of all tasks with `together` and in evaluation; each task masks only one modality
        (conditional masking)."""
        losses: dict[str, Tensor] = {}
        texts, regions = batch.required("texts"), fusion.regions_of(batch)
        for task, weight in self._drawn_tasks(regions.class_probabilities is not None, generator).items():
            if task == "itm":
                values = self._aligned(batch, generator)
            elif task == "mlm":
                values = {task: self._words(texts, regions, generator)}
            else:
                values = {task: self._masked_regions(texts, regions, generator, task)}
            losses |= {name: weight * value for name, value in values.items()}
        return losses | fusion.answer_losses(self, batch)

    def _drawn_tasks(self, classes: bool, generator: torch.Generator) -> dict[str, float]:
        """The tasks of this batch and their weights: one that is drawn, or all with a mean weight of 1. classes: whether the
        detector gave some."""
        c = self.config
        possible = {task: weight for task, weight in zip(TASKS, c.mix) if weight}
        if self.classify is None or not classes:
            possible = {task: weight for task, weight in possible.items() if not task.startswith("mrc")}
        if c.together or not self.training:
            total = sum(possible.values())
            return {task: weight * len(possible) / total for task, weight in possible.items()}
        drawn = int(torch.multinomial(torch.tensor(list(possible.values())), 1, generator=generator))
        return {list(possible)[drawn]: 1.0}

    def _words(self, texts: Texts, regions: Regions, generator: torch.Generator) -> Float[Tensor, ""]:
        masked = mask_words(texts.ids, texts.mask, self.config, generator)
        rows, _ = self.read_pairs(Texts(masked.ids, texts.mask), regions)
        return self.word_loss(rows, masked, texts.ids)

    def _masked_regions(
        self, texts: Texts, regions: Regions, generator: torch.Generator, task: str
    ) -> Tensor:
        hidden = mask_regions(regions.mask, generator, self.config.masked)
        rows = self.read_pairs(texts, regions, hidden)[1][hidden]
        if task == "mrfr":  # through the transposed projection of the features: the two are tied
            features = F.linear(self.feature_head(rows), self.regions.features.weight.T, self.feature_bias)
            return region_losses.region_feature_loss(features, regions.features[hidden])
        assert self.classify is not None and regions.class_probabilities is not None
        logits = self.classify(self.class_head(rows))
        plain = task == "mrc"
        loss = region_losses.region_class_loss if plain else region_losses.region_distribution_loss
        return loss(logits, regions.class_probabilities[hidden])

    def _aligned(self, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        """Image-text matching, for which half of the pairs get a random other picture, and word-region alignment: the optimal
        transport distance should be small for true pairs and large for wrong ones."""
        texts, owner = batch.required("texts"), fusion.owner_of(batch)
        partner, wrong = mismatched_half(fusion.picture_ids(batch, owner), generator)
        regions = fusion.regions_of(batch, owner[partner])
        words, places = self.read_pairs(texts, regions)
        matched = self.matching(self.pool(words, places))
        losses = {"itm": F.cross_entropy(matched, (~wrong).long())}
        if self.config.wra:
            from pairloom.objectives.transport import transport_distance

            distance = transport_distance(words, places, texts.mask, regions.mask)
            losses["wra"] = self.config.wra * torch.where(wrong, -distance, distance).sum() / len(texts)
        return losses
