"""Features of the successive clips of videos: files of them, checked, and as a record of batches.

Does not know: video networks, clusters.

C clips, F features.
"""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy
import torch
from numpy.typing import NDArray

from pairloom.data.feed import ClipFeed
from pairloom.data.pixels import Unreadable
from pairloom.data.records import Clips
from pairloom.errors import Mistake

SUFFIXES = (".npy", ".npz")


@dataclass(frozen=True, eq=False)
class ClipFeatures:
    """One video: features [C F] of its clips in their order."""

    features: NDArray[Any]

    def __post_init__(self) -> None:
        features = numpy.asarray(self.features)
        if features.ndim != 2 or features.dtype.kind not in "fiu" or not features.size:
            raise Unreadable(
                f"features of clips are [clips, features], not {features.dtype} {list(features.shape)}"
            )
        features = features.astype(numpy.float32)
        if not numpy.isfinite(features).all():
            raise Unreadable("its features are not all numbers")
        object.__setattr__(self, "features", features)


def read_clips(file: Path) -> ClipFeatures:
    """The clips of an npy, or of the array `features` (or the only one) of an npz. Unreadable, with the reason, for another."""
    try:
        loaded = numpy.load(file)
        if isinstance(loaded, numpy.ndarray):
            return ClipFeatures(loaded)
        with loaded:
            names = loaded.files
            name = "features" if "features" in names else names[0] if len(names) == 1 else ""
            if not name:
                raise Unreadable(f"it has {len(names)} arrays, and none is called features")
            return ClipFeatures(loaded[name])
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise Unreadable(f"it is no npy or npz: {error}") from error


def collate_clips(videos: Sequence[ClipFeatures], feed: ClipFeed) -> Clips:
    """[B C F] of B videos: at most feed.most clips of each, padded to the most there are. Mistake where the features have another width."""
    for one in videos:
        if one.features.shape[1] != feed.features:
            raise Mistake(
                f"The clips of a video do not fit: the model reads {feed.features} features of each.",
                f"There are {one.features.shape[1]}.",
                "Run the video network that the model was made for.",
            )
    counts = torch.tensor([min(len(one.features), feed.most) for one in videos])
    rows = torch.zeros(len(videos), int(counts.max()), feed.features)
    for row, one, count in zip(rows, videos, counts.tolist()):
        row[:count] = torch.from_numpy(one.features[:count])
    return Clips(rows, torch.arange(rows.shape[1]) < counts[:, None])
