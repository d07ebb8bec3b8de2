"""The base of BLIP's task systems: the sizes of an image tower and of the text towers that read it, the towers built from
them, and the names of the tensors that they take over from a pre-trained blip. Heads and losses are each system's own.

I examples of pictures, N pictures of an example, X Y sides, S rows of a picture, C width of the image tower.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor, nn

from pairloom.blocks.patch_embed import Stem
from pairloom.blocks.text import TextTransformer
from pairloom.blocks.transformer import ModeSharing, TransformerConfig
from pairloom.blocks.vision import VisionTower

# the fields of a config that the shapes of a pre-trained blip's weights depend on
SIZES = tuple("patch image_width image_depth image_heads stem positions width depth heads".split())


@dataclass(frozen=True)
class Grounded:
    """Sizes of a ViT-B/16 and of the BERT-like text towers that read it by cross-attention in every layer.

    length: most tokens of a text. positions: rows of the learned position table.
    """

    image_size: int = 384
    patch: int = 16
    image_width: int = 768
    image_depth: int = 12
    image_heads: int = 12
    drop_path: float = 0.0
    stem: Stem = "patch"
    vocabulary: int = 30524
    length: int = 40
    positions: int = 512
    width: int = 768
    depth: int = 12
    heads: int = 12
    dropout: float = 0.1
    pad: int = 0
    cls: int = 101
    sep: int = 102
    dec: int = 30522
    enc: int = 30523

    def __post_init__(self) -> None:
        for name in ("length", "answer_length", "caption_length"):
            if getattr(self, name, 0) > self.positions:
                raise ValueError(f"{name} {getattr(self, name)} is more than the {self.positions} positions")

    def image_tower(self) -> VisionTower:
        shape = TransformerConfig(
            self.image_width, self.image_depth, self.image_heads, "pre", 1e-6, path=self.drop_path
        )
        return VisionTower(shape, self.image_size, self.patch, self.stem)

    def text_tower(self, context: int, cross: Callable[[int], nn.Module] | None = None) -> TextTransformer:
        """A text tower. context: width of the rows that its cross-attention reads. cross: builds the cross-attention of a
        layer from the layer's index (None: the plain one)."""
        shape = TransformerConfig(
            self.width, self.depth, self.heads, "post", 1e-12, self.dropout, context=context
        )
        return TextTransformer(shape, self.vocabulary, self.positions, 1, ModeSharing(cross=1), cross=cross)


def look(tower: VisionTower, images: Float[Tensor, "I N 3 X Y"]) -> Float[Tensor, "I N S C"]:
    """Encode each of the N pictures of an example by itself."""
    return tower(images.flatten(0, 1)).unflatten(0, images.shape[:2])


def renamed(tensors: Mapping[str, Tensor], before: str, after: str) -> dict[str, Tensor]:
    """The tensors whose names begin with `before`, under names that begin with `after`."""
    return {after + name[len(before) :]: value for name, value in tensors.items() if name.startswith(before)}


def one_mode(tensors: Mapping[str, Tensor], mode: int) -> dict[str, Tensor]:
    """The tensors of one mode of a text tower, under the names of a tower with that mode alone. A part of the tower has one
    variant that all modes share, or one for each mode (READ, WRITE)."""
    parts: dict[str, dict[int, Tensor]] = {}
    for name, value in tensors.items():
        part = re.fullmatch(r"(.*\b(?:embed|attend|cross|feed)\.)(\d+)(\..+)", name)
        parts.setdefault(f"{part[1]}0{part[3]}" if part else name, {})[int(part[2]) if part else 0] = value
    return {name: variants[mode % len(variants)] for name, variants in parts.items()}
