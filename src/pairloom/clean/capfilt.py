"""Propose captions where a pair has no text left, and let the judge score them. Step 4 of `clean`.

Source: BLIP, section 3.3: the captioner writes by nucleus sampling (p = 0.9), the filter judges. The filter here is
the same cross-fitted judge that judged the set's own texts, so that one P(match) holds for all. Among a picture's
proposals the first is the one of which judge and captioner together are surest: the judge, who learnt to tell whole
captions apart, is blind to a wrong detail that the captioner would hardly have written (docs/log.md).
Does not know: decisions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import torch

from pairloom.clean import judging
from pairloom.clean.judging import Job
from pairloom.data.pair import seed_of
from pairloom.data.pixels import Unreadable, open_image
from pairloom.data.shards import read as read_shard
from pairloom.tasks.caption import caption
from pairloom.tasks.decode import Writing

GROUP = 64  # pictures written about together


@dataclass(frozen=True)
class Proposing:
    """How captions are proposed for the rows of one shard. captioner: a model folder."""

    job: Job
    captioner: str
    rows: tuple[int, ...]
    way: str
    top_p: float
    several: int
    seed: int

    @property
    def part(self) -> Path:
        return self.job.folder / "captions" / f"{self.job.shards[self.job.index].name}.parquet"

    def writing(self, length: int) -> Writing:
        if self.way == "beam":
            return Writing(
                "beam", beams=max(3, self.several), several=self.several, max_length=length, min_length=3
            )
        return Writing("nucleus", top_p=self.top_p, several=self.several, max_length=length, min_length=3)


def propose_shard(asked: Proposing) -> int:
    """Write and score captions for the asked rows of a shard, the surest of each row first (score + log-probability);
    the part on disk is the commit mark."""
    if asked.part.exists():
        return pq.read_metadata(asked.part).num_rows
    found = list(_write(asked))
    rows, texts = [row for row, _, _ in found], [text for _, text, _ in found]
    scores = judging.judge_of(asked.job).score(rows, texts) if found else np.zeros(0)
    sure = scores + np.array([probability for _, _, probability in found])
    order = sorted(range(len(found)), key=lambda at: (rows[at], -sure[at], texts[at]))
    judging.write_scores(
        asked.part, [rows[at] for at in order], range(len(order)), [texts[at] for at in order], scores[order]
    )
    return len(found)


def _write(asked: Proposing) -> list[tuple[int, str, float]]:
    if not asked.rows:
        return []
    model = _captioner(asked.captioner)
    data = judging.load_rows(asked.job.work, tuple(shard.name for shard in asked.job.shards))
    keys = data.column("key")
    found: list[tuple[int, str, float]] = []
    for start in range(0, len(asked.rows), GROUP):
        rows = asked.rows[start : start + GROUP]
        images, kept = _pictures(asked, model, rows)
        seeds = [seed_of(keys[row], "caption", asked.seed) for row in kept]
        with torch.no_grad():
            written = caption(model, images, asked.writing(model.config.length), seeds)
        found += [
            (row, made.text, made.log_probability)
            for row, several in zip(kept, written)
            for made in several
            if made.text
        ]
    return found


def _pictures(asked: Proposing, model: Any, rows: Sequence[int]) -> tuple[torch.Tensor, list[int]]:
    """The rows' pictures as the captioner wants them: the audit's pixels where they are of its size, else the files."""
    data = judging.load_rows(asked.job.work, tuple(shard.name for shard in asked.job.shards))
    if model.pixels.size == data.pixels.shape[1]:
        return torch.from_numpy(model.pixels.normalise(np.stack([data.pixels[row] for row in rows]))), list(
            rows
        )
    wanted, first = set(rows), int(data.first[asked.job.index])
    kept, images = [], []
    for local, pair in enumerate(read_shard(asked.job.shards[asked.job.index])):
        if first + local in wanted:
            try:
                images.append(model.pixels.to_uint8(open_image(pair.image.read())))
                kept.append(first + local)
            except (Unreadable, OSError):
                continue
    return torch.from_numpy(model.pixels.normalise(np.stack(images))), kept


@lru_cache(maxsize=1)
def _captioner(where: str) -> Any:
    from pairloom.weights import load

    return load(where).eval()
