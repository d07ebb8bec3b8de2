"""The column of a set's pictures: as pixels, or as regions where the system reads those. Does not know: texts, networks.

K texts, N pictures of each.
"""

from __future__ import annotations

import numpy
from numpy.typing import NDArray

from pairloom.data.feed import Feed, RegionFeed
from pairloom.data.index import DecodedImages, ImageIndex
from pairloom.data.loader import Column, PixelColumn
from pairloom.data.order import Rows
from pairloom.data.transform import Transform


def picture_column(
    index: ImageIndex, feed: Feed, training: bool, sided: NDArray[numpy.bool_], shows: Rows | None = None
) -> Column:
    """What the system reads of the index's pictures. sided [K]: texts whose pictures are not mirrored; shows [K N]: the pictures of
    each text, a row's own without it. ValueError where the index was read without the regions that the system reads."""
    if isinstance(feed, Transform):
        return PixelColumn(DecodedImages(index, feed, training), sided, shows)
    if not isinstance(feed, RegionFeed) or index.regions is None:
        raise ValueError(f"the pictures of this set cannot be read as {type(feed).__name__}")
    from pairloom.data.regions import RegionColumn

    return RegionColumn(index.regions, [(record,) for record in index.records], feed, shows)
