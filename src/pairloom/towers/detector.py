"""A frozen detector of transformers, DETR (Carion et al., 2020) or RT-DETR (Zhao et al., 2024), and what it sees as regions.

A region is a query of the decoder: its last hidden state, its box, and the distribution over the detector's classes without
"no object", renormalised. Background, which comes first, has no probability, so that classes are counted as in other region features.

I pictures, Q queries, K classes, D width.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from pairloom.data.detected import Detected
from pairloom.errors import Mistake

# model types whose last class is "no object", with a softmax over all of them; the others score each class by a sigmoid
SOFTMAX = {"detr": True, "rt_detr": False, "rt_detr_v2": False}


@dataclass(frozen=True)
class Detector:
    """A detector for inference. name: its model type; width: D; labels: K names of its classes."""

    name: str
    network: Any
    processor: Any
    width: int
    labels: tuple[str, ...]

    @torch.no_grad()
    def detect(self, images: Sequence[Image.Image], most: int = 36, threshold: float = 0.0) -> list[Detected]:
        """The regions of upright RGB pictures, the surest first: at most `most` of each, none less sure than the threshold."""
        rows = []
        for (
            image
        ) in images:  # alone, so that a picture's regions do not depend on the padding that others need
            pixels = self.processor(images=[image], return_tensors="pt").to(self.network.device)
            outputs = self.network(**pixels)
            rows.append(
                regions_of(
                    outputs.last_hidden_state[0],
                    outputs.pred_boxes[0],
                    *self._classes(outputs.logits[0]),
                    most,
                    threshold,
                )
            )
        return rows

    def _classes(self, logits: Tensor) -> tuple[Tensor, Tensor]:
        """Confidence [Q], as transformers' own post-processing counts it, and the distribution over classes [Q K]."""
        chances = logits.float().softmax(-1)[:, :-1] if SOFTMAX[self.name] else logits.float().sigmoid()
        return chances.max(-1).values, chances / chances.sum(-1, keepdim=True).clamp(min=1e-12)


def regions_of(
    hidden: Tensor, centres: Tensor, confidence: Tensor, classes: Tensor, most: int, threshold: float
) -> Detected:
    """Queries [Q ...] as regions. centres [Q 4]: middle, width and height as shares of the picture's sides; boxes are cut at its
    edges."""
    order = confidence.argsort(descending=True, stable=True)[:most]
    order = order[confidence[order] >= threshold]
    middle, sides = centres.float()[order].split(2, -1)
    boxes = torch.cat([middle - sides / 2, middle + sides / 2], -1).clamp(0, 1)
    background = classes.new_zeros(len(order), 1)
    arrays = hidden.float()[order], boxes, torch.cat([background, classes[order]], -1)
    features, places, chances = (_array(one) for one in arrays)
    return Detected(features, places, chances)


def load_detector(where: Path | str, device: str = "cpu") -> Detector:
    """The detector in a folder of transformers. Nothing is downloaded, nothing unpickled. Mistake where there is none."""
    folder = Path(where)
    config = _config(folder)
    kind = config.get("model_type")
    if kind not in SOFTMAX:
        raise Mistake(
            f"{where} is no detector that is known here.",
            f"Its config says '{kind}'.",
            f"Give a folder of {', '.join(SOFTMAX)} (docs/regions.md).",
        )
    try:
        from transformers import AutoImageProcessor, AutoModelForObjectDetection
    except ImportError as error:
        why = "Detectors are run by transformers, which is not installed."
        raise Mistake(f"{where} cannot be run.", why, 'pip install "pairloom[regions]" has it.') from error
    try:
        processor = AutoImageProcessor.from_pretrained(folder, local_files_only=True)
        network = AutoModelForObjectDetection.from_pretrained(
            folder, local_files_only=True, use_safetensors=True
        )
    except ImportError as error:
        why = f"Its network needs a package: {str(error).strip().splitlines()[0]}"
        raise Mistake(f"{where} cannot be run.", why, "Install that package.") from error
    except (OSError, ValueError, RuntimeError, LookupError, TypeError, AttributeError) as error:
        raise Mistake(
            f"The detector in {where} is not whole.",
            f"{type(error).__name__}: {error}",
            "Copy the whole folder.",
        ) from error
    labels = tuple(str(name) for _, name in sorted(network.config.id2label.items()))
    return Detector(
        str(kind), network.requires_grad_(False).eval().to(device), processor, network.config.d_model, labels
    )


def _config(folder: Path) -> dict[str, Any]:
    try:
        config = json.loads((folder / "config.json").read_text("utf-8"))
    except (OSError, ValueError) as error:
        why = f"config.json cannot be read: {error}."
        raise Mistake(
            f"{folder} is no folder of a detector.", why, "Give a folder of transformers' DETR or RT-DETR."
        ) from error
    return config if isinstance(config, dict) else {}


def _array(values: Tensor) -> NDArray[numpy.float32]:
    array: NDArray[numpy.float32] = values.cpu().numpy()
    return array
