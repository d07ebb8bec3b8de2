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

from pairloom.abilities import Ability
from pairloom.blocks.masks import padding
from pairloom.blocks.transformer import initialise
from pairloom.data.batch import Batch
from pairloom.systems import _albef_towers as parts
from pairloom.systems import _fusion as fusion
from pairloom.systems import _statements as statements


@dataclass(frozen=True)
class Config(parts.AlbefSizes):
    """The released fine-tuning: 384 px; 6 layers of text, then 6 of fusion for each picture. pictures: of a statement, 2 in the paper;
    other numbers are ours. judges: whether it learns, and is asked, if a statement is true; the file of text assignment never learned
    it."""

    judges: bool = True
    pictures: int = 2


TINY = Config(**parts.TINY_ALBEF)
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
        self.image, self.text, self.fusion = c.image_tower(), c.text_tower(), c.fusion_stack(c.pictures)
        for index, layer in enumerate(self.fusion.layers):
            first = self.fusion.layers[index - index % c.pictures].cross[0].fn
            layer.cross[0].fn.key, layer.cross[0].fn.value = first.key, first.value
        self.head = nn.Sequential(nn.Linear(c.width, c.width), nn.ReLU(), nn.Linear(c.width, 2))
        initialise(self)

    @property
    def abilities(self) -> tuple[Ability, ...]:
        return super().abilities if self.config.judges else ()

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


STARTS, INHERITS = {"albef": from_albef}, parts.SIZES
