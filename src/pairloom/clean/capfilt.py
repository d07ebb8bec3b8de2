"""CapFilt (BLIP, section 3.3): proposed captions for pairs without a text, and their scores. Step 4 of `clean`.

The captioner proposes captions (beam search, or nucleus sampling as in the paper), and the filter scores them. The filter is the cross-fitted judge of the
set's own texts, so that one calibration holds for all texts. Proposals of a picture are ordered by the sum of score and
log-probability: the judge, which was trained to separate whole captions, does not notice a wrong detail, to which the
captioner gives a low probability (docs/log.md).
Does not know: decisions.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
import pyarrow.parquet as pq
import torch

from pairloom.clean.audited_shard import AuditedShard
from pairloom.clean.picture_source import PairJudge, PictureSource
from pairloom.clean.rows import LEARN, read_part
from pairloom.clean.scoring import write_scores
from pairloom.data.pair import seed_of
from pairloom.data.pixels import Unreadable, open_image
from pairloom.data.shards import Shard
from pairloom.data.transform import Transform
from pairloom.tasks.caption import caption
from pairloom.tasks.decode import Writing
from pairloom.verbs import able
from pairloom.weights import load as load_model

GROUP = 64  # pictures that are captioned together


@runtime_checkable
class Captioner(Protocol):
    """Interface of a captioner. It is pickled to every worker, so it refers to large files by path and loads them when
    needed."""

    @property
    def name(self) -> str: ...

    def write(
        self, pictures: PictureSource, rows: Sequence[int], seeds: Sequence[int]
    ) -> Iterator[tuple[int, str, float]]:
        """Captions of these rows as (row, caption, log-probability), several for each row, drawn by the row's seed."""
        ...


@dataclass(frozen=True)
class ModelCaptioner:
    """Captioner from a model folder. decode, top_p, several: options of decoding."""

    where: str
    name: str
    decode: str = "beam"
    top_p: float = 0.9
    several: int = 6
    device: str = "cpu"

    def writing(self, length: int) -> Writing:
        if self.decode == "beam":
            return Writing(
                "beam", beams=max(3, self.several), several=self.several, max_length=length, min_length=3
            )
        return Writing("nucleus", top_p=self.top_p, several=self.several, max_length=length, min_length=3)

    def write(
        self, pictures: PictureSource, rows: Sequence[int], seeds: Sequence[int]
    ) -> Iterator[tuple[int, str, float]]:
        model = _model(self.where, self.device)
        seed = dict(zip(rows, seeds))
        for start in range(0, len(rows), GROUP):
            kept, images = self._images(model, pictures, rows[start : start + GROUP])
            if not kept:
                continue
            with torch.no_grad():
                written = caption(
                    model, images, self.writing(model.config.length), [seed[row] for row in kept]
                )
            for row, several in zip(kept, written):
                for text in several:
                    if text.text:
                        yield row, text.text, text.log_probability

    def _images(
        self, model: Any, pictures: PictureSource, rows: Sequence[int]
    ) -> tuple[list[int], torch.Tensor]:
        """The rows' pictures in the captioner's size: from the audit's pixels where these have that size, else from the
        files."""
        stored = pictures.stored if isinstance(pictures, AuditedShard) else None
        if type(model.pixels) is not Transform:
            stored = None
        if stored is not None and stored.shape[1] == model.pixels.size:
            kept, pixels = list(rows), [stored[row] for row in rows]
        else:
            kept, pixels = [], []
            for row, data in pictures.encoded(rows):
                try:
                    pixels.append(model.pixels.to_uint8(open_image(data)))
                except Unreadable:
                    continue
                kept.append(row)
        images = torch.from_numpy(model.pixels.normalise(np.stack(pixels))) if kept else torch.zeros(0)
        return kept, images.to(model.device)


@lru_cache(maxsize=1)
def _model(where: str, device: str) -> Any:
    return load_model(where).to(device).eval()


def can_write(where: Path | str) -> bool:
    """Whether a model declares that it writes captions."""
    return able(load_model(where).system, "caption") is not None


@dataclass(frozen=True)
class CaptionTask:
    """Task of proposing captions for one shard. folder: for the captions; draft: the folder of its decisions so far; every:
    for all usable pairs, not only for those without a text."""

    work: Path
    shard: Shard
    folder: Path
    draft: Path
    judge: PairJudge
    captioner: Captioner
    seed: int
    every: bool = False

    @property
    def part(self) -> Path:
        return self.folder / f"{self.shard.name}.parquet"

    def wanted(self) -> list[int]:
        """The usable rows without a text, or all usable ones with `every`."""
        usable = read_part(self.work / "rows", self.shard.name, ["usable"]).column("usable").to_pylist()
        texts = read_part(self.draft, self.shard.name, [LEARN]).column(LEARN).to_pylist()
        return [row for row, fine in enumerate(usable) if fine and (self.every or not texts[row])]


def caption_shard(task: CaptionTask) -> int:
    """Propose and score captions for the task's rows, those of a row in falling order of score + log-probability; the part on
    disk is the commit mark."""
    if task.part.exists():
        return pq.read_metadata(task.part).num_rows
    pictures, rows = AuditedShard(task.work, task.shard), task.wanted()
    keys = pictures.column("key")
    seeds = [seed_of(keys[row], "caption", task.seed) for row in rows]
    proposals = list(task.captioner.write(pictures, rows, seeds)) if rows else []
    owners, texts = [row for row, _, _ in proposals], [text for _, text, _ in proposals]
    scores = task.judge.score(pictures, owners, texts) if proposals else np.zeros(0)
    sure = scores + np.array([probability for _, _, probability in proposals])
    order = sorted(range(len(proposals)), key=lambda at: (owners[at], -sure[at], texts[at]))
    write_scores(
        task.part, [owners[at] for at in order], range(len(order)), [texts[at] for at in order], scores[order]
    )
    return len(proposals)
