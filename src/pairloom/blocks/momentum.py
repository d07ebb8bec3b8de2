"""Momentum contrast (He et al., 2020) for two modalities, as ALBEF and BLIP use it: a slow copy of the encoders, a queue of
its features, and targets that it softens.

Does not know: which encoders, the loss, the schedule of training.

E shared width, K places of the queue, B rows.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

Features = tuple[
    Tensor, Tensor, Tensor
]  # of images and texts [B E] of pairs, and the ids [B] of their pictures
NOBODY = torch.iinfo(torch.long).min  # the id of a place in the queue that no picture ever had


@torch.no_grad()
def ema_update(slow: nn.Module, quick: nn.Module, momentum: float) -> None:
    """Exponential moving average: slow <- momentum * slow + (1 - momentum) * quick, by the names of the parameters.

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
    position: Tensor

    def __init__(self, places: int, width: int) -> None:
        super().__init__()
        self.register_buffer("images", F.normalize(torch.randn(places, width), dim=-1))
        self.register_buffer("texts", F.normalize(torch.randn(places, width), dim=-1))
        self.register_buffer("ids", torch.full((places,), NOBODY))
        self.register_buffer("position", torch.zeros((), dtype=torch.long))

    def features(self) -> Features:
        """Of all places."""
        return self.images, self.texts, self.ids

    @torch.no_grad()
    def push(self, images: Float[Tensor, "B E"], texts: Float[Tensor, "B E"], ids: Int[Tensor, " B"]) -> None:
        """Overwrite the oldest places, wrapping round; of more rows than places the last stay."""
        places = len(self.ids)
        images, texts, ids = images[-places:], texts[-places:], ids[-places:]
        where = (self.position + torch.arange(len(ids), device=ids.device)) % places
        self.images[where] = images.to(self.images.dtype)
        self.texts[where] = texts.to(self.texts.dtype)
        self.ids[where] = ids
        self.position.copy_((self.position + len(ids)) % places)


class MomentumContrast(nn.Module):
    """Momentum teacher, queue and the ramp of its soft targets (Li et al., 2021, ALBEF, sections 3.2 and 3.3).

    teacher: a module like the student's encoders, which it follows and never learns by itself. places: of the queue (0: none).
    alpha: weight of the teacher's targets once `ramp` epochs are over; it grows to that linearly.
    """

    def __init__(
        self, teacher: nn.Module, places: int, width: int, momentum: float, alpha: float, ramp: float
    ) -> None:
        super().__init__()
        self.teacher = teacher.requires_grad_(False)
        self.queue = Queue(places, width) if places else None
        self.momentum, self.alpha, self.ramp = momentum, alpha, ramp

    def follow(self, student: nn.Module, step: int) -> None:
        """Before each optimiser step; step: how many are done. Before the first the teacher is the student, whatever was
        loaded into that."""
        ema_update(self.teacher, student, self.momentum if step else 0.0)

    def weight(self, epoch: float) -> float:
        """Of the teacher's targets."""
        return self.alpha * min(1.0, epoch / self.ramp)

    def candidates(self, new: Features) -> Features:
        """What rows are contrasted with: the teacher's features of this batch (of all processes), then the queue's."""
        if self.queue is None:
            return new
        images, texts, ids = (torch.cat(both) for both in zip(new, self.queue.features()))
        return images, texts, ids

    def push(self, new: Features) -> None:
        """Remember the teacher's features of a batch; training alone calls it."""
        if self.queue is not None:
            self.queue.push(*new)
