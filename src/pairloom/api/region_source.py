"""Regions for a model that is asked about pictures: the set that it reads them from."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

from pairloom.api.inputs import Pictures, is_one_picture
from pairloom.data.clips import SUFFIXES, ClipFeatures, read_clips
from pairloom.data.detected import Detected, checked
from pairloom.data.feed import ClipFeed, RegionFeed, feed_name
from pairloom.data.pair import content_hash
from pairloom.data.pixels import Unreadable
from pairloom.data.region_set import layout_of, open_regions
from pairloom.errors import Mistake
from pairloom.model import Model
from pairloom.model.pictures import no_pixels


def with_regions(model: Model, regions: str | Path) -> Model:
    """The same model, which finds the regions of pictures there. Mistake where it does not read any, or there are none."""
    if not isinstance(model.feed, RegionFeed):
        raise Mistake(
            f"{model.name} reads {feed_name(model.feed)}, not regions.", "", "Leave out --regions (regions=)."
        )
    return replace(model, regions=open_regions(regions))


def with_own_regions(model: Model, source: Path) -> Model:
    """The same model, which finds regions in the set of examples that it is asked about, where it has no others and the set is
    one (NLVR)."""
    if not isinstance(model.feed, RegionFeed) or model.regions is not None or not layout_of(source):
        return model
    return replace(model, regions=open_regions(source))


def open_features_of(model: Model, pictures: Pictures) -> list[Any]:
    """What a model reads of pictures or videos that is no pixels: their regions, or their clips."""
    return (
        open_clips_of(model, pictures)
        if isinstance(model.feed, ClipFeed)
        else open_regions_of(model, pictures)
    )


def open_regions_of(model: Model, pictures: Pictures) -> list[Detected]:
    """The regions of pictures that are named by a file, its bytes or an id, or that are regions already. Mistake where there is a
    picture by another name, where the model has no set of regions, and where a picture has none that can be used."""
    several = [pictures] if is_one_picture(pictures) else list(pictures)  # type: ignore[arg-type]
    rows: list[Detected] = []
    for one in several:
        if isinstance(one, Detected):
            rows.append(checked(one))
        elif model.regions is None or not isinstance(one, (str, bytes, os.PathLike)):
            raise no_pixels(model)
        else:
            rows.append(model.regions.of_one(_names(one)))
    if not rows:
        raise Mistake("There is no picture.", "The list is empty.", "Give one picture or more.")
    return rows


def open_clips_of(model: Model, videos: Pictures) -> list[ClipFeatures]:
    """The clips of videos, which are files of their features. Mistake where one cannot be read, or is no such file."""
    several = [videos] if is_one_picture(videos) else list(videos)  # type: ignore[arg-type]
    rows: list[ClipFeatures] = []
    for one in several:
        if isinstance(one, ClipFeatures):
            rows.append(one)
        elif not isinstance(one, (str, os.PathLike)) or Path(one).suffix not in SUFFIXES:
            raise no_pixels(model)
        else:
            try:
                rows.append(read_clips(Path(one)))
            except Unreadable as error:
                raise Mistake(
                    f"{one} cannot be read as clips.", f"{error}.", "Give a .npy [clips, features]."
                ) from error
    return rows


def _names(picture: str | bytes | os.PathLike[str]) -> list[str]:
    """What a picture may be called in a set of regions: its path, and the hash of its bytes where it is there."""
    if isinstance(picture, bytes):
        return [content_hash(picture)]
    file = Path(picture)
    return [str(file), *([content_hash(file.read_bytes())] if file.is_file() else [])]
