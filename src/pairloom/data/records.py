"""Records of a Batch beside its texts: regions, codes and clips of pictures, questions about them, hard negatives.

Every mask is True where something is real.

B examples, N pictures of an example, R regions of a picture, F features of a region or a clip, K classes, A attributes, C clips
of a video, L codes, Q questions.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from pairloom.data.batch import Record, Texts


@dataclass(frozen=True, eq=False)
class Regions(Record):
    """Regions of pictures, from a detector. features [B N R F]; boxes [B N R 4]: left, top, right, bottom as shares of the
    picture's sides; mask [B N R]; class_probabilities [B N R K] and attribute_probabilities [B N R A]: the detector's own, where it
    gave them, with background, or no attribute, first."""

    features: Tensor
    boxes: Tensor
    mask: Tensor
    class_probabilities: Tensor | None = None
    attribute_probabilities: Tensor | None = None


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
