"""Feed: what a model reads of a picture: its pixels, regions from a detector, codes of a codebook, clips of a video.

Does not know: detectors, codebooks, networks.
"""

from __future__ import annotations

from dataclasses import dataclass

from pairloom.data.transform import Transform


@dataclass(frozen=True)
class RegionFeed:
    """Regions of a detector. features: width of a region's vector; most: regions of a picture that are read; classes: of the
    detector's class probabilities (0: they are not needed); attributes: of its attribute probabilities, which are read where a detector
    has given as many (0: never)."""

    features: int = 2048
    most: int = 36
    classes: int = 0
    attributes: int = 0


@dataclass(frozen=True)
class CodeFeed:
    """Discrete codes. codebook: how many there are; length: codes of a picture."""

    codebook: int = 8192
    length: int = 1024


@dataclass(frozen=True)
class ClipFeed:
    """Features of successive clips of a video. features: width of a clip's vector; most: clips that are read."""

    features: int = 1024
    most: int = 64


Feed = Transform | RegionFeed | CodeFeed | ClipFeed
FEEDS: dict[str, type[Feed]] = {
    "pixels": Transform,
    "regions": RegionFeed,
    "codes": CodeFeed,
    "clips": ClipFeed,
}
SOURCES = {
    "regions": "a detector",
    "codes": "a codebook's encoder",
    "clips": "a video network",
}  # who makes what is not pixels


def feed_name(feed: Feed) -> str:
    """ "pixels", "regions", "codes" or "clips"."""
    return next(name for name, kind in FEEDS.items() if isinstance(feed, kind))
