"""BEiT-3 for visual question answering (Wang et al., 2022, arXiv 2208.10442): question and picture are fused, and the answer is a
class of the picture's first row.

Prose, tables and deviations: docs/papers/beit3.md.

B questions, I pictures, N pictures of an example, P rows of them, A answers of a list.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor, nn

from pairloom.abilities import CHOOSE
from pairloom.blocks.transformer import initialise
from pairloom.data.batch import Batch
from pairloom.systems import _beit3_encoder as encoder
from pairloom.systems import _fusion as fusion


@dataclass(frozen=True)
class Config(fusion.AnswerSizes, encoder.MultiwaySizes):
    """The released fine-tuning: 480 px, VQA's 3,129 answers."""

    image_size: int = 480
    answers: int = 3129


TINY = Config(**encoder.TINY_MULTIWAY, answers=6, shared=True)
PRESETS: dict[str, Config] = {
    "base": Config(),
    "large": Config(width=1024, depth=24, heads=16, path=0.15),
    "tiny": TINY,
}
_FINE = dict(batch=128, epochs=10, warmup=0.1, schedule="cosine", weight_decay=0.01, betas=(0.9, 0.98))
RECIPES: dict[str, dict[str, object]] = {"base": dict(_FINE, lr=3e-5), "large": dict(_FINE, lr=2e-5)}


def example(config: Config, generator: torch.Generator) -> Batch:
    """Six random pictures with a question each, and the scores of their answers."""
    from pairloom.data.random_batch import random_pairs

    labels = torch.zeros(6, config.answers)
    labels[torch.arange(6), torch.tensor([3, 1, 0, 5, 2, 4])] = 1.0
    return replace(random_pairs(config, generator), labels=labels)


class System(encoder.Multiway):
    """BEiT-3 for questions. `encoded` is the rows of the pictures' patches, before the encoder."""

    abilities = (CHOOSE,)
    trains_on = ("answers",)
    heads = ("head.",)

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        c = self.config = config
        self.pooler = nn.Sequential(nn.LayerNorm(c.width, eps=1e-5), nn.Linear(c.width, c.width), nn.Tanh())
        self.head = nn.Sequential(
            nn.Linear(c.width, 2 * c.width), nn.LayerNorm(2 * c.width, eps=1e-5), nn.GELU(),
            nn.Linear(2 * c.width, c.answers),
        )  # fmt: skip
        initialise(self.pooler)
        initialise(self.head)
        self.freeze_unread_words()

    def encode_image(self, batch: Batch) -> Batch:
        """The patches of the pictures [I N 3 X Y], once."""
        if batch.encoded is not None:
            return batch
        images = batch.required("images")
        rows = self.patches(images.flatten(0, 1)).unflatten(0, images.shape[:2]).flatten(1, 2)
        return replace(batch, encoded=rows)

    def answer_logits(self, batch: Batch) -> Float[Tensor, "B A"]:
        """From the first row of the picture after it has met the question, without the encoder's last norm."""
        tokens, mask = batch.text()
        patches = self.encode_image(batch).encoded[fusion.owner_of(batch)]
        rows, _ = self._fuse(patches, self.text(tokens), mask)
        return self.head(self.pooler(rows[:, 0])).float()

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """Binary cross-entropy of the list's scores, summed over the list."""
        return fusion.answer_losses(self, batch)


def from_beit3(theirs: Mapping[str, Tensor], config: Config) -> dict[str, Tensor]:
    """Initial weights from a pre-trained beit3: its encoder."""
    parts = ("patches.", "text.", "vision.", "language.", "joint.")
    return {name: tensor for name, tensor in theirs.items() if name.startswith(parts)}


STARTS, INHERITS = {"beit3": from_beit3}, encoder.SHAPES
