"""Pictures as a Model reads them: pixels, or the regions that its `regions` have of them.

B groups, N pictures of a group, H = W sides of a picture.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch

from pairloom.data.clips import ClipFeatures, collate_clips
from pairloom.data.detected import Detected
from pairloom.data.feed import SOURCES, ClipFeed, RegionFeed, feed_name
from pairloom.data.pixels import Unreadable
from pairloom.data.region_set import HOW
from pairloom.data.regions import collate_regions, misfit
from pairloom.data.transform import Transform
from pairloom.errors import Mistake
from pairloom.model.model import Model

if TYPE_CHECKING:
    from PIL import Image

    from pairloom.data.pixels import Picture


def no_pixels(model: Model) -> Mistake:
    """The Mistake for a picture that is handed to a model which reads something else of it."""
    kind = feed_name(model.feed)
    how = f"Run {SOURCES[kind]} on the pictures first, and give what it finds: model.batch({kind}=...)."
    if isinstance(model.feed, RegionFeed):
        how = f"{HOW} Or give what it finds: model.batch(regions=...)."
    why = f"The {kind} of a picture come from {SOURCES[kind]}, which this model does not have."
    return Mistake(f"{model.name} reads {kind}, not pictures.", why, how)


def demand_source(model: Model) -> None:
    """Mistake where the model reads something else than pixels of a picture, and was loaded without it."""
    if not isinstance(model.feed, Transform) and model.regions is None:
        raise no_pixels(model)


def look(
    model: Model, names: Sequence[str], data: Callable[[], bytes], scaled: bool = False
) -> Image.Image | Detected:
    """What a model reads of an encoded picture: its upright pixels, or its regions. names: what the picture may be called in
    `model.regions`, first its key; data: gives its bytes; scaled: as in `Transform.read`.

    Raises Unreadable, or OSError, where that cannot be read; Mistake where the model has no regions to read from.
    """
    if isinstance(model.feed, Transform):
        return model.feed.read(data(), scaled=scaled)
    demand_source(model)
    assert model.regions is not None
    detected = model.regions.of(names)
    if isinstance(model.feed, RegionFeed) and (reason := misfit(detected, replace(model.feed, classes=0))):
        raise Unreadable(f"its regions cannot be used: {reason}")
    return detected


def fields_of(model: Model, groups: Sequence[Sequence[Picture | Detected | ClipFeatures]]) -> dict[str, Any]:
    """The fields of a batch that show B groups of N pictures: normalised `images` [B N 3 H W], `regions`, or `clips` of videos, on the model's
    device. Raises Unreadable where a picture cannot be decoded, Mistake where one is no picture as the model reads it."""
    if isinstance(model.feed, Transform):
        return {"images": torch.stack([model.pictures(group) for group in groups])}  # type: ignore[arg-type]
    if isinstance(model.feed, ClipFeed):
        videos = [one for group in groups for one in group if isinstance(one, ClipFeatures)]
        if len(videos) < sum(map(len, groups)):
            raise no_pixels(model)
        return {"clips": collate_clips(videos, model.feed).to(model.device)}
    rows = [[one for one in group if isinstance(one, Detected)] for group in groups]
    if not isinstance(model.feed, RegionFeed) or any(
        len(row) < len(group) for row, group in zip(rows, groups)
    ):
        raise no_pixels(model)
    feed, known = replace(model.feed, attributes=0), [one.class_probabilities for row in rows for one in row]
    if any(classes is None or classes.shape[1] != feed.classes for classes in known):
        feed = replace(feed, classes=0)  # most systems need classes to learn alone
    return {"regions": collate_regions(rows, feed).to(model.device)}
