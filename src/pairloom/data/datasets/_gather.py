"""Gather: the examples of a set that can be learned from, and an index of their pictures, each held once.

Does not know: what is asked about the pictures.

M examples, N pictures of each.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numpy

from pairloom.data.asked import open_examples
from pairloom.data.index import NO_REGIONS, ImageIndex
from pairloom.data.order import Rows
from pairloom.data.region_set import RegionSet
from pairloom.errors import Mistake

E = TypeVar("E")


def gather(
    path: Path, folder: Path | None, kind: str, wrong: Callable[[Any], str], regions: RegionSet | None = None
) -> tuple[ImageIndex, list[Any], Rows]:
    """ImageIndex, examples [M] and the pictures [M N] of each. wrong(example): why it cannot be learned from, or "". regions: of the
    pictures, where they are read as such; an example without is left out.

    Raises Mistake where none can, or where examples have different numbers of pictures.
    """
    index = ImageIndex(folder, regions)
    places: dict[str, int] = {}
    kept: list[Any] = []
    shows: list[list[int]] = []
    for example in open_examples(path, kind):
        problem = example.problem or wrong(example)
        if problem:
            index.skipped[problem.partition(":")[0]] += 1
            continue
        records = [index.record(blob, key) for key, blob in zip(example.image_keys, example.images)]
        if None in records:
            index.skipped[NO_REGIONS] += 1
            continue
        for key, blob, record in zip(example.image_keys, example.images, records):
            if key not in places:
                places[key] = index.place(blob, key, record or "")
        kept.append(example)
        shows.append([places[key] for key in example.image_keys])
    if not kept:
        index.demand_joined()
        reasons = "; ".join(f"{count} examples: {reason}" for reason, count in index.skipped.most_common(3))
        raise Mistake(
            "There is nothing to learn from.", reasons or f"{path} has no {kind}.", "Check the set."
        )
    sizes = {len(row) for row in shows}
    if len(sizes) > 1:
        raise Mistake(
            f"{path} mixes {kind} about {' and '.join(map(str, sorted(sizes)))} pictures.",
            "",
            "Split the set.",
        )
    return index, kept, numpy.array(shows, numpy.int64)


def split(index: ImageIndex, shows: Rows, share: float) -> tuple[Rows, Rows]:
    """Examples to learn from and examples held out, by the picture of the smallest key: examples of the same pictures fall
    on the same side, in every set."""
    least = numpy.asarray(index.key)[shows].min(1)
    held = least % 1_000_003 < share * 1_000_003
    return numpy.flatnonzero(~held), numpy.flatnonzero(held)
