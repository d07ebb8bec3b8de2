"""`clean` with a judge that sees colours and patterns, and a captioner that names them: exact, and quick.

    python oracle.py RAW OUT WORKERS

What is under test is the main job around the judge; how good a learnt judge is, is measured elsewhere.
"""

from __future__ import annotations

import sys
from pathlib import Path

import colours
import numpy as np

from pairloom.clean import capfilt, judging
from pairloom.clean.plan import Settings
from pairloom.clean.run import clean
from pairloom.data.pair import seed_of
from pairloom.data.pixels import open_image
from pairloom.data.shards import read

MODEL = "model"  # the folder beside the set that --model names; nobody asks it
SETTINGS = Settings(model=MODEL, size=32, proposals=2)


def truth(data: bytes) -> str:
    """What a picture of these sets shows."""
    pixels = np.asarray(open_image(data), np.float64)
    middle = np.median(pixels.reshape(-1, 3), axis=0)
    colour = min(colours.COLOURS, key=lambda name: float(np.abs(middle - colours.COLOURS[name]).sum()))
    odd = np.abs(pixels - 127).max(-1) < 40
    share = float(odd.mean())
    return colours.said(colour, "striped" if share > 0.15 else "dotted" if share > 0.02 else "plain")


class Oracle:
    """Scores 3 where the text names the colour, else -3, with a little noise that the pair's content decides."""

    way = "oracle"

    def __init__(self, where: str, shard: object, first: int) -> None:
        self.shard, self.first = shard, first

    def score(self, rows: list[int], texts: list[str]) -> np.ndarray:
        shown = {self.first + at: pair for at, pair in enumerate(read(self.shard))}  # type: ignore[arg-type]
        colour = {row: truth(shown[row].image.read()).split()[2] for row in set(rows)}
        scores = []
        for row, text in zip(rows, texts):
            right = colour[row] in text.split()
            noise = seed_of(shown[row].key, text) % 1000 / 1000
            scores.append((3 if right else -3) + noise)
        return np.array(scores)


def write(asked: capfilt.Proposing) -> list[tuple[int, str, float]]:
    """Two proposals for each picture: the right one and a wrong one."""
    first = judging.load_rows(asked.job.work, tuple(s.name for s in asked.job.shards)).first[asked.job.index]
    pairs = list(read(asked.job.shards[asked.job.index]))
    return [
        (row, text, 0.0)
        for row in asked.rows
        for text in (truth(pairs[row - int(first)].image.read()), "a plain nothing")
    ]


def install() -> None:
    """Put the oracles in the place of models, in this process."""
    judging.ModelJudge = Oracle  # type: ignore[misc, assignment]
    judging.able = lambda where: ["oracle"]
    judging.can_write = lambda where: True
    capfilt._write = write


if __name__ in ("__main__", "__mp_main__"):
    install()
if __name__ == "__main__":
    raw, out, workers = sys.argv[1:]
    (Path(raw).parent / MODEL).mkdir(exist_ok=True)
    clean(raw, out, SETTINGS, workers=int(workers))
