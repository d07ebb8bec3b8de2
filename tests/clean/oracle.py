"""`clean` with a judge that sees colours and patterns, and a captioner that names them: exact, and quick.

    python oracle.py RAW OUT WORKERS

What is under test is the main job around the judge; how good a learnt judge is, is measured elsewhere.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import colours
import numpy as np

from pairloom.clean.audited_shard import AuditedShard
from pairloom.clean.plan import CleanSettings
from pairloom.clean.result import CleanResult
from pairloom.clean.run import clean
from pairloom.data.pair import seed_of
from pairloom.data.pixels import open_image
from pairloom.scale import Execution

SETTINGS = CleanSettings(size=32, proposals=2)


def truth(data: bytes) -> str:
    """What a picture of these sets shows."""
    pixels = np.asarray(open_image(data), np.float64)
    middle = np.median(pixels.reshape(-1, 3), axis=0)
    colour = min(colours.COLOURS, key=lambda name: float(np.abs(middle - colours.COLOURS[name]).sum()))
    odd = np.abs(pixels - 127).max(-1) < 40
    share = float(odd.mean())
    return colours.said(colour, "striped" if share > 0.15 else "dotted" if share > 0.02 else "plain")


@dataclass(frozen=True)
class Judge:
    """Scores 3 where the text is the right one, else -3, with a little noise that the pair's content decides."""

    name: str = "oracle"

    def way(self) -> str:
        return "oracle"

    def score(self, pictures: AuditedShard, rows: Sequence[int], texts: Sequence[str]) -> np.ndarray:
        right = {row: truth(data) for row, data in pictures.encoded(sorted(set(rows)))}
        keys = pictures.column("key")
        scores = []
        for row, text in zip(rows, texts):
            scores.append((3 if text == right[row] else -3) + seed_of(keys[row], text) % 1000 / 1000)
        return np.array(scores)


@dataclass(frozen=True)
class Captioner:
    """Two proposals for each picture: the right one and a wrong one."""

    name: str = "oracle"

    def write(
        self, pictures: AuditedShard, rows: Sequence[int], seeds: Sequence[int]
    ) -> Iterator[tuple[int, str, float]]:
        for row, data in pictures.encoded(rows):
            for text in (truth(data), "a plain nothing"):
                yield row, text, 0.0


def run(raw: Path | str, out: Path | str, settings: CleanSettings = SETTINGS, **more: object) -> CleanResult:
    """`clean` with the oracles."""
    return clean(raw, out, settings, judge=Judge(), captioner=Captioner(), **more)  # type: ignore[arg-type]


if __name__ == "__main__":
    raw, out, workers = sys.argv[1:]
    run(raw, out, execution=Execution(workers=int(workers)))
