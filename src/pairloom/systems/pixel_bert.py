"""Pixel-BERT: Aligning Image Pixels with Text by Deep Multi-Modal Transformers (Huang et al., 2020, arXiv 2004.00849): the
cells of a convolutional network's last map join the words in one BERT, end to end, without a detector.

Prose, tables and deviations: docs/papers/pixel_bert.md.

B texts, I examples of pictures, N pictures of an example, P cells of a picture, S of them that are read, T tokens, D width.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor, nn

from pairloom.blocks.embed import TextEmbed
from pairloom.blocks.encoder import Encoder, Network
from pairloom.blocks.gather import mean_of_all
from pairloom.blocks.language import LanguageHead
from pairloom.blocks.transformer import Stack, initialise
from pairloom.data.batch import Batch, Texts
from pairloom.objectives.masked import mask_words
from pairloom.objectives.mismatch import paired_match_loss, random_negatives
from pairloom.systems import _fusion as fusion
from pairloom.systems import _fusion_encoder as base


@dataclass(frozen=True)
class Config(fusion.TaskSizes, fusion.BertSizes):
    """ResNet-50 and BERT base.

    network: the image network. patch: its stride where it is "residual". pool: the map is max-pooled by this side (2: a
    stride of 64 px). sampled: cells of each picture that training reads, drawn anew at each step (0: all of them).
    mlm, itm: weights of the losses.
    """

    image_size: int = 576
    network: Network = "resnet50"
    patch: int = 16
    pool: int = 2
    sampled: int = 100
    length: int = 64
    mlm: float = 1.0
    itm: float = 1.0


TINY = Config(
    **fusion.TINY_BERT, answers=6, image_size=32, network="residual", patch=8, pool=1, sampled=8
)  # fmt: skip
PRESETS: dict[str, Config] = {
    "base": Config(),
    "resnet152": Config(network="resnet152"),
    "vqa": Config(answers=3129, matches=False),
    "nlvr2": Config(pictures=2),
    "tiny": TINY,
}
# The paper trains the image network by SGD (1e-2, weight decay 5e-4) and the transformer by AdamW; here AdamW trains both.
_RECIPE = dict(lr=1e-4, schedule="cosine", weight_decay=0.01, clip=0.0)
RECIPES: dict[str, dict[str, object]] = {
    "base": dict(_RECIPE, batch=4096, epochs=40),
    "vqa": dict(_RECIPE, batch=256, epochs=18),
    "nlvr2": dict(_RECIPE, batch=128, epochs=18),
}


def example(config: Config, generator: torch.Generator) -> Batch:
    """Six random pairs; half of the texts are questions with an answer."""
    from pairloom.data.random_batch import random_pairs

    return replace(random_pairs(config, generator), labels=torch.tensor([3, -1, 0, 5, -1, -1]))


class System(base.FusionEncoder):
    """Pixel-BERT. A row is [CLS] words [SEP] cells."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        c = self.config = config
        self.network = Encoder(c.network, frozen=False, patch=c.patch, width=c.width)
        self.pool_cells = nn.MaxPool2d(c.pool)
        self.project = nn.Linear(self.network.width, c.width)
        self.semantic = nn.Parameter(torch.zeros(c.width))
        self.text = TextEmbed(c.vocabulary, c.positions, c.width, 1e-12, c.dropout)
        self.stack = Stack(c.layers())
        self.language_head = LanguageHead(c.width, c.vocabulary, 1e-12)
        self.match_head = nn.Linear(c.width, 2)
        self.add_task_heads(c.width)
        for name, part in self.named_children():
            if name != "network":
                initialise(part)
        nn.init.normal_(self.semantic, std=0.02)

    def encode_image(self, batch: Batch) -> Batch:
        """Encode the pictures [I N 3 H W], once: a row for each cell of each picture's map, without positions."""
        if batch.encoded is not None:
            return batch
        images = batch.required("images")
        cells = self.pool_cells(self.network(images.flatten(0, 1))).flatten(2).transpose(1, 2)
        rows = (self.project(cells) + self.semantic).unflatten(0, images.shape[:2])
        return replace(
            batch,
            encoded=self.arranged(base.VisualRows(rows, torch.ones_like(rows[..., 0], dtype=torch.bool))),
        )

    def pool(self, words: Float[Tensor, "B T D"], places: Float[Tensor, "B P D"]) -> Float[Tensor, "B D"]:
        """[CLS]."""
        return words[:, 0]

    def pair_losses(self, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        """Masked language modelling with the picture, and image-text matching of each text with its own picture and with a
        random other one."""
        c = self.config
        batch = self.encode_image(batch)
        texts, owner = batch.required("texts"), fusion.owner_of(batch)
        cells = self._sampled(batch.encoded.picture(0), generator)
        masked = mask_words(texts.ids, texts.mask, c, generator)
        words = self.encode_words(Texts(masked.ids, texts.mask))
        rows = self.fuse(words, texts.mask, cells[owner])
        other, available = random_negatives(fusion.picture_ids(batch, owner), generator)
        wrong = self.fuse(words, texts.mask, cells[owner[other]])
        right, mismatched = (self.matching(self.pool(*pair)) for pair in (rows, wrong))
        losses = {
            "mlm": c.mlm * self.word_loss(rows[0], masked, texts.ids),
            "itm": c.itm * mean_of_all(*paired_match_loss(right, mismatched, available)),
        }
        return losses | fusion.answer_losses(self, batch)

    def _sampled(self, cells: base.VisualRows, generator: torch.Generator) -> base.VisualRows:
        """Random pixel sampling (section 3.2): in training only a few cells of each picture are read, which costs less and
        regularises."""
        count = self.config.sampled
        if not self.training or not 0 < count < cells.mask.shape[1]:
            return cells
        order = torch.rand(cells.mask.shape, generator=generator).argsort(1)[:, :count].to(cells.mask.device)
        rows = cells.rows.gather(1, order[..., None].expand(-1, -1, cells.rows.shape[2]))
        return base.VisualRows(rows, cells.mask[:, :count])
