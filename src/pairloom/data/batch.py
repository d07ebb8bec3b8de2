"""Batch: what every verb takes. Tensors only, already on the right device.

B examples, N pictures per example, T tokens, R regions.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

import torch
from torch import Tensor


@dataclass
class Regions:
    """Detected or given regions. features [B R F], boxes [B R 4] normalised xyxy, keep [B R], classes [B R K] or None."""

    features: Tensor
    boxes: Tensor
    keep: Tensor
    classes: Tensor | None = None


@dataclass
class Batch:
    """images [B N C H W] normalised floats; tokens [B T] ids as the tokenizer gives them, [CLS] ... [SEP] pad;
    keep [B T] (True = real, the one polarity everywhere).

    image_ids [B]: equal for rows that show the same picture (they are no negatives of each other).
    image_of [B]: the row of `images` that each text belongs to, where several texts share a picture: the
        picture is then encoded once. None means row i belongs to picture i.
    seen: what a system's `see` made of the pictures; a verb that finds it does not look again.
    extra: what single tasks add (answers, labels, weights, times), by name.
    """

    images: Tensor | None = None
    tokens: Tensor | None = None
    keep: Tensor | None = None
    image_ids: Tensor | None = None
    image_of: Tensor | None = None
    regions: Regions | None = None
    encoded: Any = None
    extra: Mapping[str, Tensor] = field(default_factory=dict)

    def __len__(self) -> int:
        for value in (self.tokens, self.images):
            if value is not None:
                return int(value.shape[0])
        raise ValueError("an empty Batch has no length")

    def text(self) -> tuple[Tensor, Tensor]:
        """tokens [B T] and keep [B T]; without keep everything is real. ValueError where there are no tokens."""
        if self.tokens is None:
            raise ValueError("this verb needs texts that the batch does not have")
        return self.tokens, torch.ones_like(self.tokens, dtype=torch.bool) if self.keep is None else self.keep

    def to(self, device: torch.device | str) -> Batch:
        """The same batch on a device."""
        moved: dict[str, Any] = {}
        for entry in fields(self):
            value = getattr(self, entry.name)
            if isinstance(value, Tensor):
                moved[entry.name] = value.to(device, non_blocking=True)
        moved["extra"] = {name: value.to(device, non_blocking=True) for name, value in self.extra.items()}
        if self.regions is not None:
            moved["regions"] = Regions(
                **{
                    entry.name: None
                    if getattr(self.regions, entry.name) is None
                    else getattr(self.regions, entry.name).to(device)
                    for entry in fields(self.regions)
                }
            )
        return replace(self, **moved)
