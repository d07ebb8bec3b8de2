"""Pixel-BERT: Aligning Image Pixels with Text by Deep Multi-Modal Transformers (Huang et al., 2020, arXiv 2004.00849): the
cells of a convolutional network's last map join the words in one BERT, end to end, without a detector.

Prose, tables and deviations: docs/papers/pixel_bert.md.

B texts, I pictures, N pictures of an example, P cells of all of them, T tokens, D width, V vocabulary.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from pairloom.abilities import MATCH
from pairloom.blocks.embed import TextEmbed
from pairloom.blocks.encoder import Encoder, Network
from pairloom.blocks.gather import mean_of_all
from pairloom.blocks.language import LanguageHead
from pairloom.blocks.masks import padding
from pairloom.blocks.transformer import Stack, TransformerConfig, initialise
from pairloom.data.batch import Batch
from pairloom.objectives.masked import MaskedTokens, mask_words, masked_loss, masking_generator
from pairloom.objectives.mismatch import paired_match_loss, random_negatives


@dataclass(frozen=True)
class Config:
    """ResNet-50 and BERT base.

    network: the image network. patch: its stride where it is "residual". pool: the map is max-pooled by this side (2: a
    stride of 64 px). sampled: cells of each picture that training reads, drawn anew at each step (0: all of them).
    masked: share of the words that are hidden. mlm, itm: weights of the losses.
    """

    image_size: int = 576
    network: Network = "resnet50"
    patch: int = 16
    pool: int = 2
    sampled: int = 100
    vocabulary: int = 30522
    length: int = 64
    positions: int = 512
    width: int = 768
    depth: int = 12
    heads: int = 12
    dropout: float = 0.1
    pad: int = 0
    cls: int = 101
    sep: int = 102
    mask: int = 103
    masked: float = 0.15
    mlm: float = 1.0
    itm: float = 1.0


TINY = Config(
    image_size=32, network="residual", patch=8, pool=1, sampled=8, vocabulary=64, length=12, positions=16, width=32,
    depth=2, heads=2, dropout=0.0, cls=2, sep=3, mask=4,
)  # fmt: skip
PRESETS: dict[str, Config] = {"base": Config(), "resnet152": Config(network="resnet152"), "tiny": TINY}
# The paper trains the image network by SGD (1e-2, weight decay 5e-4) and the transformer by AdamW; here AdamW trains both.
RECIPES: dict[str, dict[str, object]] = {
    "base": dict(lr=1e-4, batch=4096, epochs=40, schedule="cosine", weight_decay=0.01, clip=0.0),
}


def example(config: Config, generator: torch.Generator) -> Batch:
    """Six random pairs."""
    from pairloom.data.random_batch import random_pairs

    return random_pairs(config, generator)


class System(nn.Module):
    """Pixel-BERT. `encoded` is the cells of each picture as rows of the transformer, [I P D]."""

    abilities = (MATCH,)
    trains_on = ("pairs",)

    def __init__(self, config: Config) -> None:
        super().__init__()
        c = self.config = config
        self.network = Encoder(c.network, frozen=False, patch=c.patch, width=c.width)
        self.pool = nn.MaxPool2d(c.pool)
        self.project = nn.Linear(self.network.width, c.width)
        self.semantic = nn.Parameter(torch.zeros(c.width))
        self.text = TextEmbed(c.vocabulary, c.positions, c.width, 1e-12, c.dropout)
        self.stack = Stack(TransformerConfig(c.width, c.depth, c.heads, "post", 1e-12, c.dropout))
        self.language_head = LanguageHead(c.width, c.vocabulary, 1e-12)
        self.match_head = nn.Linear(c.width, 2)
        for part in (self.project, self.text, self.stack, self.language_head, self.match_head):
            initialise(part)
        nn.init.normal_(self.semantic, std=0.02)

    def encode_image(self, batch: Batch) -> Batch:
        """Encode the pictures [I N 3 H W], once: a row for each cell of each picture's map, without positions."""
        if batch.encoded is not None:
            return batch
        images = batch.required("images")
        cells = self.pool(self.network(images.flatten(0, 1))).flatten(2).transpose(1, 2)
        rows = self.project(cells) + self.semantic
        return replace(batch, encoded=rows.unflatten(0, images.shape[:2]).flatten(1, 2))

    def match(self, batch: Batch) -> Float[Tensor, " B"]:
        """Log-odds that text and picture belong together."""
        logits = self.match_logits(batch)
        return logits[:, 1] - logits[:, 0]

    def match_logits(self, batch: Batch) -> Float[Tensor, "B 2"]:
        """Logits of the matching head from [CLS]; class 1 = they belong together."""
        texts, cells = batch.required("texts"), self.encode_image(batch).encoded
        return self.match_head(self._fuse(texts.ids, texts.mask, cells, batch.image_of)[:, 0]).float()

    def _fuse(
        self, ids: Int[Tensor, "B T"], mask: Bool[Tensor, "B T"], cells: Tensor, image_of: Tensor | None
    ) -> Float[Tensor, "B _ D"]:
        """[CLS] words [SEP] cells through one transformer with full attention over all that is not padding."""
        cells = cells if image_of is None else cells[image_of]
        real = torch.cat([mask, mask.new_ones(cells.shape[:2])], 1)
        return self.stack(torch.cat([self.text(ids), cells], 1), padding(real))

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """Masked language modelling with the picture, and image-text matching of each text with its own picture and with a
        random other one."""
        c, generator = self.config, masking_generator(self.training)
        batch = self.encode_image(batch)
        texts, cells = batch.required("texts"), self._sample(batch.encoded, generator)
        owner = batch.image_of
        if owner is None:
            owner = torch.arange(len(texts), device=cells.device)
        masked = mask_words(texts.ids, texts.mask, c, generator)
        rows = self._fuse(masked.ids, texts.mask, cells, owner)
        words = rows[:, : texts.ids.shape[1]][masked.hidden]
        scores = self.language_head(words, self.text.words.weight)
        return {
            "mlm": c.mlm * masked_loss(scores, texts.ids[masked.hidden]),
            "itm": c.itm * self._matching(batch, masked, rows[:, 0], cells, owner, generator),
        }

    def _matching(
        self,
        batch: Batch,
        masked: MaskedTokens,
        matched: Float[Tensor, "B D"],
        cells: Float[Tensor, "I P D"],
        owner: Int[Tensor, " B"],
        generator: torch.Generator,
    ) -> Float[Tensor, ""]:
        other, available = random_negatives(owner if batch.image_ids is None else batch.image_ids, generator)
        wrong = self._fuse(masked.ids, batch.required("texts").mask, cells, owner[other])[:, 0]
        right, mismatched = self.match_head(torch.cat([matched, wrong])).chunk(2)
        return mean_of_all(*paired_match_loss(right, mismatched, available))

    def _sample(self, cells: Float[Tensor, "I P D"], generator: torch.Generator) -> Float[Tensor, "I S D"]:
        """Random pixel sampling (section 3.2): in training only a few cells of each picture are read, which costs less and
        regularises."""
        count = self.config.sampled
        if not self.training or not 0 < count < cells.shape[1]:
            return cells
        order = torch.rand(cells.shape[:2], generator=generator).argsort(1)[:, :count].to(cells.device)
        return cells.gather(1, order[..., None].expand(-1, -1, cells.shape[2]))
