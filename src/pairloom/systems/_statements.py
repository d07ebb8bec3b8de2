"""What systems of statements about several pictures share: their ability, and match and loss from the two classes (Suhr et al., 2019).

B texts, I examples of pictures, N pictures of an example.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from pairloom.abilities import Ability
from pairloom.blocks.gather import mean_of_all
from pairloom.data.batch import Batch


def example(config: Any, generator: torch.Generator) -> Batch:
    """Six random statements about pictures."""
    from pairloom.data.random_batch import random_pairs

    batch = random_pairs(config, generator, config.pictures)
    return replace(batch, labels=torch.arange(len(batch)) % 2)


class JudgesStatements(nn.Module):
    """A system whose Config says how many `pictures` a statement is about. `encoded` is what `rows_of` makes of them, for each [I N ...]."""

    trains_on = ("statements",)
    config: Any

    @property
    def abilities(self) -> tuple[Ability, ...]:
        """Statements about as many pictures as the config says."""
        return (Ability("reason", reads="statement", by="match head", pictures=self.config.pictures),)

    def rows_of(self, images: Float[Tensor, "M 3 X Y"]) -> Float[Tensor, "M S C"]:
        """Each picture by itself, before it meets a statement."""
        raise NotImplementedError

    def match_logits(self, batch: Batch) -> Float[Tensor, "B 2"]:
        """The two classes: false, true."""
        raise NotImplementedError

    def encode_image(self, batch: Batch) -> Batch:
        """Encode the pictures [I N 3 X Y], once. ValueError for another number of pictures."""
        if batch.encoded is not None:
            return batch
        images = batch.required("images")
        if images.shape[1] != self.config.pictures:
            raise ValueError(f"a statement needs {self.config.pictures} pictures")
        return replace(batch, encoded=self.rows_of(images.flatten(0, 1)).unflatten(0, images.shape[:2]))

    def match(self, batch: Batch) -> Float[Tensor, " B"]:
        """Log-odds that the statement is true."""
        logits = self.match_logits(batch)
        return logits[:, 1] - logits[:, 0]

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """Cross-entropy of the two classes."""
        total = F.cross_entropy(self.match_logits(batch), batch.required("labels"), reduction="sum")
        return {"statement": mean_of_all(total, torch.tensor(float(len(batch)), device=total.device))}


def demand_pictures(pictures: int) -> None:
    """Raise ValueError where a statement would be about no picture."""
    if pictures < 1:
        raise ValueError("a statement is about one picture at least")
