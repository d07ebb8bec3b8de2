"""BEiT-3 reasoning over two pictures (Wang et al., 2022, arXiv 2208.10442): the statement is fused with each picture by itself, and
judged from the first rows of pictures and texts side by side.

Prose, tables and deviations: docs/papers/beit3.md.

B statements, I groups of pictures, N pictures of a group, P patches, D width.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from pairloom.abilities import Ability
from pairloom.blocks.gather import mean_of_all
from pairloom.blocks.transformer import initialise
from pairloom.data.batch import Batch
from pairloom.systems import _beit3_encoder as encoder
from pairloom.systems import _fusion as fusion


@dataclass(frozen=True)
class Config(encoder.MultiwaySizes):
    """The released fine-tuning: 224 px. pictures: of a statement, 2 in the paper; other numbers are ours."""

    path: float = 0.2
    pictures: int = 2


TINY = Config(**encoder.TINY_MULTIWAY, shared=True)
PRESETS: dict[str, Config] = {"base": Config(), "large": Config(width=1024, depth=24, heads=16), "tiny": TINY}
_FINE = dict(batch=256, epochs=20, warmup=0.25, schedule="cosine", weight_decay=0.2)
RECIPES: dict[str, dict[str, object]] = {"base": dict(_FINE, lr=7e-4), "large": dict(_FINE, lr=3e-4)}


def example(config: Config, generator: torch.Generator) -> Batch:
    """Six random statements about pictures."""
    from pairloom.data.random_batch import random_pairs

    batch = random_pairs(config, generator, config.pictures)
    return replace(batch, labels=torch.arange(len(batch)) % 2)


class System(encoder.Multiway):
    """BEiT-3 for statements. `encoded` is the rows of the patches [I N P D], before the encoder."""

    trains_on = ("statements",)

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        c = self.config = config
        if c.pictures < 1:
            raise ValueError("a statement is about one picture at least")
        self.vision_norm, self.language_norm = (nn.LayerNorm(c.width, eps=1e-5) for _ in range(2))
        inside, hidden = 2 * c.pictures * c.width, 2 * c.width
        self.head = nn.Sequential(
            nn.LayerNorm(inside, eps=1e-5), nn.Linear(inside, hidden), nn.LayerNorm(hidden, eps=1e-5), nn.GELU(),
            nn.Linear(hidden, 2),
        )  # fmt: skip
        initialise(self.head)

    @property
    def abilities(self) -> tuple[Ability, ...]:
        """Statements about as many pictures as the config says."""
        return (Ability("reason", reads="statement", by="match head", pictures=self.config.pictures),)

    def encode_image(self, batch: Batch) -> Batch:
        """The patches of the pictures [I N 3 X Y], once. ValueError for another number of pictures."""
        if batch.encoded is not None:
            return batch
        images = batch.required("images")
        if images.shape[1] != self.config.pictures:
            raise ValueError(f"a statement needs {self.config.pictures} pictures")
        return replace(batch, encoded=self.patches(images.flatten(0, 1)).unflatten(0, images.shape[:2]))

    def match(self, batch: Batch) -> Float[Tensor, " B"]:
        """Log-odds that the statement is true."""
        logits = self.match_logits(batch)
        return logits[:, 1] - logits[:, 0]

    def match_logits(self, batch: Batch) -> Float[Tensor, "B 2"]:
        """The two classes: false, true."""
        tokens, mask = batch.text()
        patches, words = self.encode_image(batch).encoded[fusion.owner_of(batch)], self.text(tokens)
        first = []
        for picture in patches.unbind(1):
            rows, read = self._fuse(picture, words, mask)
            first += [self.vision_norm(rows[:, 0]), self.language_norm(read[:, 0])]
        return self.head(torch.cat(first, 1)).float()

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """Cross-entropy of the two classes."""
        total = F.cross_entropy(self.match_logits(batch), batch.required("labels"), reduction="sum")
        return {"statement": mean_of_all(total, torch.tensor(float(len(batch)), device=total.device))}


def from_beit3(theirs: Mapping[str, Tensor], config: Config) -> dict[str, Tensor]:
    """Initial weights from a pre-trained beit3: its encoder with the last norms."""
    parts = ("patches.", "text.", "vision.", "language.", "joint.", "vision_norm.", "language_norm.")
    return {name: tensor for name, tensor in theirs.items() if name.startswith(parts)}


STARTS, INHERITS = {"beit3": from_beit3}, encoder.SHAPES
