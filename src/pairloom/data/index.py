"""Image index: where the pictures of a set lie and what their texts say, small enough to hold; and pictures read through it.

About 40 bytes a picture beside its texts. Bytes that lie inside a table are copied once into a nameless file.
Does not know: tokens of any kind, networks, the order of training.

M pictures, B rows, H = W sides of a picture.
"""

from __future__ import annotations

import math
import os
import sys
import tempfile
import threading
import weakref
from array import array
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO

import numpy
import torch
from torch import Tensor

from pairloom.data.disk import unwritable
from pairloom.data.order import Rows
from pairloom.data.pair import Blob, Pair, content_hash
from pairloom.data.pixels import Unreadable, open_image
from pairloom.data.region_set import RegionSet, not_joined, picture_names
from pairloom.data.transform import Transform
from pairloom.errors import Mistake

WHOLE = -1  # size of a picture that is a file of its own
NO_REGIONS = "no regions of its picture"
SPOOLED = -1  # file of a picture whose bytes were inside a table


class Strings:
    """Many byte strings as one run of bytes."""

    def __init__(self) -> None:
        self.data, self.start = bytearray(), array("q", [0])

    def __len__(self) -> int:
        return len(self.start) - 1

    def __getitem__(self, at: int) -> bytes:
        return bytes(self.data[self.start[at] : self.start[at + 1]])

    def append(self, value: bytes) -> None:
        self.data += value
        self.start.append(len(self.data))


class ImageIndex:
    """The usable pairs of a set in the order they came: M pictures and their texts.

    skipped: reason -> how many pairs were left out (no text, no regions, or the pair's own problem). records [M]: of the
    pictures' regions, where the index has any.
    """

    def __init__(self, folder: Path | None = None, regions: RegionSet | None = None) -> None:
        """folder: where the nameless file goes; it is gone with the process, however that ends. regions: pictures without a
        record in it are left out."""
        self.folder, self.regions = folder, regions
        self.records: list[str] = []
        self.without: list[str] = []  # names of some pictures without regions
        self.paths, self.texts = Strings(), Strings()
        self.file, self.offset, self.size = array("q"), array("q"), array("q")
        self.key, self.first = array("q"), array("q", [0])
        self.classes: list[str] = []
        self.skipped: Counter[str] = Counter()
        self.spool: IO[bytes] | None = None
        self.reading = threading.Lock()

    @classmethod
    def of(
        cls, pairs: Iterable[Pair], folder: Path | None = None, regions: RegionSet | None = None
    ) -> ImageIndex:
        """Read a set once. Raises Mistake where nothing in it can be learned from."""
        index = cls(folder, regions)
        for pair in pairs:
            index.add(pair)
        if not len(index):
            index.demand_joined()
            reasons = "; ".join(f"{count} pairs: {reason}" for reason, count in index.skipped.most_common(3))
            raise Mistake(
                "There is nothing to learn from.",
                reasons or "The set has no pairs.",
                "pairloom check PAIRS says more.",
            )
        return index

    def __len__(self) -> int:
        return len(self.file)

    def add(self, pair: Pair) -> None:
        """Take a pair, or count why not."""
        texts = [text.text for text in pair.texts if text.text.strip()]
        if pair.problem or not texts:
            self.skipped[pair.problem or "no text"] += 1
            return
        record = self.record(pair.image, pair.image_key, pair.name)
        if record is None:
            self.skipped[NO_REGIONS] += 1
            return
        self.place(pair.image, pair.image_key, record)
        self.classes.append(sys.intern(str(pair.meta.get("class", ""))))
        for text in texts:
            self.texts.append(text.encode("utf-8", "replace"))
        self.first.append(len(self.texts))

    def record(self, blob: Blob, image_key: str, name: str = "") -> str | None:
        """The record of a picture's regions; "" where the index has no regions, None where this picture has none."""
        if self.regions is None:
            return ""
        names = picture_names(image_key, name, blob)
        record = self.regions.find(names)
        if record is None and len(self.without) < 3:
            self.without.append(names[-1])
        return record

    def demand_joined(self) -> None:
        """Mistake where pictures were left out for want of regions, and none is in the index."""
        if self.regions is not None and self.without and not len(self):
            raise not_joined(self.regions, self.without)

    def place(self, blob: Blob, image_key: str, record: str = "") -> int:
        """Take a picture by itself: its row."""
        self._locate(blob)
        if self.regions is not None:
            self.records.append(record)
        self.key.append(int(image_key[:16], 16) >> 1)
        return len(self) - 1

    def _locate(self, blob: Blob) -> None:
        if blob.data is not None:
            self.file.append(SPOOLED)
            self.offset.append(self._keep(blob.data))
            self.size.append(len(blob.data))
            return
        assert blob.path is not None
        path = os.fsencode(blob.path)
        if not len(self.paths) or self.paths[len(self.paths) - 1] != path:
            self.paths.append(path)
        self.file.append(len(self.paths) - 1)
        self.offset.append(blob.offset)
        self.size.append(WHOLE if blob.size is None else blob.size)

    def _keep(self, data: bytes) -> int:
        try:
            if self.spool is None:
                self.spool = tempfile.TemporaryFile(dir=self.folder)
                weakref.finalize(self, self.spool.close)
            at = self.spool.tell()
            self.spool.write(data)
        except OSError as error:
            raise unwritable(self.folder or Path(tempfile.gettempdir()), error) from error
        return at

    def read(self, row: int) -> bytes:
        """The encoded picture. Raises OSError where it cannot be read."""
        offset, size = self.offset[row], self.size[row]
        if self.file[row] == SPOOLED:
            assert self.spool is not None
            with self.reading:
                self.spool.seek(offset)
                return self.spool.read(size)
        return Blob(self.path(row), offset, None if size == WHOLE else size).read()

    def path(self, row: int) -> Path:
        """The file that a picture lies in, itself or among others."""
        return Path(os.fsdecode(self.paths[self.file[row]]))

    def words(self) -> Iterable[list[str]]:
        """The texts of each picture in turn."""
        for start, stop in zip(self.first, self.first[1:]):
            yield [self.texts[at].decode() for at in range(start, stop)]

    def ids(self) -> Rows:
        """[M] equal numbers for pictures of the same bytes."""
        return numpy.unique(numpy.asarray(self.key), return_inverse=True)[1].astype(numpy.int64)

    def class_ids(self) -> Rows | None:
        """[M] equal numbers for pictures of one class (metadata `class` of the pairs); None where one has none."""
        if len(self.classes) != len(self) or not all(self.classes):
            return None
        return numpy.unique(numpy.asarray(self.classes), return_inverse=True)[1].astype(numpy.int64)

    def split(self, share: float) -> tuple[Rows, Rows]:
        """Rows to learn from and rows held out: about `share` of the pictures, chosen by their content alone, so that
        the same picture is held out in every set it appears in."""
        held = numpy.asarray(self.key) % 1_000_003 < share * 1_000_003
        return numpy.flatnonzero(~held), numpy.flatnonzero(held)


