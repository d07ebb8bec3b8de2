"""Rows of a set's pictures by a frozen image tower, shard by shard, for models that are trained on them.

Does not know: systems, texts, training.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor

from pairloom.clean.audited_shard import AuditedShard
from pairloom.clean.plan import already
from pairloom.clean.rows import Rows
from pairloom.data.cached import CachedImages
from pairloom.data.disk import atomic_write
from pairloom.data.pixels import Unreadable, open_image
from pairloom.data.shards import Shard
from pairloom.frozen import TowerPixels, TowerRows
from pairloom.scale import Execution

AXES, SAMPLE = 256, 400  # principal axes of the rows, and pictures that they are learnt from
TOWER, CHOSEN = "tower.safetensors", "chosen.npy"


@dataclass(frozen=True)
class TowerTask:
    """Task of encoding one shard. folder: for the parts, with the tower and the rows of the set that are to be encoded. first:
    the shard's first row."""

    work: Path
    shard: Shard
    folder: Path
    first: int
    device: str = "cpu"

    @property
    def part(self) -> Path:
        return self.folder / f"{self.shard.name}.safetensors"


def encode_pictures(
    folder: Path, rows: Rows, shards: Sequence[Shard], chosen: NDArray[np.int64], tower: str, seed: int, execution: Execution,
    tell: Callable[..., None], device: str = "cpu", like: Path | None = None,
) -> None:  # fmt: skip
    """Encode the chosen rows of a set, which rise, into a folder of parts. like: the folder of another set with the same axes."""
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / TOWER).exists():
        if like is not None:
            learnt = TowerRows.load(like / TOWER)
        else:
            sample = np.sort(np.random.default_rng(seed).permutation(chosen)[:SAMPLE])
            pictures = TowerPixels.of(tower).prepared(_files(rows, shards, sample))
            learnt = TowerRows(tower, AXES).learn(pictures)
        with atomic_write(folder / CHOSEN, replace=True) as file:
            np.save(file, chosen)
        learnt.save(folder / TOWER)  # last, since it marks a whole plan
    tasks = [
        TowerTask(rows.work, shard, folder, int(first), device) for shard, first in zip(shards, rows.first)
    ]
    tell("encode pictures", 0, len(tasks), note=already(task.part for task in tasks))
    for _, count in execution.run(encode_shard, tasks):
        tell("encode pictures", 1, len(tasks), note=f"{count} pictures")


def _files(rows: Rows, shards: Sequence[Shard], chosen: NDArray[np.int64]) -> Iterator[bytes]:
    """Encoded pictures of rows, one at a time."""
    for shard, first, stop in zip(shards, rows.first, rows.first[1:]):
        here = chosen[(chosen >= first) & (chosen < stop)] - first
        if len(here):
            yield from (data for _, data in AuditedShard(rows.work, shard).encoded(here.tolist()))


@lru_cache(maxsize=1)
def _tower(file: Path, _: int) -> TowerRows:
    return TowerRows.load(file)


def encode_shard(task: TowerTask) -> int:
    """Write the rows of a shard's chosen pictures, in half precision; the part on disk is the commit mark. A picture that cannot
    be read any more has zeros."""
    chosen = np.load(task.folder / CHOSEN)
    file = task.folder / TOWER
    tower = _tower(file, file.stat().st_mtime_ns)
    pixels, source = TowerPixels.of(tower.where), AuditedShard(task.work, task.shard)
    span = len(source.column("key"))
    here = chosen[(chosen >= task.first) & (chosen < task.first + span)]
    if task.part.exists():
        return len(here)
    encoded = dict[int, Tensor]()
    for row, data in source.encoded((here - task.first).tolist()) if len(here) else ():
        try:
            encoded[row] = tower.rows(pixels.to_uint8(open_image(data))[None], task.device)[0].half()
        except Unreadable:
            continue
    if len(encoded) < len(here):
        black = np.zeros((1, pixels.size, pixels.size, 3), np.uint8)
        empty = torch.zeros_like(tower.rows(black, task.device)[0]).half()
        encoded = {row: encoded.get(row, empty) for row in (here - task.first).tolist()}
    table = [encoded[row] for row in (here - task.first).tolist()]
    stacked = torch.stack(table) if table else torch.zeros(0)
    with atomic_write(task.part) as out:
        out.write(save({"rows": stacked}))
    return len(here)


def encoded_rows(folder: Path, total: int) -> NDArray[np.bool_]:
    """Which of the rows of a set are in a folder of parts."""
    there = np.zeros(total, bool)
    there[np.load(folder / CHOSEN)] = True
    return there


def encoded_pictures(folder: Path, shards: Sequence[str], total: int) -> CachedImages:
    """The encoded rows of all shards as the loader's pictures. total: rows of the set."""
    chosen = np.load(folder / CHOSEN)
    parts = []
    for shard in shards:
        with safe_open(folder / f"{shard}.safetensors", "pt") as stored:
            part = stored.get_tensor("rows")
        if len(part):
            parts.append(part)
    place = np.full(total, -1)
    place[chosen] = np.arange(len(chosen))
    return CachedImages(torch.cat(parts)[:, None], place)
