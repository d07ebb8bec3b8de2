"""BLIP reasoning over two pictures (Li et al., 2022, arXiv 2201.12086, section 5.4): every layer of the encoder has one
cross-attention for each picture, both initialised from the same pre-trained one; their outputs are averaged in the lower
half of the layers, and concatenated and projected in the upper half.

Prose, tables and deviations: docs/papers/blip.md.

`images` [I N 3 X Y] are the pictures of a statement in their order, `texts` the statements, `labels` [B] 1 where one is
true.

B statements, I groups of pictures, N pictures of a group, T tokens, S rows of a picture, C width of the image tower.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor, nn

from pairloom.blocks.multi_image import MultiImageAttention
from pairloom.blocks.text import READ, begin_with
from pairloom.blocks.transformer import initialise
from pairloom.data.batch import Batch
from pairloom.systems import _blip_tasks as tasks
from pairloom.systems import _statements as statements


@dataclass(frozen=True)
class Config(tasks.Grounded):
    """The released fine-tuning: 384 px, drop path 0.1. pictures: of a statement, 2 in the paper; other numbers are ours (1:
    plain cross-attention). merge_from: the first layer that merges by a projection instead of the mean."""

    drop_path: float = 0.1
    pictures: int = 2
    merge_from: int = 6


TINY = Config(
    image_size=32, patch=8, image_width=32, image_depth=2, image_heads=2, drop_path=0.0, vocabulary=64, length=12,
    positions=16, width=40, depth=2, heads=2, dropout=0.0, cls=2, sep=3, dec=62, enc=63, merge_from=1,
)  # fmt: skip
PRESETS: dict[str, Config] = {
    "base": Config(),
    "large": Config(image_width=1024, image_depth=24, image_heads=16),
    "tiny": TINY,
}
_FINE = dict(batch=256, warmup=0, min_lr=0.0, schedule="cosine", weight_decay=0.05, decay_all=True, clip=0.0)
RECIPES: dict[str, dict[str, object]] = {"base": dict(_FINE, lr=3e-5, epochs=15)}
CLEAN = "blip_statement"  # how texts are cleaned (the released pre_caption, 40 words)


example = statements.example


class System(statements.JudgesStatements):
    """BLIP for statements about several pictures."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        c = self.config = config
        statements.demand_pictures(c.pictures)
        self.image = c.image_tower()
        self.text = c.text_tower(c.image_width, self._cross)
        self.head = nn.Sequential(nn.Linear(c.width, c.width), nn.ReLU(), nn.Linear(c.width, 2))
        initialise(self)

    def _cross(self, layer: int) -> nn.Module:
        c = self.config
        merge = layer >= c.merge_from and c.pictures > 1
        return MultiImageAttention(c.pictures, c.width, c.heads, c.image_width, c.dropout, merge)

    def rows_of(self, images: Float[Tensor, "M 3 X Y"]) -> Float[Tensor, "M S C"]:
        return self.image(images)

    def match_logits(self, batch: Batch) -> Float[Tensor, "B 2"]:
        """The two classes: false, true."""
        tokens, mask = batch.text()
        memory = self.text.stack.project(self.encode_image(batch).encoded.flatten(1, 2))
        if batch.image_of is not None:
            memory = memory.read_by(batch.image_of)
        return self.head(self.text(begin_with(self.config.enc, tokens), mask, memory)[:, 0]).float()


def from_blip(theirs: Mapping[str, Tensor], config: Config) -> dict[str, Tensor]:
    """Initial weights from a pre-trained blip, under the names of this system: its cross-attention is copied for each
    picture."""
    tensors = tasks.renamed(theirs, "towers.image.", "image.")
    for name, value in tasks.one_mode(tasks.renamed(theirs, "towers.text.", "text."), READ).items():
        match = re.fullmatch(r"(.+\.cross\.0\.fn\.)(.+)", name)
        copies = [f"{match[1]}each.{at}.{match[2]}" for at in range(config.pictures)] if match else [name]
        tensors |= dict.fromkeys(copies, value)
    return tensors


STARTS, INHERITS = {"blip": from_blip}, tasks.SIZES
