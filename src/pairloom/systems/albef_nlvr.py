"""ALBEF reasoning over two pictures (Li et al., 2021, arXiv 2107.07651, section 4): every fusion layer is doubled, the first of the two
reads the first picture and the second the other; the two share keys and values of their cross-attention.

Prose, tables and deviations: docs/papers/albef.md.

B statements, I groups of pictures, N pictures of a group, S rows of a picture, C width of the image tower.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor, nn

from pairloom.blocks.masks import padding
from pairloom.blocks.text import TextTransformer
from pairloom.blocks.transformer import ModeSharing, Stack, TransformerConfig, initialise
from pairloom.blocks.vision import VisionTower
from pairloom.data.batch import Batch
from pairloom.systems import _fusion as fusion
from pairloom.systems import _statements as statements

SIZES = (
    "patch",
    "image_width",
    "image_depth",
    "image_heads",
    "positions",
    "width",
    "depth",
    "heads",
    "fusion_depth",
)


@dataclass(frozen=True)
class Config(fusion.BertSizes):
    """The released fine-tuning: 384 px; 6 layers of text, then 6 of fusion for each picture. pictures: of a statement, 2 in the paper;
    other numbers are ours."""

    image_size: int = 384
    patch: int = 16
    image_width: int = 768
    image_depth: int = 12
    image_heads: int = 12
    length: int = 30
    depth: int = 6
    fusion_depth: int = 6
    pictures: int = 2


TINY = Config(
    **fusion.TINY_BERT | {"depth": 1}, fusion_depth=1, image_size=32, patch=8, image_width=40, image_depth=2, image_heads=2,
)  # fmt: skip
PRESETS: dict[str, Config] = {"base": Config(), "tiny": TINY}
RECIPES: dict[str, dict[str, object]] = {
    "base": dict(
        lr=2e-5, min_lr=1e-6, batch=128, epochs=10, warmup=100, schedule="cosine", weight_decay=0.02, clip=0.0
    ),
}


example = statements.example


class System(statements.JudgesStatements):
    """ALBEF for statements. `encoded` is the rows of the pictures [I N S C]."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        c = self.config = config
        statements.demand_pictures(c.pictures)
        shape = TransformerConfig(c.image_width, c.image_depth, c.image_heads, "pre", 1e-6)
        self.image = VisionTower(shape, c.image_size, c.patch)
        self.text = TextTransformer(c.layers(), c.vocabulary, c.positions, segments=2)
        upper = c.layers()._replace(depth=c.fusion_depth * c.pictures, context=c.image_width)
        self.fusion = Stack(upper, ModeSharing(cross=1))
        for index, layer in enumerate(self.fusion.layers):
            first = self.fusion.layers[index - index % c.pictures].cross[0].fn
            layer.cross[0].fn.key, layer.cross[0].fn.value = first.key, first.value
        self.head = nn.Sequential(nn.Linear(c.width, c.width), nn.ReLU(), nn.Linear(c.width, 2))
        initialise(self)

    def rows_of(self, images: Float[Tensor, "M 3 X Y"]) -> Float[Tensor, "M S C"]:
        return self.image(images)

    def match_logits(self, batch: Batch) -> Float[Tensor, "B 2"]:
        """The two classes: false, true; from [CLS]. As in the other ALBEFs, [SEP] is not read."""
        tokens, mask = batch.text()
        mask, owner = mask & (tokens != self.config.sep), fusion.owner_of(batch)
        pictures = self.encode_image(batch).encoded.unbind(1)
        read = [self.fusion.project(rows).read_by(owner) for rows in pictures]
        rows = self.text(tokens, mask)
        for index, layer in enumerate(self.fusion.layers):
            rows = layer(rows, padding(mask), read[index % len(read)], index)
        return self.head(rows[:, 0]).float()


def from_albef(theirs: Mapping[str, Tensor], config: Config) -> dict[str, Tensor]:
    """Initial weights from a pre-trained albef: both layers of a pair begin as the one that they stand for."""
    tensors: dict[str, Tensor] = {}
    for name, value in theirs.items():
        if match := re.fullmatch(r"towers\.fusion\.layers\.(\d+)\.(.+)", name):
            shared = re.match(r"cross\.0\.fn\.(key|value)\.", match[2])
            for place in range(1 if shared else config.pictures):
                tensors[f"fusion.layers.{int(match[1]) * config.pictures + place}.{match[2]}"] = value
        elif name.startswith(("towers.image.", "towers.text.")):
            tensors[name.removeprefix("towers.")] = value
    return tensors


STARTS, INHERITS = {"albef": from_albef}, SIZES
