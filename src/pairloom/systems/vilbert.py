"""ViLBERT: Pretraining Task-Agnostic Visiolinguistic Representations for Vision-and-Language Tasks (Lu et al., 2019,
arXiv 1908.02265): a BERT of words and a transformer of regions, which read each other through co-attention.

Prose, tables and deviations: docs/papers/vilbert.md.

B texts, R regions of a text's pictures, T tokens, D width of the text stream, E width of the visual one, A answers.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from pairloom.blocks.coattention import CoAttentionBlock
from pairloom.blocks.embed import TextEmbed
from pairloom.blocks.language import LanguageHead
from pairloom.blocks.masks import padding
from pairloom.blocks.region_embed import GlobalRegionEmbed
from pairloom.blocks.transformer import Block, initialise
from pairloom.data.batch import Batch, Texts
from pairloom.objectives.masked import mask_words
from pairloom.objectives.mismatch import paired_match_loss, random_negatives
from pairloom.objectives.regions import mask_regions, overlapping
from pairloom.systems import _fusion as fusion
from pairloom.systems import _fusion_encoder as base
from pairloom.systems import _whole_picture as whole_picture

if TYPE_CHECKING:
    from pairloom.data.records import Regions

MATCHING, ANSWERING = 7, 1  # rows of 12-in-1's table of tasks: retrieval on COCO, VQA


@dataclass(frozen=True)
class Config(fusion.RegionSizes, fusion.TaskSizes, fusion.BertSizes):
    """Sizes of the released base model: BERT base of 12 layers, 6 visual layers of 1,024 (feed-forward 1,024), co-attention of
    8 heads before the last 6 text layers and before each visual layer.

    exchanges: number of co-attention layers. shared_width: of all heads of one together, and of the pooled rows. masked: share of
    words and of regions that are hidden. overlap: regions whose intersection over union with a hidden one is above this are left out
    of the global row. tasks: rows of a table of tasks, of which one stands behind [CLS] (12-in-1; 0: none).
    """

    length: int = 36
    visual_width: int = 1024
    visual_depth: int = 6
    visual_heads: int = 8
    visual_growth: float = 1.0
    exchanges: int = 6
    shared_width: int = 1024
    shared_heads: int = 8
    overlap: float = 0.4
    tasks: int = 0


TINY = Config(
    **fusion.TINY_REGIONS | {"depth": 3}, visual_width=40, visual_depth=2, visual_heads=2, exchanges=2, shared_width=16,
    shared_heads=2,
)  # fmt: skip
PRESETS: dict[str, Config] = {
    "base": Config(),
    "vqa": Config(answers=3129, matches=False),
    "nlvr2": Config(pictures=2),
    "tiny": TINY,
}
RECIPES: dict[str, dict[str, object]] = {
    "base": dict(lr=1e-4, batch=512, epochs=10, schedule="linear", weight_decay=0.01, clip=0.0),
    "vqa": dict(lr=4e-5, batch=256, epochs=20, schedule="linear", weight_decay=0.01, clip=0.0),
}
feed = fusion.task_regions(36)
example = fusion.example


class System(whole_picture.WholePictureEncoder):
    """ViLBERT. The first row of the regions is the whole picture."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        c = self.config = config
        if not 0 < c.exchanges <= min(c.depth, c.visual_depth):
            raise ValueError(f"{c.exchanges} exchanges need as many layers of both streams")
        words = c.layers()
        visual = words._replace(width=c.visual_width, heads=c.visual_heads, growth=c.visual_growth)
        self.text = TextEmbed(c.vocabulary, c.positions, c.width, 1e-12, c.dropout, segments=2)
        self.regions = GlobalRegionEmbed(c.features, c.visual_width, c.dropout)
        self.text_layers = nn.ModuleList(Block(words) for _ in range(c.depth))
        self.visual_layers = nn.ModuleList(Block(visual) for _ in range(c.visual_depth))
        crossing: dict[str, Any] = dict(heads=c.shared_heads, inside=c.shared_width, order=("cross", "feed"))
        first, second = (stream._replace(**crossing) for stream in (words, visual))
        self.exchanges = nn.ModuleList(CoAttentionBlock(first, second) for _ in range(c.exchanges))
        self.add_poolers(c.width, c.visual_width, c.shared_width)
        self.language_head = LanguageHead(c.width, c.vocabulary, 1e-12)
        self.class_head = fusion.first_row_head(c.visual_width, c.classes, growth=1) if c.classes else None
        self.task_rows = nn.Embedding(c.tasks, c.width) if c.tasks else None
        self.add_task_heads(c.shared_width)
        initialise(self)

    def encode_regions(self, regions: Regions, hidden: Bool[Tensor, "B R"] | None = None) -> base.VisualRows:
        """Neither hidden regions nor those that overlap them count in the row of the whole picture."""
        near = None if hidden is None else overlapping(regions.boxes, hidden, self.config.overlap)
        return self.with_whole_picture(regions, hidden, near)

    def encode_words(self, texts: Texts, task: int = MATCHING) -> Float[Tensor, "B _ D"]:
        """Through the text layers before the first exchange. task: the row that is read behind [CLS], where there are such rows."""
        rows, mask = self.text(texts.ids), self._with_task(texts.mask)
        if self.task_rows is not None:
            row = self.text.dropout(self.text.norm(self.task_rows.weight[task])).expand(len(rows), 1, -1)
            rows = torch.cat([rows[:, :1], row, rows[:, 1:]], 1)
        for layer in self.text_layers[: self.config.depth - self.config.exchanges]:
            rows = layer(rows, padding(mask))
        return rows

    def _with_task(self, mask: Bool[Tensor, "B T"]) -> Bool[Tensor, "B _"]:
        return mask if self.task_rows is None else torch.cat([mask[:, :1], mask], 1)

    def answer_logits(self, batch: Batch) -> Float[Tensor, "B A"]:
        words = self.encode_words(batch.required("texts"), ANSWERING)
        return super().answer_logits(replace(batch, encoded_text=words))

    def fuse(
        self, words: Float[Tensor, "B _ D"], mask: Bool[Tensor, "B T"], visual: base.VisualRows
    ) -> tuple[Float[Tensor, "B T D"], Float[Tensor, "B _ E"]]:
        """Co-attention and a layer of each stream by turns; behind the last exchange all visual layers that are left. The row of the
        task is not given back."""
        mask, places, last = self._with_task(mask), visual.rows, len(self.exchanges) - 1
        layers = self.text_layers[self.config.depth - self.config.exchanges :]
        for index, (exchange, layer) in enumerate(zip(self.exchanges, layers)):
            words, places = exchange(words, places, mask, visual.mask)
            words = layer(words, padding(mask))
            for visual_layer in self.visual_layers[index : None if index == last else index + 1]:
                places = visual_layer(places, padding(visual.mask))
        return words if self.task_rows is None else torch.cat([words[:, :1], words[:, 2:]], 1), places

    def pair_losses(self, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        """Masked language modelling, masked region classification and image-text alignment with equal weights (section 3.1).
        Masked words and regions are predicted for true pairs alone, as in the code of 12-in-1."""
        c = self.config
        texts, owner = batch.required("texts"), fusion.owner_of(batch)
        regions = fusion.regions_of(batch, owner)
        masked = mask_words(texts.ids, texts.mask, c, generator)
        drawn = mask_regions(regions.mask, generator, c.masked)
        zeroed = drawn & (torch.rand(drawn.shape, generator=generator).to(drawn.device) < 0.9)
        words = self.encode_words(Texts(masked.ids, texts.mask))
        rows, places = self.fuse(words, texts.mask, self.encode_regions(regions, zeroed))
        other, available = random_negatives(fusion.picture_ids(batch, owner), generator)
        # hidden like the true pair: if all regions were there, that alone would give a wrong picture away
        wrong = self.fuse(words, texts.mask, self.encode_regions(regions[other], zeroed[other]))
        right, mismatched = (self.matching(self.pool(*pair)) for pair in ((rows, places), wrong))
        total, count = paired_match_loss(right, mismatched, available)
        losses = {
            "mlm": self.word_loss(rows, masked, texts.ids),
            "alignment": total / count,
            **self.region_class_losses(places, regions, drawn),
        }
        return losses | fusion.answer_losses(self, batch)
