"""Trained part of the judge `self`: models that are trained by contrast without the pictures of each fold, beside the ridge regressions.

Ridge regression on hand-made features compares whole pictures. In drawings, captions differ by small details of one shape, which a
network learns to look at, and where flat colours leave hand-made features little to count. On photos it costs minutes and
finds less than the regressions (docs/log.md), so that it is trained for large sets of drawings alone.

Does not know: how it was trained, other parts, calibration.

n requests (a picture and a text), K folds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pairloom import model as models
from pairloom.blocks.tensors import tensors_of
from pairloom.clean.folds import JudgeFold, read_references, write_references
from pairloom.clean.picture_source import Floats, PictureSource
from pairloom.clean.rows import Rows
from pairloom.runtime.threads import one_thread
from pairloom.weights import load as load_model

FOLDS, LEAST = 2, 3000  # folds, and least pairs for which they are trained
SAMPLE = 1000  # pictures that are looked at
ALIKE, FLAT = 2, 0.4  # greatest difference of flat neighbours, and the share of them in a drawing


@dataclass(frozen=True)
class TrainedPart:
    """Models of the folds with their references. size: pixels a side of their pictures."""

    folds: tuple[JudgeFold, ...]
    size: int

    def score(
        self, pictures: PictureSource, rows: Sequence[int], texts: Sequence[str], groups: NDArray[np.int64]
    ) -> Floats:
        """Contrastive scores [n] of n requests (row, text), 0 where a picture cannot be read. groups [n]: of the rows'
        pictures; group modulo K is the fold."""
        scores = np.zeros(len(rows))
        for number, fold in enumerate(self.folds):
            at = np.flatnonzero(groups % len(self.folds) == number)
            if not len(at):
                continue
            seen, owner = np.unique(np.asarray(rows)[at], return_inverse=True)
            pixels, readable = pictures.pixels(seen.tolist(), self.size)
            with one_thread():
                part = fold.contrast(pixels, owner, [texts[place] for place in at.tolist()])
            scores[at] = np.where(readable[owner], part, 0)
        return scores

    def save(self, folder: Path) -> None:
        """Write the models to folder/0, 1, ... and their references beside them."""
        for number, fold in enumerate(self.folds):
            models.save(fold.model, folder / str(number))
            assert fold.references is not None
            write_references(folder / f"references-{number}.safetensors", fold.references)

    @classmethod
    def load(cls, folder: Path, size: int, device: str = "cpu") -> TrainedPart:
        """The inverse of `save`; also of what `self_judge.train_folds` leaves."""
        folds = tuple(
            JudgeFold(
                load_model(folder / str(number)).to(device).eval(),
                read_references(folder, f"references-{number}.safetensors"),
            )
            for number in range(FOLDS)
        )
        return cls(folds, size)

    def parts(self) -> list[bytes]:
        """Everything that the scores depend on, to be hashed."""
        content = []
        for fold in self.folds:
            assert fold.references is not None
            tensors = [
                *tensors_of(fold.model.system).values(),
                fold.references.pictures,
                fold.references.texts,
            ]
            content += [tensor.detach().cpu().numpy().tobytes() for tensor in tensors]
            content.append(fold.model.tokens.to_json().encode())
        return content


def are_drawings(rows: Rows) -> bool:
    """Whether most pictures are drawings: in the median picture, at least FLAT of the pixels are like their neighbour."""
    step = max(1, len(rows) // SAMPLE)
    pixels = np.asarray(rows.pixels[::step]).astype(np.int16)
    alike = np.abs(pixels[:, :, 1:] - pixels[:, :, :-1]).max(3) <= ALIKE
    return bool(np.median(alike.mean((1, 2))) >= FLAT)
