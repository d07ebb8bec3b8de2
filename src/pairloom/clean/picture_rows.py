"""Rows of pictures by a system's own image network, which models that learn to write read in place of pixels.

Does not know: training, files.

I pictures, S pixels a side.
"""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pairloom.data.batch import Batch
from pairloom.model import Model


def encode_pixels(model: Model, pixels: NDArray[np.uint8]) -> Any:
    """The encodings of pictures [I S S 3]: the system's own record, or a tensor."""
    return encode_images(model, torch.from_numpy(model.pixels.normalise(np.asarray(pixels))))


def encode_images(model: Model, images: Tensor) -> Any:
    """The encodings of normalised pictures [I 3 S S]."""
    return model.system.encode_image(Batch(images=images[:, None].to(model.device))).encoded


def rows_of(encoded: Any) -> Tensor:
    """The tensor [I N ...] of encoded pictures: the encoding itself, or the first field of a record."""
    tensor: Tensor = getattr(encoded, fields(encoded)[0].name) if is_dataclass(encoded) else encoded
    return tensor


def record_like(encoded: Any, rows: Tensor) -> Any:
    """Rows as encoded pictures of this kind."""
    kind: Any = type(encoded)
    return kind(rows) if is_dataclass(encoded) else rows
