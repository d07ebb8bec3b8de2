"""Batch: what every system takes. Typed records of tensors, all on one device.

Every mask has one polarity: True = real. Where an axis is [B], rows belong together by their place, unless `image_of` says
otherwise.

B examples, N pictures of an example, R regions of a picture, F features of a region, K classes, C clips of a video,
L codes, T tokens.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields, is_dataclass, replace
from typing import Any, Literal, TypeVar, overload

import torch
from torch import Tensor

Self = TypeVar("Self", bound="Record")


class Record:
    """Frozen dataclass of tensors whose first axis is the rows; a field may be None or another record."""

    __iter__ = None  # rows are taken by [...]; fields by their names

    def to(self: Self, device: torch.device | str) -> Self:
        """The same record on a device."""
        return moved(self, device)

    def __len__(self) -> int:
        """How many rows: those of the first field that is there. ValueError where none is."""
        for entry in fields(self):  # type: ignore[arg-type]
            value = getattr(self, entry.name)
            if isinstance(value, (Tensor, Record)):
                return len(value)
        raise ValueError(f"an empty {type(self).__name__} has no length")

    def __getitem__(self: Self, rows: Any) -> Self:
        """These rows of every field: a slice, a list of numbers, or a tensor of numbers or booleans."""
        chosen = {}
        for entry in fields(self):  # type: ignore[arg-type]
            value = getattr(self, entry.name)
            chosen[entry.name] = value[rows] if isinstance(value, (Tensor, Record)) else value
        return replace(self, **chosen)  # type: ignore[type-var]


@dataclass(frozen=True, eq=False)
class Texts(Record):
    """Tokenised texts. ids [B T] as the tokenizer gives them, [CLS] ... [SEP] pad; mask [B T]; segments [B T]: the part of
    a row that each token belongs to (sentence A or B), None where a row is one text."""

    ids: Tensor
    mask: Tensor
    segments: Tensor | None = None

    @classmethod
    def unpadded(cls, ids: Tensor) -> Texts:
        """Texts of one length, all of it real."""
        return cls(ids, torch.ones_like(ids, dtype=torch.bool))


@dataclass(frozen=True, eq=False)
class Regions(Record):
    """Regions of pictures, from a detector. features [B N R F]; boxes [B N R 4]: left, top, right, bottom as shares of the
    picture's sides; mask [B N R]; class_probabilities [B N R K]: the detector's own, where it gave them."""

    features: Tensor
    boxes: Tensor
    mask: Tensor
    class_probabilities: Tensor | None = None


@dataclass(frozen=True, eq=False)
class Codes(Record):
    """Pictures or videos as discrete codes of a codebook. ids [B L]; mask [B L]."""

    ids: Tensor
    mask: Tensor


@dataclass(frozen=True, eq=False)
class Clips(Record):
    """Videos as features of successive clips. features [B C F]; mask [B C]; times [B C 2]: start and end in seconds, where
    they are known."""

    features: Tensor
    mask: Tensor
    times: Tensor | None = None


@dataclass(frozen=True, eq=False)
class Questions(Record):
    """Q questions about pictures. image_of [Q]: the row of the pictures that each is about; None: question i is about row i."""

    texts: Texts
    image_of: Tensor | None = None


@dataclass(frozen=True, eq=False)
class Negatives(Record):
    """Hard negatives of the rows of a batch: wrong texts [B], or wrong pictures [B N 3 H W]."""

    texts: Texts | None = None
    images: Tensor | None = None


@dataclass(frozen=True, eq=False)
class Batch(Record):
    """What every system takes; each reads what it needs and asks for it by `required`.

    texts, images: what belongs together. images [B N 3 H W]: normalised floats.
    regions, codes, clips: pictures as a detector, a codebook or a video network saw them.
    question: asked about the pictures; `texts` are then answers, and `image_of` is the question of each.
    caption: what is known of each picture beside the texts (a dialog's first line).
    labels [B]: the class of each row (1: true or right). weights [B]: what each row counts in the loss.
    image_ids [B]: equal for rows that show the same picture (they are no negatives of each other).
    image_of [B]: the row of the pictures that each text belongs to, where several texts share a picture: the picture is
        then encoded once. None: text i belongs to picture i.
    part_weight []: of this whole batch in a mixture of sets.
    encoded: what a system's `encode_image` made of the pictures; whoever finds it does not encode again.
    extra: of experiments alone, by name.
    """

    images: Tensor | None = None
    texts: Texts | None = None
    regions: Regions | None = None
    codes: Codes | None = None
    clips: Clips | None = None
    question: Questions | None = None
    caption: Texts | None = None
    labels: Tensor | None = None
    weights: Tensor | None = None
    negatives: Negatives | None = None
    image_ids: Tensor | None = None
    image_of: Tensor | None = None
    part_weight: Tensor | None = None
    encoded: Any = None
    extra: Mapping[str, Tensor] = field(default_factory=dict)

    @property
    def device(self) -> torch.device | None:
        """Where its tensors are; None where it has none."""
        return next((tensor.device for tensor in tensors_in(self)), None)

    def __len__(self) -> int:
        """Rows of the texts, or of the pictures in whatever form. ValueError where there are neither."""
        for value in (self.texts, self.images, self.regions, self.codes, self.clips, self.question):
            if value is not None:
                return len(value)
        raise ValueError("an empty Batch has no length")

    def __getitem__(self, rows: Any) -> Batch:
        """ValueError: rows of texts and of pictures are not the same rows. Take them from the records."""
        raise ValueError("a Batch has no rows of its own; take rows of its texts or of its images")

    @overload
    def required(self, name: Literal["images", "labels", "image_ids", "image_of"]) -> Tensor: ...

    @overload
    def required(self, name: Literal["texts"]) -> Texts: ...

    @overload
    def required(self, name: Literal["regions"]) -> Regions: ...

    @overload
    def required(self, name: Literal["codes"]) -> Codes: ...

    @overload
    def required(self, name: Literal["clips"]) -> Clips: ...

    @overload
    def required(self, name: Literal["question"]) -> Questions: ...

    def required(self, name: str) -> Any:
        """A field that a system cannot do without. ValueError where the batch does not have it."""
        value = getattr(self, name)
        if value is None:
            present = [entry.name for entry in fields(self) if getattr(self, entry.name) is not None]
            present.remove("extra")
            raise ValueError(f"the batch has no {name}; it has {', '.join(present) or 'nothing'}")
        return value

    def text(self) -> tuple[Tensor, Tensor]:
        """ids [B T] and mask [B T] of the texts. ValueError where there are none."""
        texts = self.required("texts")
        return texts.ids, texts.mask


def tensors_in(value: Any) -> Iterator[Tensor]:
    """Every tensor inside a value: through dataclasses, mappings, tuples and lists."""
    if isinstance(value, Tensor):
        yield value
    elif is_dataclass(value) and not isinstance(value, type):
        for entry in fields(value):
            yield from tensors_in(getattr(value, entry.name))
    elif isinstance(value, (Mapping, tuple, list)):
        for one in value.values() if isinstance(value, Mapping) else value:
            yield from tensors_in(one)


def moved(value: Any, device: torch.device | str) -> Any:
    """The same value with every tensor inside it on a device: through dataclasses, mappings, tuples and lists."""
    if isinstance(value, Tensor):
        return value.to(device, non_blocking=True)
    if is_dataclass(value) and not isinstance(value, type):
        return replace(
            value, **{one.name: moved(getattr(value, one.name), device) for one in fields(value) if one.init}
        )
    if isinstance(value, Mapping):
        return {key: moved(one, device) for key, one in value.items()}
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*(moved(one, device) for one in value))
    if isinstance(value, (tuple, list)):
        return type(value)(moved(one, device) for one in value)
    return value
