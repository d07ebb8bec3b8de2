"""Encoders of a dual encoder that pool and project by themselves: pictures or texts -> one vector each, not normalised.

Does not know: losses, what the vectors are compared with.

I pictures, X Y sides, P rows of a picture, B texts, T tokens, D width, E shared embedding.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from pairloom.blocks.attention import Attention
from pairloom.blocks.encoder_configs import (
    ConvNeXtConfig,
    LibraryVisionConfig,
    Projection,
    TextConfig,
    TextEncoderConfig,
    VisionConfig,
    ViTConfig,
)
from pairloom.blocks.feed import Activation, FeedForward
from pairloom.blocks.patch_embed import Stem
from pairloom.blocks.scaled_initialisation import initialise_scaled
from pairloom.blocks.text import READ, WRITE, TextTransformer
from pairloom.blocks.transformer import TransformerConfig
from pairloom.blocks.vision import VisionTower


def vision_encoder(config: VisionConfig, image_size: int, embedding: int) -> nn.Module:
    """[I 3 X Y] -> [I E]. Mistake where a library that it needs is missing; ValueError for numbers that do not fit."""
    if isinstance(config, ViTConfig):
        return PooledVision(config, image_size, embedding)
    if isinstance(config, ConvNeXtConfig):
        return PooledConvNeXt(config, embedding)
    if isinstance(config, LibraryVisionConfig):
        from pairloom.blocks.library_vision import LibraryVision

        return LibraryVision(config)
    from pairloom.blocks.timm_network import TimmNetwork

    return TimmNetwork(config, image_size, embedding)


def text_encoder(
    config: TextConfig,
    shape: TransformerConfig,
    vocabulary: int,
    length: int,
    ids: tuple[int, int],
    embedding: int,
) -> nn.Module:
    """(tokens [B T], mask [B T]) -> [B E]. shape, vocabulary, length: of our own transformer. ids: of padding and end."""
    if isinstance(config, TextEncoderConfig):
        return PooledText(config, shape, vocabulary, length, ids, embedding)
    from pairloom.blocks.library_text import LibraryText

    return LibraryText(config, ids[0], embedding)


def projection(kind: Projection, width: int, embedding: int) -> nn.Module:
    """The map into the shared embedding. ValueError where there is none and the widths differ."""
    if kind == "mlp":
        first, last = nn.Linear(width, 2 * embedding), nn.Linear(2 * embedding, embedding, bias=False)
        return nn.Sequential(first, nn.GELU(), last)
    if kind == "norm_affine":
        return nn.Sequential(nn.LayerNorm(width), projection("affine", width, embedding))
    if kind != "none":
        linear = nn.Linear(width, embedding, bias=kind == "affine")
        nn.init.normal_(linear.weight, std=width**-0.5)
        if linear.bias is not None:
            nn.init.zeros_(linear.bias)
        return linear
    if width != embedding:
        raise ValueError(f"a width of {width} without a projection is no embedding of {embedding}")
    return nn.Identity()


class MapPool(nn.Module):
    """Multihead attention pooling (Zhai et al., 2022, "Scaling Vision Transformers"): a learned query attends to the rows, and
    a feed-forward part is added."""

    def __init__(self, width: int, heads: int, hidden: int, activation: Activation, eps: float) -> None:
        super().__init__()
        self.query = nn.Parameter(torch.randn(1, 1, width) * width**-0.5)
        self.attend = Attention(width, heads)
        self.norm = nn.LayerNorm(width, eps=eps)
        self.feed = FeedForward(width, hidden, activation)

    def forward(self, rows: Float[Tensor, "I P D"]) -> Float[Tensor, "I D"]:
        x = self.attend(self.query.expand(len(rows), -1, -1), self.attend.project(rows))
        return (x + self.feed(self.norm(x)))[:, 0]


class PooledVision(VisionTower):
    """A vision transformer, pooled and projected. The right and the lower edge that fill no patch are not read."""

    def __init__(self, c: ViTConfig, image_size: int, embedding: int) -> None:
        shape = TransformerConfig(
            c.width, c.depth, c.heads, "pre", c.eps, growth=c.growth, activation=c.activation
        )
        if image_size < c.patch:
            raise ValueError(f"pictures of {image_size} px have no patch of {c.patch}")
        if c.pool == "class" and not c.class_row:
            raise ValueError("there is no class row to pool")
        norm_rows = not c.norm_pooled and c.pool != "queries"
        stem: Stem = "patch" if c.patch_bias else "plain"
        side = image_size - image_size % c.patch
        super().__init__(shape, side, c.patch, stem, c.norm_first, norm_rows, c.class_row)
        self.image_size, self.side = image_size, side
        self.pool_kind, self.class_rows = c.pool, int(c.class_row)
        self.pool: nn.Module | None = None
        width = c.width
        if c.pool == "map":
            self.pool = MapPool(width, c.heads, round(width * c.growth), c.activation, c.eps)
        elif c.pool == "queries":
            from pairloom.blocks.pooler import Pooler

            self.pool, width = Pooler(c.queries, embedding, width, c.query_heads, c.eps), embedding
        self.pooled_norm = nn.LayerNorm(width, eps=c.eps) if c.norm_pooled else nn.Identity()
        self.projection = projection(c.projection, width, embedding)
        initialise_scaled(self.stack)
        nn.init.normal_(self.embed.positions, std=c.width**-0.5)
        if c.positions == "fixed":
            from pairloom.blocks.positions import sinusoidal_positions_2d

            table = self.embed.positions.requires_grad_(False)
            table.data.zero_()[0, self.class_rows :] = sinusoidal_positions_2d(side // c.patch, c.width)

    def forward(self, images: Float[Tensor, "I 3 X Y"]) -> Float[Tensor, "I E"]:
        """Raises ValueError for another size than it was built for."""
        if images.shape[-2:] != (self.image_size, self.image_size):
            raise ValueError(f"pictures are {tuple(images.shape[-2:])}, not {self.image_size} px squares")
        rows = super().forward(images[..., : self.side, : self.side])
        return self.projection(self.pooled_norm(self._pooled(rows)))

    def _pooled(self, rows: Float[Tensor, "I P D"]) -> Float[Tensor, "I _"]:
        if self.pool_kind == "mean":
            return rows[:, self.class_rows :].mean(1)
        if self.pool_kind == "class":
            return rows[:, 0]
        assert self.pool is not None
        pooled: Tensor = self.pool(rows)
        return pooled[:, 0] if self.pool_kind == "queries" else pooled


class PooledConvNeXt(nn.Module):
    """A ConvNeXt: the norm of the mean of its last cells, projected."""

    def __init__(self, c: ConvNeXtConfig, embedding: int) -> None:
        super().__init__()
        from pairloom.blocks.convnext import ConvNeXt

        self.network = ConvNeXt(c.depths, c.widths, c.eps, c.eps)
        self.projection = projection(c.projection, c.widths[-1], embedding)

    def forward(self, images: Float[Tensor, "I 3 X Y"]) -> Float[Tensor, "I E"]:
        return self.projection(self.network(images)[1])


class PooledText(TextTransformer):
    """A text transformer that sees its padding, pooled and projected. Tokens past its length are not read."""

    def __init__(
        self,
        config: TextEncoderConfig,
        shape: TransformerConfig,
        vocabulary: int,
        length: int,
        ids: tuple[int, int],
        embedding: int,
    ) -> None:
        super().__init__(shape, vocabulary, length)
        self.length, (self.pad, self.end) = length, ids
        self.pool_kind, self.mode = config.text_pool, WRITE if config.causal else READ
        self.projection = projection(config.projection, shape.width, embedding)
        initialise_scaled(self.stack)
        nn.init.normal_(self.embed[0].words.weight, std=0.02)
        nn.init.normal_(self.embed[0].positions.weight, std=0.01)

    def forward(  # type: ignore[override]
        self, tokens: Int[Tensor, "B T"], mask: Bool[Tensor, "B T"]
    ) -> Float[Tensor, "B E"]:
        """mask: True = real; what is not is read as padding."""
        filled = tokens.masked_fill(~mask, self.pad)[:, : self.length]
        filled = F.pad(filled, (0, self.length - filled.shape[1]), value=self.pad)
        rows = super().forward(filled, torch.ones_like(filled, dtype=torch.bool), mode=self.mode)
        if self.pool_kind == "end":
            ends = ((tokens == self.end) & mask).int().argmax(1)
            return self.projection(rows[torch.arange(len(rows), device=rows.device), ends])
        return self.projection(rows[:, -1 if self.pool_kind == "last" else 0])
