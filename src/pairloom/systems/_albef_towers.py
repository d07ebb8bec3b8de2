"""The towers of ALBEF: an image encoder, a text encoder, and fusion layers that go on from the text encoder's rows and read the
picture. What the momentum teacher is a slow copy of. Losses and tasks are the systems'.

B texts, I pictures, N pictures of an example, S rows of a picture, T tokens, C width of the image tower, D width of the text
tower, E shared embedding, M hidden words, V vocabulary.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from pairloom.blocks.cross import CrossKeyValues
from pairloom.blocks.language import LanguageHead
from pairloom.blocks.masks import padding
from pairloom.blocks.text import TextTransformer
from pairloom.blocks.transformer import ModeSharing, Stack, TransformerConfig
from pairloom.blocks.vision import VisionTower

if TYPE_CHECKING:
    from pairloom.objectives.masked import MaskedTokens


@dataclass
class PictureRows:
    """Rows of pictures [I N S C], and what the fusion layers read of them, projected once when somebody reads it."""

    rows: Tensor
    memory: CrossKeyValues | None = None


class AlbefTowers(nn.Module):
    """Image encoder, text encoder, fusion layers and their heads, of the sizes of a Config of albef.py."""

    def __init__(self, c: Any) -> None:
        super().__init__()
        shape = TransformerConfig(c.image_width, c.image_depth, c.image_heads, "pre", 1e-6)
        self.image = VisionTower(shape, c.image_size, c.patch)
        self.text = TextTransformer(c.layers(), c.vocabulary, c.positions, segments=2)
        upper = c.layers()._replace(depth=c.fusion_depth, context=c.image_width)
        self.fusion = Stack(upper, ModeSharing(cross=1))
        self.image_projection = nn.Linear(c.image_width, c.embedding)
        self.text_projection = nn.Linear(c.width, c.embedding)
        self.language_head = LanguageHead(c.width, c.vocabulary, 1e-12)

    def encode(self, images: Float[Tensor, "I N 3 X Y"]) -> PictureRows:
        return PictureRows(self.image(images.flatten(0, 1)).unflatten(0, images.shape[:2]))

    def embed_image(self, encoded: PictureRows) -> Float[Tensor, "I E"]:
        """From the class row of each picture, averaged over N."""
        return F.normalize(self.image_projection(encoded.rows[:, :, 0]).mean(1), dim=-1)

    def embed_text(self, states: Float[Tensor, "B T D"]) -> Float[Tensor, "B E"]:
        """From the [CLS] row of the text encoder."""
        return F.normalize(self.text_projection(states[:, 0]), dim=-1)

    def fuse(
        self,
        states: Float[Tensor, "B T D"],
        mask: Bool[Tensor, "B T"],
        encoded: PictureRows,
        owner: Int[Tensor, " B"],
    ) -> Float[Tensor, "B T D"]:
        """The upper half: rows of the text encoder, which read picture owner[i] of the encoded ones."""
        if encoded.memory is None:
            encoded.memory = self.fusion.project(encoded.rows.flatten(1, 2))
        return self.fusion(states, padding(mask), encoded.memory.read_by(owner))

    def words(
        self, masked: MaskedTokens, mask: Bool[Tensor, "B T"], encoded: PictureRows, owner: Tensor
    ) -> Float[Tensor, "M V"]:
        """Scores of the hidden words, from both halves."""
        rows = self.fuse(self.text(masked.ids, mask), mask, encoded, owner)
        return self.language_head(rows[masked.hidden], self.text.words)
