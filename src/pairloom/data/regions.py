"""Regions of pictures as a column of batches. Does not know: files of regions, detectors, networks.

B rows, M examples, N pictures of an example, R regions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import numpy
import torch

from pairloom.data.detected import Detected, Floats
from pairloom.data.feed import RegionFeed
from pairloom.data.loader import Drawn
from pairloom.data.order import Rows
from pairloom.data.pair import content_hash
from pairloom.data.pixels import Unreadable
from pairloom.data.records import Regions
from pairloom.errors import Mistake


@runtime_checkable
class RegionSource(Protocol):
    """Regions by record: a RegionSet, or a dict."""

    def __getitem__(self, record: str, /) -> Detected: ...


@dataclass(frozen=True)
class RegionColumn:
    """`regions` of the pictures of the rows or texts that a batch has. source: record -> Detected; records [M]: those of each
    row's pictures. shows [K N]: the rows whose pictures each text is about (its own row without it), each of which then has one
    picture. bad: record -> reason of each that could not be used."""

    source: RegionSource
    records: Sequence[Sequence[str]]
    feed: RegionFeed
    shows: Rows | None = None
    bad: dict[str, str] = field(default_factory=dict)
    chances: int = 0

    def identity(self) -> str:
        shows = b"" if self.shows is None else self.shows.tobytes()
        return content_hash(repr((list(self.records), self.feed)).encode(), shows)

    def unreadable(self) -> dict[str, str]:
        """Records that could not be used so far, and why."""
        return self.bad

    def read(self, drawn: Drawn) -> tuple[Mapping[str, Any], Rows | None]:
        """A row with a record that cannot be used shows another row. Mistake where none can be."""
        if self.shows is None:
            rows = [self.records[row] for row in drawn.here(drawn.rows)]
        else:
            rows = [[self.records[at][0] for at in row] for row in self.shows[drawn.here(drawn.texts)]]
        detected = [self._row(records) for records in rows]
        whole = [at for at, row in enumerate(detected) if row is not None]
        if not whole:
            reason = next(iter(self.bad.values()))
            raise Mistake(
                "Not one picture of a whole batch has regions that can be used.", f"For one: {reason}."
            )
        place = numpy.array(
            [at if detected[at] is not None else whole[at % len(whole)] for at in range(len(rows))]
        )
        shown = [row for at in place if (row := detected[at]) is not None]
        return {"regions": collate_regions(shown, self.feed)}, place

    def _row(self, records: Sequence[str]) -> list[Detected] | None:
        row = []
        for record in records:
            try:
                one = self.source[record]
                if reason := misfit(one, self.feed):
                    raise Unreadable(reason)
            except Unreadable as error:
                self.bad[record] = str(error)
                return None
            row.append(one)
        return row


def collate_regions(detected: Sequence[Sequence[Detected]], feed: RegionFeed) -> Regions:
    """[B N R ...] of the regions of B examples of N pictures: at most feed.most of each, padded to the most there are here.

    Mistake where regions have another width than the model reads, or lack the class probabilities that it needs.
    """
    flat = [one for row in detected for one in row]
    for one in flat:
        _check(one, feed)
    most = max(1, *(min(len(one.features), feed.most) for one in flat))

    def padded(arrays: list[Floats]) -> torch.Tensor:
        rows = numpy.zeros((len(arrays), most, arrays[0].shape[1]), numpy.float32)
        for row, array in zip(rows, arrays):
            row[: min(len(array), most)] = array[:most]
        return torch.from_numpy(rows).unflatten(0, (len(detected), -1))

    counts = torch.tensor([min(len(one.features), most) for one in flat])
    mask = (torch.arange(most) < counts[:, None]).unflatten(0, (len(detected), -1))
    classes = [one.class_probabilities for one in flat if one.class_probabilities is not None]
    known = [one.attribute_probabilities for one in flat if one.attribute_probabilities is not None]
    all_known = bool(feed.attributes) and [one.shape[1] for one in known] == [feed.attributes] * len(flat)
    return Regions(
        padded([one.features for one in flat]),
        padded([one.boxes for one in flat]),
        mask,
        padded(classes) if feed.classes else None,
        padded(known) if all_known else None,
    )


def misfit(one: Detected, feed: RegionFeed) -> str:
    """Why these regions are not what a model reads; "" where they are."""
    count, width = one.features.shape
    classes = None if one.class_probabilities is None else one.class_probabilities.shape[1]
    if one.boxes.shape == (count, 4) and width == feed.features and feed.classes in (0, classes):
        return ""
    wanted = f"features of {feed.features}" + f" and {feed.classes} class probabilities" * bool(feed.classes)
    return f"it has features of {width} and {classes or 'no'} class probabilities, the model reads {wanted}"


def _check(one: Detected, feed: RegionFeed) -> None:
    if reason := misfit(one, feed):
        raise Mistake(
            "The regions of a picture do not fit the model.",
            f"{reason[:1].upper()}{reason[1:]}.",
            "Run the detector that the model was made for.",
        )
