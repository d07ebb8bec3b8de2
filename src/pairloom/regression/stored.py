"""Ridge regressions as named tensors, in the file that a judge and a model have in common.

G views of a picture, K folds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from pairloom.checkpoints.shapes import demand_shapes
from pairloom.regression.ridge import Ridge, ScoreReferences, TwoWayRidge

FILE, SPACE = "ridge.safetensors", "space"  # the tensors, and how the files of the feature space begin
PARTS = "coefficients", "means"  # of a Ridge, beside its landmarks
TEXTS = "to_picture.landmarks"  # texts, the same for every view


def ridge_tensors(ridges: Sequence[TwoWayRidge]) -> dict[str, Tensor]:
    """The tensors of both regressions of each view, and of their references."""
    tensors: dict[str, Tensor] = {TEXTS: ridges[0].to_picture.landmarks}
    for view, both in enumerate(ridges):
        tensors[f"{view}.to_text.landmarks"] = both.to_text.landmarks
        for name, ridge in ((f"{view}.to_text", both.to_text), (f"{view}.to_picture", both.to_picture)):
            tensors |= {f"{name}.{part}": getattr(ridge, part) for part in PARTS}
        for fold, references in enumerate(both.references):
            tensors[f"{view}.{fold}.pictures"] = torch.from_numpy(references.pictures)
            tensors[f"{view}.{fold}.texts"] = torch.from_numpy(references.texts)
    return tensors


def ridges_in(tensors: Mapping[str, Tensor], views: int) -> tuple[TwoWayRidge, ...]:
    """The inverse of `ridge_tensors`. Raises KeyError where one is missing, ValueError where they do not fit together."""
    folds = sum(f"0.{number}.pictures" in tensors for number in range(len(tensors)))
    ridges = []
    for view in range(views):
        demand_shapes(tensors, _shapes(view, folds))
        landmarks = {"to_text": tensors[f"{view}.to_text.landmarks"], "to_picture": tensors[TEXTS]}
        to_text, to_picture = (
            Ridge(rows, *(tensors[f"{view}.{name}.{part}"] for part in PARTS))
            for name, rows in landmarks.items()
        )
        references = tuple(
            ScoreReferences(*(tensors[f"{view}.{fold}.{side}"].numpy() for side in ("pictures", "texts")))
            for fold in range(folds)
        )
        ridges.append(TwoWayRidge(to_text, to_picture, references))
    return tuple(ridges)


def _shapes(view: int, folds: int) -> dict[str, str]:
    """Shapes of the tensors of a view: m landmarks, D features of a picture, E of a text."""
    known = {f"{view}.to_text.landmarks": "m D", TEXTS: "m E"}
    for name, width in ((f"{view}.to_text", "E"), (f"{view}.to_picture", "D")):
        known |= {f"{name}.coefficients": f"K m {width}", f"{name}.means": f"K {width}"}
    for fold in range(folds):
        known |= {f"{view}.{fold}.pictures": f"P{fold} D", f"{view}.{fold}.texts": f"T{fold} E"}
    return known
