"""Looked: pictures as a frozen network saw them, once, in place of pixels.

A writer that learns on what a frozen image tower made of its pictures decodes nothing and runs no convolution: a step
then costs a tenth, and it can have thousands of them. Does not know: the network, or what a batch does with its rows.

n pictures that were looked at, V views of each, M pictures of the set.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from pairloom.data.order import Rows

AT_ONCE = 128  # pictures that the network is shown together


@dataclass(frozen=True)
class CachedImages:
    """The loader's Pictures. seen [n V ...]: what the network made of each view; place [M]: where a picture's lie."""

    encoded: Tensor
    place: Rows

    @classmethod
    @torch.no_grad()
    def by(
        cls, encode_image: Callable[[Rows, int], Tensor], chosen: Rows, total: int, views: int = 1
    ) -> CachedImages:
        """Look at `chosen` of `total` pictures. see(rows [B], view) -> what the network makes of that view of them [B ...]."""
        place = np.full(total, -1)
        place[chosen] = np.arange(len(chosen))
        parts = np.split(chosen, range(AT_ONCE, len(chosen), AT_ONCE))
        encoded = [torch.stack([encode_image(part, view) for view in range(views)], 1) for part in parts]
        return cls(torch.cat(encoded), place)

    def __len__(self) -> int:
        return len(self.place)

    def identity(self) -> str:
        """Its size: the weights that looked are named by who had them look."""
        return repr(tuple(self.encoded.shape))

    def look(self, rows: Rows, chance: Tensor, sided: Tensor) -> tuple[Tensor, Rows]:
        """[B ...] in place of pixels: of each picture one view, by the first chance. Who made the views knew which pictures
        are not to be mirrored."""
        views = self.encoded.shape[1]
        view = (chance[:, 0] * views).long().clamp(max=views - 1)
        return self.encoded[torch.from_numpy(self.place[rows]), view].float(), np.arange(len(rows))
