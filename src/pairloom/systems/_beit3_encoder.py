"""The encoder of BEiT-3: one transformer with an expert for each modality. Heads, losses and tasks are each system's own.

B texts, P rows of pictures, T tokens, D width.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from pairloom.blocks.attention import KeyValue
from pairloom.blocks.embed import TextEmbed
from pairloom.blocks.masks import padding
from pairloom.blocks.patch_embed import PatchEmbed
from pairloom.blocks.sub_norm import add_sub_norms
from pairloom.blocks.transformer import Stack, TransformerConfig, initialise

# the fields of a config that the shapes of the encoder's weights depend on
SHAPES = ("patch", "positions", "width", "depth", "heads", "growth", "shared", "joint")


@dataclass(frozen=True)
class MultiwaySizes:
    """The released base: every weight is a modality's own. In the paper, which trains the giant alone, attention is `shared`, and the
    last three layers have an expert of pairs (`joint`)."""

    image_size: int = 224
    patch: int = 16
    vocabulary: int = 64010
    length: int = 64
    positions: int = 1022
    width: int = 768
    depth: int = 12
    heads: int = 12
    growth: float = 4.0
    path: float = 0.1
    shared: bool = False
    joint: int = 0
    pad: int = 1
    cls: int = 0
    sep: int = 2
    mask: int = 64001


TINY_MULTIWAY: dict[str, Any] = dict(
    image_size=32, patch=8, vocabulary=64, length=12, positions=16, width=32, depth=2, heads=2, path=0.0, pad=0, cls=2, sep=3,
    mask=4,
)  # fmt: skip


class Multiway(nn.Module):
    """Patches, words, and a stack of layers for each modality, whose rows all see each other where they are fused."""

    def __init__(self, config: MultiwaySizes) -> None:
        super().__init__()
        c = config
        shape = TransformerConfig(c.width, c.depth, c.heads, "pre", 1e-5, path=c.path, growth=c.growth)
        self.patches = PatchEmbed(c.image_size, c.patch, c.width)
        self.text = TextEmbed(c.vocabulary, c.positions, c.width, None, 0.0)
        self.vision, self.language = Stack(shape), Stack(shape)
        self.joint = Stack(shape._replace(depth=c.joint, order=("feed",)))
        for stack in (self.vision, self.language, self.joint):
            add_sub_norms(stack, c.depth - len(stack.layers))
        if c.shared:
            for vision, language in zip(self.vision.layers, self.language.layers):
                language.attend = vision.attend
        initialise(self.patches.patch)
        initialise(self.text)

    def _fuse(
        self, patches: Float[Tensor, "B S D"], words: Float[Tensor, "B T D"], mask: Bool[Tensor, "B T"]
    ) -> tuple[Float[Tensor, "B S D"], Float[Tensor, "B T D"]]:
        """Every row sees every real one, and goes through its modality's expert, or in the last `joint` layers through that of pairs."""
        seen = padding(torch.cat([mask.new_ones(patches.shape[:2]), mask], 1))
        first = len(self.vision.layers) - len(self.joint.layers)
        for at, (left, right) in enumerate(zip(self.vision.layers, self.language.layers)):
            see, read = left.attend[0], right.attend[0]
            one, other = see.fn.project(see.inner(patches)), read.fn.project(read.inner(words))
            both = KeyValue(torch.cat([one.keys, other.keys], 2), torch.cat([one.values, other.values], 2))
            patches, words = see(patches, both, seen), read(words, both, seen)
            if at < first:
                patches, words = left.feed[0](patches), right.feed[0](words)
            else:
                expert = self.joint.layers[at - first]
                patches, words = expert(patches), expert(words)
        return patches, words

    def freeze_unread_words(self) -> None:
        """For a head that reads pictures alone: what only the last rows of words go through has nothing to learn."""
        last = self.language.layers[-1]
        last.feed.requires_grad_(False)