@dataclass
class DecodedImages:
    """Pictures read from an index when they are asked for. bad: name -> reason of each that could not be read.

    train: use the transform's random crop, flip and RandAugment; the evaluation view otherwise.
    """

    index: ImageIndex
    transform: Transform
    train: bool = True
    bad: dict[str, str] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.index)

    def identity(self) -> str:
        return content_hash(bytes(self.index.key), repr((self.transform, self.train)).encode())

    def look(self, rows: Rows, chance: Tensor, sided: Tensor) -> tuple[Tensor, Rows]:
        """Raises Mistake where no picture of the rows can be read."""
        seeds = chance.numpy().view(numpy.uint32).tolist()
        decoded = [self._one(int(row), seed, bool(side)) for row, seed, side in zip(rows, seeds, sided)]
        readable = [place for place, pixels in enumerate(decoded) if pixels is not None]
        if not readable:
            reason = next(iter(self.bad.values()))
            raise Mistake(
                "Not one picture of a whole batch can be read.",
                f"For one: {reason}.",
                "Is the set still there?",
            )
        shown = numpy.array(
            [
                place if decoded[place] is not None else readable[place % len(readable)]
                for place in range(len(rows))
            ]
        )
        pixels = numpy.stack([pixels for place in shown if (pixels := decoded[place]) is not None])
        return torch.from_numpy(self.transform.normalise(pixels)), shown

    def _one(self, row: int, seed: list[int], sided: bool) -> numpy.ndarray | None:
        transform = replace(self.transform, flip=self.transform.flip and not sided)
        least = transform.crop_scale[0] if self.train and transform.crop_scale else 1.0
        try:
            image = open_image(self.index.read(row), shrink_to=math.ceil(transform.size / math.sqrt(least)))
        except (OSError, Unreadable) as error:
            name = "a table" if self.index.file[row] == SPOOLED else self.index.path(row)
            self.bad[f"{name}, byte {self.index.offset[row]}"] = str(error)
            return None
        return transform.to_uint8(image, numpy.random.default_rng(seed) if self.train else None)
