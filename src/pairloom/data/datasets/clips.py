"""Videos with what is said in them: NAME.npy or NAME.npz, the features of a video's clips, beside NAME.txt, a text a line.

Does not know: networks, clusters.

M videos.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy
import torch

from pairloom.data.clips import SUFFIXES, ClipFeatures, collate_clips, read_clips
from pairloom.data.feed import ClipFeed
from pairloom.data.loader import Drawn, Loader, NumberColumn, TextColumn, TextTable
from pairloom.data.order import Rows
from pairloom.data.pair import content_hash
from pairloom.data.pixels import Unreadable
from pairloom.data.tokens import Tokens
from pairloom.errors import Mistake

SAMPLE = 100_000  # most clips that clusters are learned from


@dataclass
class VideoIndex:
    """The usable videos of a folder. skipped: reason -> how many were left out."""

    videos: list[ClipFeatures] = field(default_factory=list)
    texts: list[list[str]] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)
    skipped: Counter[str] = field(default_factory=Counter)


class Dataset:
    """Dataset adapter (see `data/datasets`). The features of all videos are held: 4 bytes a number."""

    def __init__(self, path: Path, folder: Path | None) -> None:
        self.index = VideoIndex()
        for file in sorted(one for one in path.rglob("*") if one.suffix in SUFFIXES):
            self._add(file)
        if not self.index.videos:
            reasons = "; ".join(f"{count}: {why}" for why, count in self.index.skipped.most_common(3))
            raise Mistake(
                "There is nothing to learn from.",
                reasons or f"{path} has no .npy or .npz.",
                "Give a folder with NAME.npy, the features of a video's clips, and NAME.txt, what is said in it.",
            )
        self.count = sum(map(len, self.index.texts))

    def _add(self, file: Path) -> None:
        try:
            spoken = file.with_suffix(".txt").read_text("utf-8").splitlines()
            video = read_clips(file)
        except OSError:
            self.index.skipped["no text beside it"] += 1
            return
        except (UnicodeDecodeError, Unreadable) as error:
            self.index.skipped[str(error).partition(":")[0]] += 1
            return
        texts = [line.strip() for line in spoken if line.strip()]
        if not texts:
            self.index.skipped["no text"] += 1
            return
        self.index.videos.append(video)
        self.index.texts.append(texts)
        self.index.keys.append(content_hash(video.features.tobytes()))

    def words(self) -> Iterable[list[str]]:
        return self.index.texts

    def vectors(self) -> torch.Tensor:
        """Features of clips [n F] that clusters can be learned from: those of all videos, every so-manieth where there are many. Mistake
        where they have different widths."""
        widths = {one.features.shape[1] for one in self.index.videos}
        if len(widths) > 1:
            raise Mistake(
                f"Clips of {' and '.join(map(str, sorted(widths)))} features lie together.",
                "",
                "Split the set.",
            )
        every = numpy.concatenate([one.features for one in self.index.videos])
        return torch.from_numpy(every[:: 1 + len(every) // SAMPLE])

    def split(self, share: float) -> tuple[Rows, Rows]:
        """Videos to learn from and videos held out, by their content."""
        held = numpy.array([int(key[:12], 16) % 1_000_003 < share * 1_000_003 for key in self.index.keys])
        return numpy.flatnonzero(~held), numpy.flatnonzero(held)

    def loader(
        self, tokens: Tokens, config: Any, feed: ClipFeed, rows: Rows, training: bool, workers: int
    ) -> Loader:
        """One text of each video in every epoch."""
        table = TextTable.of(tokens, self.index.texts, config.length)
        clips = ClipColumn(self.index.videos, self.index.keys, feed)
        columns = (clips, TextColumn(table), NumberColumn("image_ids", numpy.arange(len(self.index.videos))))
        return Loader(columns, table, rows, workers=workers)


@dataclass(frozen=True)
class ClipColumn:
    """`clips` of M videos."""

    videos: Sequence[ClipFeatures]
    keys: Sequence[str]
    feed: ClipFeed
    chances: int = 0

    def identity(self) -> str:
        return content_hash(repr((list(self.keys), self.feed)).encode())

    def read(self, drawn: Drawn) -> tuple[Mapping[str, Any], Rows | None]:
        return {"clips": collate_clips([self.videos[row] for row in drawn.here(drawn.rows)], self.feed)}, None
