"""Batch: what every system takes. Typed records of tensors, all on one device.

Every mask has one polarity: True = real. Where an axis is [B], rows belong together by their place, unless `image_of` says
otherwise.

B examples, N pictures of an example, T tokens.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any, Literal, TypeVar, overload

import torch
from torch import Tensor

if TYPE_CHECKING:  # records that most systems never read
    from pairloom.data.records import Clips, Codes, Negatives, Questions, Regions

Self = TypeVar("Self", bound="Record")


class Record:
    """Frozen dataclass of tensors whose first axis is the rows; a field may be None or another record."""

    __iter__ = None  # rows are taken by [...]; fields by their names

    def to(self: Self, device: torch.device | str) -> Self:
        """The same record on a device."""
        from pairloom.data.nested import moved

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
class Batch(Record):
    """What every system takes; each reads what it needs and asks for it by `required`.

    texts, images: what belongs together. images [B N 3 H W]: normalised floats.
    regions, codes, clips: pictures as a detector, a codebook or a video network saw them.
    question: asked about the pictures; `texts` are then answers, and `image_of` is the question of each.
    caption: what is known of each picture beside the texts (a dialog's first line).
    labels [B]: the class of each row (1: true or right); or [B A]: the score of each answer of a list. weights [B]: what each row counts in the loss.
    image_ids [B]: equal for rows that show the same picture (they are no negatives of each other), or pictures of one class.
    image_of [B]: the row of the pictures that each text belongs to, where several texts share a picture: the picture is
        then encoded once. None: text i belongs to picture i.
    part_weight []: of this whole batch in a mixture of sets.
    encoded: what a system's `encode_image` made of the pictures; whoever finds it does not encode again.
    encoded_text: what a system's `encode_texts` made of the texts, row for row; whoever finds it does not encode again.
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
    encoded_text: Any = None
    extra: Mapping[str, Tensor] = field(default_factory=dict)

    @property
    def device(self) -> torch.device | None:
        """Where its tensors are; None where it has none."""
        from pairloom.data.nested import tensors_in

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
