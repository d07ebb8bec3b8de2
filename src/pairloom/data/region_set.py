"""Region sets: regions of many pictures in one of the layouts of `region_files`, joined to pictures by name or id.

Does not know: any one layout, tensors, networks.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any

from pairloom import registry
from pairloom.data.detected import Detected, checked
from pairloom.data.pair import Blob
from pairloom.data.pixels import Unreadable
from pairloom.errors import Mistake

ROOM = "data.region_files"
SUFFIX = re.compile(r"\.(jpe?g|png|webp|gif|bmp|tiff?|npz|npy)$", re.IGNORECASE)
# names that hold the number of a picture: COCO's and what features of COCO, Flickr30k and Visual Genome are called
NUMBERED = re.compile(r"(?:(?:coco_)?(?:train|val|test)20\d\d_|flickr30k_|vg_)?0*(\d+)", re.IGNORECASE)
RENAMED = re.compile(r"nlvr2_", re.IGNORECASE)  # put before the name of a picture by UNITER's features
HOW = (
    "Make them: pairloom regions PICTURES --detector FOLDER --out DIR; then give --regions DIR (docs/regions.md). "
    "From Python: pairloom.load(MODEL, regions=DIR)."
)


@dataclass(frozen=True, eq=False)
class RegionSet:
    """The regions of many pictures. layout: its name in `region_files`; places: record -> where it lies."""

    path: Path
    layout: str
    places: Mapping[str, Any] = field(repr=False)

    def __getitem__(self, record: str) -> Detected:
        """The regions of a record, checked. KeyError where there is no such record; Unreadable where it cannot be used."""
        return checked(registry.find(ROOM, self.layout).read(self.path, self.places[record]))

    def __iter__(self) -> Iterator[str]:
        return iter(self.places)

    def __len__(self) -> int:
        return len(self.places)

    @cached_property
    def _aliases(self) -> dict[str, str | None]:
        """What a picture may be called -> its record; None where two records share the name."""
        known: dict[str, str | None] = {}
        for record in self.places:
            for name in _names(record):
                known[name] = record if known.get(name, record) == record else None
        return known

    def find(self, names: Iterable[str]) -> str | None:
        """The record of the picture that is called one of these: its key, its path, its name with or without a suffix, or the
        number in it. None where there is none, or where a name fits two."""
        for name in filter(None, names):
            if name in self.places:
                return name
        for alias in (alias for name in filter(None, names) for alias in _names(name)):
            if record := self._aliases.get(alias):
                return record
        return None

    def of(self, names: Sequence[str]) -> Detected:
        """The regions of a picture. Unreadable where there are none, or none that can be used."""
        record = self.find(names)
        if record is None:
            raise Unreadable(f"no regions of it in {self.path}")
        try:
            return self[record]
        except Unreadable as error:
            raise Unreadable(f"its regions cannot be used: {error}") from error

    def of_one(self, names: Sequence[str]) -> Detected:
        """`of` for one picture that somebody asks about: Mistake where there are none."""
        try:
            return self.of(names)
        except Unreadable as error:
            raise Mistake(f"{names[0]} cannot be read as regions.", f"{error}.", HOW) from error


def open_regions(path: Path | str) -> RegionSet:
    """The regions at a path, in whichever layout they are. Mistake where there are none, or several layouts claim it."""
    path = Path(path)
    if not path.exists():
        raise Mistake(f"There is nothing at {path}.", "The path does not exist.", "Check the spelling.")
    layout = layout_of(path)
    if not layout:
        known = "".join(f"\n  {registry.find(ROOM, name).CLAIM}" for name in registry.names(ROOM))
        raise Mistake(f"{path} has no regions that can be read.", f"Known layouts:{known}", HOW)
    places = registry.find(ROOM, layout).index(path)
    if not places:
        raise Mistake(f"{path} has no regions.", "It is empty.", HOW)
    return RegionSet(path, layout, places)


def layout_of(path: Path) -> str:
    """The name of the layout of regions at a path; "" where there is none. Mistake where several claim it."""
    names = registry.names(ROOM) if path.exists() else []
    fits = [name for name in names if registry.find(ROOM, name).sniff(path)]
    if len(fits) > 1:
        raise Mistake(f"{path} fits several layouts of regions: {', '.join(fits)}.", "", "Name one file.")
    return fits[0] if fits else ""


def picture_names(key: str = "", name: str = "", blob: Blob | None = None) -> list[str]:
    """What a picture may be called in a region set: the hash of its bytes, what its set calls it, its file."""
    file = blob.path.name if blob is not None and blob.path is not None and blob.size is None else ""
    return [one for one in (key, name, blob.name if blob is not None else "", file) if one]


def not_joined(regions: RegionSet, names: Sequence[str]) -> Mistake:
    """The Mistake for a set none of whose pictures has regions; names: of some of its pictures."""
    theirs, ours = ", ".join(list(regions)[:3]), ", ".join(names[:3]) or "nothing"
    return Mistake(
        f"None of the set's pictures has regions in {regions.path}.",
        f"Its records are called {theirs} ...; the set's pictures {ours} ...: they are regions of other pictures.",
        HOW,
    )


def _names(name: str) -> Iterator[str]:
    """A name, its last part, this without suffix, and the number in it."""
    last = PurePosixPath(name.replace("\\", "/")).name
    bare = SUFFIX.sub("", last)
    yield from dict.fromkeys((name, last, bare, RENAMED.sub("", bare)))
    if number := NUMBERED.fullmatch(bare):
        yield f"number {int(number[1])}"
