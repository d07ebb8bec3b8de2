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
from pairloom.systems import _fusion as fusion

if TYPE_CHECKING:
    from pairloom.objectives.masked import MaskedTokens


# the fields of a config that the shapes of the towers' weights depend on
SIZES = tuple("patch image_width image_depth image_heads positions width depth heads fusion_depth".split())


@dataclass(frozen=True)
class AlbefSizes(fusion.BertSizes):
    """A ViT-B/16 and BERT base, of which the lower 6 layers (`depth`) encode the text and the upper 6 (`fusion_depth`) read the
    picture too. 384 px are those of all fine-tuning."""

    image_size: int = 384
    patch: int = 16
    image_width: int = 768
    image_depth: int = 12
    image_heads: int = 12
    length: int = 30
    depth: int = 6
    fusion_depth: int = 6

    def image_tower(self) -> VisionTower:
        shape = TransformerConfig(self.image_width, self.image_depth, self.image_heads, "pre", 1e-6)
        return VisionTower(shape, self.image_size, self.patch)

    def text_tower(self) -> TextTransformer:
        return TextTransformer(self.layers(), self.vocabulary, self.positions, segments=2)

    def fusion_stack(self, times: int = 1) -> Stack:
        """times: how often each layer is there."""
        upper = self.layers()._replace(depth=self.fusion_depth * times, context=self.image_width)
        return Stack(upper, ModeSharing(cross=1))


TINY_ALBEF: dict[str, Any] = fusion.TINY_BERT | dict(
    depth=1, fusion_depth=1, image_size=32, patch=8, image_width=40, image_depth=2, image_heads=2
)


@dataclass
class PictureRows:
    """Rows of pictures [I N S C], and what the fusion layers read of them, projected once when somebody reads it."""

    rows: Tensor
    memory: CrossKeyValues | None = None


class AlbefTowers(nn.Module):
    """Image encoder, text encoder, fusion layers and their heads, of the sizes of a Config of albef.py."""

    def __init__(self, c: Any) -> None:
        super().__init__()
        self.image, self.text, self.fusion = c.image_tower(), c.text_tower(), c.fusion_stack()
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
