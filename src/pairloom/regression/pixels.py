"""Pixels of a picture for hand-made features and for an image tower, side by side in one array; and texts as bytes.

Does not know: features, regressions.

B pictures, S pixels a side of the tower's picture (0: no tower), s of the small one, H = max(S, s).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers

from pairloom.data.pixels import open_image, squashed
from pairloom.data.roles import ROLES
from pairloom.data.tokens import Tokens
from pairloom.data.transform import Transform
from pairloom.towers.preparation import Preparation

EXACT, SCALED = (
    4,
    2,
)  # a JPEG is decoded at a fraction of its size where that leaves so many times the pixels needed


@dataclass(frozen=True)
class TwoViews(Transform):
    """Both views of a picture in one array [H, S + s, 3]: as the tower reads it, and squashed to s x s.

    small: s. tower: how the tower's pixels are prepared; None: there is no tower. Normalised values are those of the pixels
    over 255.
    """

    mean: tuple[float, ...] = (0.0, 0.0, 0.0)
    std: tuple[float, ...] = (1.0, 1.0, 1.0)
    small: int = 64
    tower: Preparation | None = None

    @classmethod
    def of(cls, small: int, tower: Preparation | None) -> TwoViews:
        """The views for hand-made features of pictures of a side, and for a tower."""
        return cls(max(small, tower.size if tower else 0), small=small, tower=tower)

    def to_uint8(self, image: Image.Image, rng: np.random.Generator | None = None) -> NDArray[np.uint8]:
        """[H, S + s, 3] of an RGB image; there is no augmentation."""
        side = self.tower.size if self.tower else 0
        both = np.zeros((self.size, side + self.small, 3), np.uint8)
        if self.tower is not None:
            both[:side, :side] = self.tower.to_uint8(image)
        both[: self.small, side:] = squashed(image, self.small)
        return both

    def read(self, data: bytes, scaled: bool = False) -> Image.Image:
        """The picture of encoded bytes, from which `to_uint8` takes both views. Raises Unreadable."""
        return open_image(data, shrink_to=(SCALED if scaled else EXACT) * self.size)

    def parts(self, pixels: NDArray[np.uint8]) -> tuple[NDArray[np.uint8] | None, NDArray[np.uint8]]:
        """The tower's pictures [B S S 3], where there is a tower, and the small ones [B s s 3]."""
        side = self.tower.size if self.tower else 0
        shown = None if self.tower is None else np.ascontiguousarray(pixels[:, :side, :side])
        return shown, np.ascontiguousarray(pixels[:, : self.small, side:])


@cache
def byte_tokens() -> Tokens:
    """A tokenizer with one token for each byte of UTF-8, and one that pads."""
    pad = ROLES["pad"][0]
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {pad: 0, **{char: 1 + at for at, char in enumerate(alphabet)}}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token=pad))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
            pre_tokenizers.Split(Regex(r"[\s\S]"), behavior="isolated"),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([pad])
    return Tokens(tokenizer)
