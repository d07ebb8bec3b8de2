"""The base of fusion encoders that start from BERT: its sizes and special tokens, the picture of each text, and regions of
several pictures as one sequence. Embeddings, layers and losses are each system's own.

B texts, I pictures, N pictures of an example, R regions of a picture, A answers of a list.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from pairloom.blocks.transformer import TransformerConfig
from pairloom.data.batch import Batch

if TYPE_CHECKING:
    from pairloom.data.records import Regions


@dataclass(frozen=True)
class BertSizes:
    """BERT base, uncased. length: most tokens of a text; positions: rows of the learned table. masked: share of the words that
    masked language modelling hides."""

    vocabulary: int = 30522
    length: int = 20
    positions: int = 512
    width: int = 768
    depth: int = 12
    heads: int = 12
    dropout: float = 0.1
    pad: int = 0
    cls: int = 101
    sep: int = 102
    mask: int = 103
    masked: float = 0.15

    def layers(self) -> TransformerConfig:
        """BERT's layers: post-norm, GELU."""
        return TransformerConfig(self.width, self.depth, self.heads, "post", 1e-12, self.dropout)


TINY_BERT: dict[str, Any] = dict(
    vocabulary=64, length=12, positions=16, width=32, depth=2, heads=2, dropout=0.0, cls=2, sep=3, mask=4
)


def owner_of(batch: Batch) -> Int[Tensor, " B"]:
    """The row of the pictures that each text belongs to; text i belongs to row i where the batch says nothing."""
    ids = batch.required("texts").ids
    return torch.arange(len(ids), device=ids.device) if batch.image_of is None else batch.image_of


def picture_ids(batch: Batch, owner: Int[Tensor, " B"]) -> Int[Tensor, " B"]:
    """Numbers of the texts' pictures, equal where the picture is; rows without image_ids all differ."""
    return owner if batch.image_ids is None else batch.image_ids


def one_sequence(regions: Regions) -> Regions:
    """Regions of the N pictures of an example, one picture's after the other's: [B N R ...] -> [B N*R ...]."""
    return _each(regions, lambda value: value.flatten(1, 2))


def of_picture(regions: Regions, place: int) -> Regions:
    """Regions of one of the N pictures of an example: [B N R ...] -> [B R ...]."""
    return _each(regions, lambda value: value[:, place])


def _each(regions: Regions, change: Callable[[Tensor], Tensor]) -> Regions:
    values = {field.name: getattr(regions, field.name) for field in fields(regions)}
    return replace(regions, **{name: change(value) for name, value in values.items() if value is not None})


def regions_of(batch: Batch, owner: Int[Tensor, " B"] | None = None) -> Regions:
    """The regions of each text's pictures as one sequence [B N*R ...]. owner: the row of each text (None: as the batch says)."""
    return one_sequence(batch.required("regions")[owner_of(batch) if owner is None else owner])


def answer_loss(logits: Float[Tensor, "B A"], labels: Int[Tensor, " B"]) -> Float[Tensor, ""]:
    """Binary cross-entropy of a list of answers, summed over the list, mean over the texts that have one. labels: the answer of each
    text, below 0 where it is no question."""
    known = labels >= 0
    right = F.one_hot(labels.clamp(min=0), logits.shape[1]).to(logits.dtype)
    each = F.binary_cross_entropy_with_logits(logits, right, reduction="none").sum(1)
    return (each * known).sum() / known.sum().clamp(min=1)


def first_row_head(width: int, classes: int, growth: int = 2) -> nn.Sequential:
    """The classifier of fusion encoders on a pooled row: linear, GELU, norm, linear (Tan and Bansal, 2019)."""
    inner = growth * width
    return nn.Sequential(
        nn.Linear(width, inner), nn.GELU(), nn.LayerNorm(inner, eps=1e-12), nn.Linear(inner, classes)
    )
