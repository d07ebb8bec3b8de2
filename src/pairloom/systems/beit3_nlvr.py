"""BEiT-3 reasoning over two pictures (Wang et al., 2022, arXiv 2208.10442): the statement is fused with each picture by itself, and
judged from the first rows of pictures and texts side by side.

Prose, tables and deviations: docs/papers/beit3.md.

B statements, I groups of pictures, N pictures of a group, P patches, D width.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from pairloom.blocks.transformer import initialise
from pairloom.data.batch import Batch
from pairloom.systems import _beit3_encoder as encoder
from pairloom.systems import _fusion as fusion
from pairloom.systems import _statements as statements


@dataclass(frozen=True)
class Config(encoder.MultiwaySizes):
    """The released fine-tuning: 224 px. pictures: of a statement, 2 in the paper; other numbers are ours."""

    path: float = 0.2
    pictures: int = 2


TINY = Config(**encoder.TINY_MULTIWAY, shared=True)
PRESETS: dict[str, Config] = {"base": Config(), "large": Config(width=1024, depth=24, heads=16), "tiny": TINY}
_FINE = dict(batch=256, epochs=20, warmup=0.25, schedule="cosine", weight_decay=0.2)
RECIPES: dict[str, dict[str, object]] = {"base": dict(_FINE, lr=7e-4), "large": dict(_FINE, lr=3e-4)}


example = statements.example


class System(statements.JudgesStatements, encoder.Multiway):
    """BEiT-3 for statements. `encoded` is the rows of the patches [I N P D], before the encoder."""

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        c = self.config = config
        statements.demand_pictures(c.pictures)
        self.vision_norm, self.language_norm = (nn.LayerNorm(c.width, eps=1e-5) for _ in range(2))
        inside, hidden = 2 * c.pictures * c.width, 2 * c.width
        self.head = nn.Sequential(
            nn.LayerNorm(inside, eps=1e-5), nn.Linear(inside, hidden), nn.LayerNorm(hidden, eps=1e-5), nn.GELU(),
            nn.Linear(hidden, 2),
        )  # fmt: skip
        initialise(self.head)

    def rows_of(self, images: Float[Tensor, "M 3 X Y"]) -> Float[Tensor, "M S C"]:
        return self.patches(images)

    def match_logits(self, batch: Batch) -> Float[Tensor, "B 2"]:
        """The two classes: false, true."""
        tokens, mask = batch.text()
        patches, words = self.encode_image(batch).encoded[fusion.owner_of(batch)], self.text(tokens)
        first = []
        for picture in patches.unbind(1):
            rows, read = self._fuse(picture, words, mask)
            first += [self.vision_norm(rows[:, 0]), self.language_norm(read[:, 0])]
        return self.head(torch.cat(first, 1)).float()


def from_beit3(theirs: Mapping[str, Tensor], config: Config) -> dict[str, Tensor]:
    """Initial weights from a pre-trained beit3: its encoder with the last norms."""
    parts = ("patches.", "text.", "vision.", "language.", "joint.", "vision_norm.", "language_norm.")
    return {name: tensor for name, tensor in theirs.items() if name.startswith(parts)}


STARTS, INHERITS = {"beit3": from_beit3}, encoder.SHAPES
