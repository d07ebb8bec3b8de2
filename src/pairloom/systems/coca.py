"""CoCa: Contrastive Captioners are Image-Text Foundation Models (Yu et al., 2022, arXiv 2205.01917): one text decoder whose
lower half has no cross-attention, so that one pass gives both an embedding for the contrast and the logits of a caption.

Prose, tables and deviations: docs/papers/coca.md.

B texts, I pictures, N pictures per row, S rows of a picture, Q rows after pooling, T tokens, D width of the text halves,
E shared embedding, V vocabulary.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from pairloom.abilities import CAPTION, EMBED, Ability
from pairloom.blocks.cache import Cache
from pairloom.blocks.cross import CrossKeyValues
from pairloom.blocks.embed import TextEmbed
from pairloom.blocks.feed import Activation
from pairloom.blocks.gather import gather_pairs, mean_of_all, pair_up
from pairloom.blocks.masks import causal
from pairloom.blocks.patch_embed import Stem
from pairloom.blocks.pooler import Pooler
from pairloom.blocks.scaled_initialisation import initialise_scaled
from pairloom.blocks.transformer import ModeSharing, Stack, TransformerConfig, initialise
from pairloom.blocks.vision import VisionTower
from pairloom.data.batch import Batch
from pairloom.objectives.contrast import symmetric_contrast
from pairloom.objectives.language import caption_loss


@dataclass(frozen=True)
class Config:
    """CoCa-Base (table 1).

    poolers: "cascade" pools the pooled rows once more for the contrast, "parallel" pools the picture itself (section 3.2);
    "open_clip" is that library's variant: a class row and a norm before the image tower, one pooling whose first row
    is the contrast's, cross-attention in blocks of their own, and a [CLS] that attends to the first pad instead of itself.
    stem: of the image tower; "conv" and "residual" are ours, for sets too small to learn patches from. queries: pooled rows
    that the text reads. length: most tokens of a text. itc, lm: weights of the losses (0: not computed). scale: initial
    factor of the cosines, learned up to `scale_limit`.
    """

    image_size: int = 288
    patch: int = 18
    image_width: int = 768
    image_depth: int = 12
    image_heads: int = 12
    image_growth: float = 4.0
    stem: Stem = "patch"
    poolers: Literal["cascade", "parallel", "open_clip"] = "cascade"
    queries: int = 256
    pool_heads: int = 12
    vocabulary: int = 64000
    length: int = 64
    width: int = 768
    unimodal: int = 12
    multimodal: int = 12
    heads: int = 12
    growth: float = 4.0
    embedding: int = 768
    activation: Activation = "gelu"
    eps: float = 1e-5
    pad: int = 0
    cls: int = 2
    sep: int = 3
    itc: float = 1.0
    lm: float = 2.0
    scale: float = 1 / 0.07
    scale_limit: float = 100.0


TINY = Config(
    image_size=32, patch=8, image_width=32, image_depth=2, image_heads=2, queries=6, pool_heads=2, vocabulary=64,
    length=12, width=32, unimodal=1, multimodal=1, heads=2, embedding=16,
)  # fmt: skip
BASE = Config()
PUBLISHED = Config(  # open_clip's coca_ViT-B-32
    image_size=224, patch=32, poolers="open_clip", pool_heads=8, vocabulary=49408, length=76, width=512, heads=8,
    embedding=512, cls=49406, sep=49407,
)  # fmt: skip
PRESETS: dict[str, Config] = {
    "base": BASE,
    "tiny": TINY,
    "large": replace(
        BASE, image_width=1024, image_depth=24, image_heads=16, width=1024, heads=16, pool_heads=16, embedding=1024
    ),
    "2.1B": replace(
        BASE, image_width=1408, image_depth=40, image_heads=16, image_growth=6144 / 1408, width=1408, unimodal=18,
        multimodal=18, heads=16, pool_heads=16, growth=6144 / 1408, embedding=1408,
    ),
    "base-parallel": replace(BASE, poolers="parallel"),
    "open_clip-ViT-B-32": PUBLISHED,
    "open_clip-ViT-L-14": replace(
        PUBLISHED, patch=14, image_width=1024, image_depth=24, image_heads=16, width=768, heads=12, embedding=768
    ),
}  # fmt: skip
# Adafactor in the paper, with its decay; here AdamW
RECIPES: dict[str, dict[str, object]] = {
    "base": dict(
        lr=8e-4, min_lr=0.0, batch=65536, steps=500_000, warmup=0.02, schedule="linear", weight_decay=0.01
    ),
}


@dataclass
class PooledImages:
    """What `see` makes of pictures: their embeddings [I E], and the memory of the rows that the text reads."""

    embeddings: Tensor
    memory: CrossKeyValues


def example(config: Config, generator: torch.Generator) -> Batch:
    """Six random pairs."""
    from pairloom.data.random_batch import random_pairs

    return random_pairs(config, generator)


class System(nn.Module):
    """CoCa."""

    trains_on = ("pairs",)
    image_network = ("rows", "image")

    def __init__(self, config: Config) -> None:
        super().__init__()
        c = self.config = config
        self.first_token, self.last_token = c.cls, c.sep
        theirs = c.poolers == "open_clip"
        shape = TransformerConfig(
            c.image_width, c.image_depth, c.image_heads, "pre", c.eps, growth=c.image_growth, activation=c.activation
        )  # fmt: skip
        stem: Stem = "plain" if theirs else c.stem
        self.image = VisionTower(
            shape, c.image_size, c.patch, stem, norm_first=theirs, norm_last=False, class_row=theirs
        )
        self.pool = Pooler(c.queries, c.width, c.image_width, c.pool_heads, c.eps)
        self.contrast_pool = None
        if not theirs:
            rows = c.width if c.poolers == "cascade" else c.image_width
            self.contrast_pool = Pooler(1, c.width, rows, c.pool_heads, c.eps)
        self.embed = TextEmbed(c.vocabulary, c.length + 1, c.width, None, 0.0)
        self.cls_row = nn.Parameter(torch.zeros(1, 1, c.width))
        shape = TransformerConfig(
            c.width, c.unimodal, c.heads, "pre", c.eps, growth=c.growth, activation=c.activation
        )
        self.unimodal = Stack(shape)
        shape = shape._replace(depth=c.multimodal)
        self.multimodal = _multimodal(shape, theirs)
        self.norm_cls = nn.LayerNorm(c.width, eps=c.eps)
        self.norm = nn.LayerNorm(c.width, eps=c.eps)
        self.head = nn.Linear(c.width, c.vocabulary, bias=False)
        self.image_projection = nn.Linear(c.width, c.embedding, bias=False)
        self.text_projection = nn.Linear(c.width, c.embedding, bias=False)
        self.scale = nn.Parameter(torch.tensor(math.log(c.scale)))  # its logarithm
        initialise(self)
        for stack in (self.image.stack, self.unimodal):
            initialise_scaled(stack)
        nn.init.normal_(self.cls_row, std=0.01)

    @property
    def abilities(self) -> tuple[Ability, ...]:
        """The abilities whose loss has a weight."""
        weights = {EMBED: self.config.itc, CAPTION: self.config.lm}
        return tuple(ability for ability, weight in weights.items() if weight > 0)

    # encoding, embedding

    def encode_image(self, batch: Batch) -> Batch:
        """Encode the pictures [I N 3 X Y], once: the text reads the rows of all N pictures, and their embeddings are
        averaged."""
        if batch.encoded is not None:
            return batch
        images = batch.required("images")
        rows = self.image(images.flatten(0, 1))
        pooled = self.pool(rows)
        if self.contrast_pool is None:
            one, pooled = pooled[:, 0], pooled[:, 1:]
        else:
            one = self.contrast_pool(pooled if self.config.poolers == "cascade" else rows)[:, 0]
        space = self.image_projection(one).unflatten(0, images.shape[:2]).mean(1)
        memory = self.multimodal.project(pooled.unflatten(0, images.shape[:2]).flatten(1, 2))
        return replace(batch, encoded=PooledImages(F.normalize(space, dim=-1), memory))

    @property
    def temperature(self) -> Tensor:
        """The temperature that cosines are divided by: one over the learned scale."""
        return torch.exp(-self.scale)

    def embed_image(self, batch: Batch) -> Float[Tensor, "I E"]:
        embeddings: Tensor = self.encode_image(batch).encoded.embeddings
        return embeddings

    def embed_text(self, batch: Batch) -> Float[Tensor, "B E"]:
        return self._read(batch)[0]

    def _read(self, batch: Batch) -> tuple[Float[Tensor, "B E"], Float[Tensor, "B T D"]]:
        """The unimodal half: the embedding of the [CLS] after the text, and the rows of the text."""
        tokens, mask = batch.text()
        length = tokens.shape[1]
        if self.config.poolers == "open_clip" and length < self.config.length:
            tokens, mask = (
                F.pad(tokens, (0, 1)),
                F.pad(mask, (0, 1)),
            )  # their [CLS] sees the pad after the text
        tokens = tokens.masked_fill(~mask, self.config.pad)
        last = self.cls_row + self.embed.positions.weight[-1]  # its position after a text of full length
        x = torch.cat([self.embed(tokens), last.expand(len(tokens), -1, -1)], 1)
        x = self.unimodal(x, self._mask(mask))
        embedded = self.text_projection(self.norm_cls(x[:, -1]))
        return F.normalize(embedded, dim=-1), x[:, :length]

    def _mask(self, real: Bool[Tensor, "B T"]) -> Bool[Tensor, "B 1 U U"]:
        """Causal mask; [CLS] attends to the text and itself. open_clip's mask of [CLS] is off by one, and its published
        weights were trained with it."""
        first = torch.ones_like(real[:, :1])
        if self.config.poolers != "open_clip":
            return causal(torch.cat([first, real[:, 1:], first], 1))
        shifted = torch.cat([first, real], 1)
        mask = causal(torch.ones_like(shifted))
        mask[:, 0, -1] = shifted
        return mask

    # writing

    def start(self, batch: Batch) -> Cache:
        memory = self.encode_image(batch).encoded.memory
        owner = batch.image_of
        if owner is None:
            owner = torch.arange(len(memory), device=self.scale.device)
        return Cache(memory.read_by(owner), owner)

    def step(self, state: Cache, tokens: Int[Tensor, " B"]) -> tuple[Float[Tensor, "B V"], Cache]:
        lower, upper = None, None
        if state.past is not None:
            lower, upper = state.past[: self.config.unimodal], state.past[self.config.unimodal :]
        x, lower = self.unimodal.step(self.embed(tokens[:, None], state.position), lower)
        x, upper = self.multimodal.step(x, upper, state.context)
        return self.head(self.norm(x[:, 0])), replace(state, past=lower + upper, position=state.position + 1)

    def logits(self, batch: Batch) -> Float[Tensor, "B T V"]:
        return self.head(self._ground(batch, self._read(batch)[1]))

    def _ground(self, batch: Batch, rows: Tensor) -> Tensor:
        """The multimodal half. It is causal too, so that padding after a text needs no mask."""
        memory = self.encode_image(batch).encoded.memory
        memory = memory if batch.image_of is None else memory.read_by(batch.image_of)
        everything = torch.ones(1, rows.shape[1], dtype=torch.bool, device=rows.device)
        return self.norm(self.multimodal(rows, causal(everything), memory))

    # training

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """Equation 4: contrast times `itc` plus captioning times `lm`, from one pass through each half."""
        c, batch = self.config, self.encode_image(batch)
        values: dict[str, Tensor] = {}
        embedded, rows = self._read(batch)
        if c.itc:
            values |= self.compare(batch, batch.encoded.embeddings, embedded)
        if c.lm:
            values["lm"] = c.lm * self._caption(batch, rows)
        return values

    @property
    def compares(self) -> bool:
        """Whether contrast is the only loss."""
        return bool(self.config.itc) and not self.config.lm

    def compare(
        self, batch: Batch, image: Float[Tensor, "I E"], text: Float[Tensor, "B E"]
    ) -> dict[str, Tensor]:
        """Symmetric contrastive loss over the pairs of all processes; pictures without image_ids all count as different."""
        with torch.no_grad():
            self.scale.clamp_(max=math.log(self.config.scale_limit))
        image, ids = pair_up(image, len(text), batch.image_of, batch.image_ids)
        everybody = gather_pairs(image, text, ids)
        loss = symmetric_contrast(image, text, ids, everybody, self.temperature)
        return {"itc": self.config.itc * loss}

    def _caption(self, batch: Batch, rows: Tensor) -> Tensor:
        """Cross-entropy of the next token, where there is one."""
        tokens, mask = batch.text()
        targets = mask[:, 1:]
        scores = self.head(self._ground(batch, rows)[:, :-1][targets])
        return mean_of_all(*caption_loss(scores, tokens[:, 1:][targets]))


def _multimodal(shape: TransformerConfig, theirs: bool) -> nn.Module:
    if theirs:
        from pairloom.blocks.alternating import AlternatingStack

        return AlternatingStack(shape)
    return Stack(shape, ModeSharing(cross=1))
