"""Image encoder of a dual encoder: a vision transformer whose class row is projected into the shared embedding, or a
ResNet whose attention pool projects by itself (Radford et al., 2021, section 2.4).

Does not know: texts, losses, what reads the rows.

I pictures, P rows of a picture (class row first, then patches), D width, E shared embedding.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from jaxtyping import Float
from torch import Tensor, nn

from pairloom.blocks.feed import Activation
from pairloom.blocks.scaled_initialisation import initialise_scaled
from pairloom.blocks.transformer import TransformerConfig
from pairloom.blocks.vision import VisionTower


@dataclass(frozen=True)
class ImageEncoderConfig:
    """The numbers of an image encoder.

    embedding: width of the shared embedding. stages: blocks of the four stages of a ResNet; with them image_width is that of
    its first stage, image_heads those of its pooling, and patch, image_depth and image_growth are idle. norm_rows: whether the
    rows that an ImageEncoder hands out are those after the last norm.
    """

    image_size: int
    patch: int
    image_width: int
    image_depth: int
    image_heads: int
    embedding: int
    image_growth: float = 4.0
    stages: tuple[int, ...] = ()
    activation: Activation = "quick_gelu"
    eps: float = 1e-5
    norm_rows: bool = True


class ImageEncoder(nn.Module):
    """The image side of a dual encoder by itself, for a system that reads the rows of a picture: `image` is the tower,
    `image_projection` leads into the shared embedding. ValueError for a ResNet."""

    def __init__(self, config: ImageEncoderConfig) -> None:
        super().__init__()
        if config.stages:
            raise ValueError("a ResNet that pools by attention gives no rows to resample: take a ViT")
        self.image: Any = image_tower(config)
        self.image_projection: Any = image_projection(config)
        initialise_image(self.image, self.image_projection)
        self.norm_rows = config.norm_rows

    def forward(
        self, images: Float[Tensor, "I 3 X Y"]
    ) -> tuple[Float[Tensor, "I P D"], Float[Tensor, "I E"]]:
        """The rows of each picture, and its embedding, which is not normalised."""
        if not self.norm_rows:
            rows = self.image.stack(self.image.first_norm(self.image.embed(images)))
            return rows, self.image_projection(self.image.norm(rows[:, 0]))
        rows = self.image(images)
        return rows, self.image_projection(rows[:, 0])


def image_tower(c: ImageEncoderConfig) -> nn.Module:
    """Pictures [I 3 X Y] -> the rows of a vision transformer [I P D], or the embeddings of a ResNet [I E]."""
    if c.stages:
        from pairloom.blocks.resnet import ResNetTower

        return ResNetTower(c.stages, c.image_width, c.image_heads, c.image_size, c.embedding)
    shape = TransformerConfig(
        c.image_width,
        c.image_depth,
        c.image_heads,
        "pre",
        c.eps,
        growth=c.image_growth,
        activation=c.activation,
    )
    return VisionTower(shape, c.image_size, c.patch, "plain", norm_first=True)


def image_projection(c: ImageEncoderConfig) -> nn.Linear | None:
    """From the class row into the shared embedding; None for a ResNet, whose pooling projects by itself."""
    return None if c.stages else nn.Linear(c.image_width, c.embedding, bias=False)


def initialise_image(tower: nn.Module, projection: nn.Linear | None) -> None:
    """Scaled initialisation of a vision transformer and its projection; a ResNet initialises itself."""
    if projection is None:
        return
    initialise_scaled(tower.stack)
    for parameter in (tower.embed.class_row, tower.embed.positions, projection.weight):
        nn.init.normal_(parameter, std=projection.in_features**-0.5)
