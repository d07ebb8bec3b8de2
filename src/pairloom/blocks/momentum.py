"""What contrast remembers: a slow copy of the towers, and a queue of what it said (He et al., 2020).

E shared width, K places in the queue, B rows.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

NOBODY = torch.iinfo(torch.long).min  # the id of a place in the queue that no picture ever had


@torch.no_grad()
def ema_update(slow: nn.Module, quick: nn.Module, momentum: float) -> None:
    """slow <- momentum * slow + (1 - momentum) * quick, parameter by parameter of the same name.

    `quick` may have parameters that `slow` lacks; the reverse is a KeyError.
    """
    source = dict(quick.named_parameters())
    for name, parameter in slow.named_parameters():
        parameter.lerp_(source[name].to(parameter.dtype), 1 - momentum)


class Queue(nn.Module):
    """The last K image and text features with the ids of their pictures; starts from noise, which no id matches."""

    images: Tensor
    texts: Tensor
    ids: Tensor
    at: Tensor

    def __init__(self, places: int, width: int) -> None:
        super().__init__()
        self.register_buffer("images", F.normalize(torch.randn(places, width), dim=-1))
        self.register_buffer("texts", F.normalize(torch.randn(places, width), dim=-1))
        self.register_buffer("ids", torch.full((places,), NOBODY))
        self.register_buffer("at", torch.zeros((), dtype=torch.long))

    def held(self) -> tuple[Tensor, Tensor, Tensor]:
        """Images, texts, ids of all places."""
        return self.images, self.texts, self.ids

    @torch.no_grad()
    def push(self, images: Float[Tensor, "B E"], texts: Float[Tensor, "B E"], ids: Int[Tensor, " B"]) -> None:
        """Overwrite the oldest places, wrapping round; of more rows than places the last stay."""
        places = len(self.ids)
        images, texts, ids = images[-places:], texts[-places:], ids[-places:]
        where = (self.at + torch.arange(len(ids), device=ids.device)) % places
        self.images[where] = images.to(self.images.dtype)
        self.texts[where] = texts.to(self.texts.dtype)
        self.ids[where] = ids
        self.at.copy_((self.at + len(ids)) % places)
