"""The base of fusion encoders that start from BERT: its sizes and special tokens, the picture of each text, and regions of
several pictures as one sequence. Embeddings, layers and losses are each system's own.

B texts, I pictures, N pictures of an example, R regions of a picture, A answers of a list.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from jaxtyping import Int
from torch import Tensor, nn

from pairloom.blocks.transformer import TransformerConfig
from pairloom.data.batch import Batch, Record

if TYPE_CHECKING:
    from pairloom.data.feed import RegionFeed
    from pairloom.data.records import Regions

R = TypeVar("R", bound=Record)


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


@dataclass(frozen=True)
class AnswerSizes:
    """answers: of the list that questions are answered from (0: none), whose texts are answer_list where they are known."""

    answers: int = 0
    answer_list: tuple[str, ...] = ()


@dataclass(frozen=True)
class TaskSizes(AnswerSizes):
    """matches: whether the model learns, and is asked, if text and picture belong together. pictures: of a statement, where the
    model is one of statements; 0 otherwise."""

    matches: bool = True
    pictures: int = 0


@dataclass(frozen=True)
class RegionSizes:
    """Regions of a bottom-up-attention detector. classes: with background first (0: it gives none)."""

    features: int = 2048
    classes: int = 1601


TINY_BERT: dict[str, Any] = dict(
    vocabulary=64, length=12, positions=16, width=32, depth=2, heads=2, dropout=0.0, cls=2, sep=3, mask=4
)


TINY_REGIONS: dict[str, Any] = dict(TINY_BERT, features=24, classes=7, answers=6)


def task_regions(most: int, *kinds: str) -> Callable[[Any], RegionFeed]:
    """The `feed` of a system: the surest regions of a picture; where it learns from pairs with the detector's classes, and of `kinds`
    "attributes"."""

    def feed(config: Any) -> RegionFeed:
        from pairloom.data.feed import RegionFeed

        learned = config.matches and not config.pictures
        counts = {kind: getattr(config, kind) for kind in ("classes", *kinds)}
        return RegionFeed(config.features, most, **(counts if learned else {}))

    return feed


def example(config: Any, generator: torch.Generator) -> Batch:
    """The `example` of a system: six texts with random regions; half of the texts are questions with an answer."""
    from pairloom.data.random_batch import random_regions

    return replace(random_regions(config, generator), labels=torch.tensor([3, -1, 0, 5, -1, -1]))


def owner_of(batch: Batch) -> Int[Tensor, " B"]:
    """The row of the pictures that each text belongs to; text i belongs to row i where the batch says nothing."""
    ids = batch.required("texts").ids
    return torch.arange(len(ids), device=ids.device) if batch.image_of is None else batch.image_of


def picture_ids(batch: Batch, owner: Int[Tensor, " B"]) -> Int[Tensor, " B"]:
    """Numbers of the texts' pictures, equal where the picture is; rows without image_ids all differ."""
    return owner if batch.image_ids is None else batch.image_ids


def one_sequence(record: R) -> R:
    """Regions, or rows, of the N pictures of an example, one picture's after the other's: [B N R ...] -> [B 1 N*R ...]."""
    return _each(record, lambda value: value.flatten(1, 2)[:, None])


def each_picture(record: R) -> R:
    """Regions, or rows, of every picture by itself: [B N R ...] -> [B*N R ...]."""
    return _each(record, lambda value: value.flatten(0, 1))


def _each(record: R, change: Callable[[Tensor], Tensor]) -> R:
    values = {field.name: getattr(record, field.name) for field in fields(record)}  # type: ignore[arg-type]
    changed = {name: change(value) for name, value in values.items() if value is not None}
    return replace(record, **changed)  # type: ignore[type-var]


def regions_of(batch: Batch, owner: Int[Tensor, " B"] | None = None) -> Regions:
    """The regions of each text's pictures as one sequence [B N*R ...]. owner: the row of each text (None: as the batch says)."""
    return each_picture(one_sequence(batch.required("regions")[owner_of(batch) if owner is None else owner]))


def answer_losses(system: Any, batch: Batch) -> dict[str, Tensor]:
    """The loss of the questions of a batch, where it has some and the system a list."""
    if not system.config.answers or batch.labels is None:
        return {}
    from pairloom.objectives.answers import answer_loss

    return {"answer": answer_loss(system.answer_logits(batch), batch.labels)}


def normed_layer(width: int, inner: int = 0) -> nn.Sequential:
    """Linear, GELU, norm: what stands before the last linear map of BERT's heads. inner: its output's width (0: the same)."""
    inner = inner or width
    return nn.Sequential(nn.Linear(width, inner), nn.GELU(), nn.LayerNorm(inner, eps=1e-12))


def first_row_head(width: int, classes: int, growth: int = 2) -> nn.Sequential:
    """The classifier of fusion encoders on a pooled row: linear, GELU, norm, linear (Tan and Bansal, 2019)."""
    return nn.Sequential(*normed_layer(width, growth * width), nn.Linear(growth * width, classes))
