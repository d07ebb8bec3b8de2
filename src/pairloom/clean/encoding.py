"""Raw features of a set for the ridge judge, shard by shard. A step of `clean` before the judge is trained.

Does not know: the space that a judge compares in, regression, scores.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from pairloom.clean.audited_shard import AuditedShard
from pairloom.clean.feature_store import distinct_texts, part_of, write_encoded
from pairloom.clean.rows import SCORED, Rows, read_part
from pairloom.data.pair import seed_of
from pairloom.data.shards import Shard
from pairloom.regression.features import Encoders
from pairloom.towers.handmade import SAMPLE, HandmadeFeatures


@dataclass(frozen=True)
class EncodeTask:
    """Task of encoding one shard. encoders: the folder that they are saved in."""

    work: Path
    shard: Shard
    size: int
    encoders: Path
    device: str = "cpu"

    @property
    def part(self) -> Path:
        return part_of(self.work, self.shard.name)


def learn_encoders(
    rows: Rows, size: int, image_tower: str | None, text_tower: str | None, seed: int, device: str
) -> Path:
    """Learn the dictionary of hand-made features from the set's pictures, and save the encoders. Returns their folder."""
    folder = rows.work / "encoders"
    if not (folder / "encoders.json").exists():
        usable = np.flatnonzero(np.fromiter(rows.column("usable"), bool, len(rows)))
        draw = np.random.default_rng(seed_of("dictionary", seed))
        chosen = np.sort(draw.permutation(usable)[:SAMPLE])
        pixels = rows.pixels[chosen] if len(chosen) else np.zeros((1, size, size, 3), np.uint8)
        Encoders(HandmadeFeatures.learn(pixels), image_tower, text_tower, device).save(folder)
    return folder


@lru_cache(maxsize=1)
def open_encoders(folder: Path, device: str) -> Encoders:
    """The encoders in a folder, loaded once by each process."""
    return Encoders.load(folder, device)


def encode_shard(task: EncodeTask) -> int:
    """Write the raw features of a shard's pictures and of its distinct texts; the part on disk is the commit mark."""
    part = read_part(task.work / "rows", task.shard.name, ["usable", SCORED])
    usable, texts = (part.column(name).to_pylist() for name in ("usable", SCORED))
    if not task.part.exists():
        encoders = open_encoders(task.encoders, task.device)
        source = AuditedShard(task.work, task.shard)
        wanted = [row for row, fine in enumerate(usable) if fine]
        pictures = np.zeros((len(usable), sum(encoders.widths)), np.float16)
        if wanted:
            pixels, _ = source.pixels(wanted, task.size)
            pictures[wanted] = encoders.pictures(pixels, lambda: files_of(source, wanted))
        distinct = distinct_texts(texts)
        arrays = {"pictures": pictures, "texts": encoders.sentences(distinct)}
        write_encoded(task.part, arrays, encoders.identity)
    return sum(map(len, texts))


def files_of(source: AuditedShard, rows: Sequence[int]) -> list[bytes | None]:
    """The encoded pictures of rows; None where one cannot be read."""
    files = dict(source.encoded(sorted(set(rows))))
    return [files.get(row) for row in rows]
