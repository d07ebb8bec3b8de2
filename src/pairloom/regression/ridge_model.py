"""Kernel ridge regression (Saunders et al., 1998): a dual encoder between frozen features, pictures and texts in one space.

It is what `pairloom train ridge` and the judge `self` of `pairloom clean` leave on the disk: the encoders (towers are named, not
copied), the space of features that was learnt from a set, and both regressions for every view of the pictures.

Does not know: sets of pairs, how it was fitted.

I pictures, N pictures of a row, B texts, W numbers of a vector.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file
from safetensors.torch import save as to_bytes
from torch import Tensor, nn

import pairloom
from pairloom.abilities import EMBED
from pairloom.checkpoints.settings import JsonSettings
from pairloom.checkpoints.shapes import demand_shapes
from pairloom.data.batch import Batch
from pairloom.data.disk import atomic_write
from pairloom.errors import Mistake
from pairloom.model import MARK, Model, read_json
from pairloom.regression.features import DESCRIPTION, Encoders, FeatureSpace, Raw
from pairloom.regression.joint import JointSpace
from pairloom.regression.pixels import TwoViews, byte_tokens
from pairloom.regression.ridge import TwoWayRidge
from pairloom.regression.stored import FILE, SPACE, ridge_tensors, ridges_in

NAME = "ridge"
LENGTH = 8192  # bytes of a text that are read


@dataclass(frozen=True)
class Config:
    """embedding: W. small: pixels a side of the pictures that hand-made features are computed from. image_tower, text_tower:
    names or paths. identity: content hash of all that the encoders depend on. length: bytes of a text that are read."""

    embedding: int
    small: int
    image_tower: str | None
    text_tower: str | None
    identity: str
    length: int = LENGTH


class System(nn.Module):
    """Ridge regressions behind frozen encoders, on the CPU but for the towers. `encoded` is the vectors of pictures [I W]."""

    name = NAME
    abilities = (EMBED,)
    trains_on = ("pairs",)

    def __init__(self, encoders: Encoders, space: FeatureSpace, joint: JointSpace, small: int) -> None:
        super().__init__()
        self.encoders, self.space, self.joint = encoders, space, joint
        self.pixels = TwoViews.of(small, encoders.images.preparation if encoders.images else None)
        self.config = Config(joint.width, small, encoders.image_tower, encoders.text_tower, encoders.identity)
        fits = [ridge for both in joint.ridges for ridge in (both.to_text, both.to_picture)]
        self.coefficients = nn.ParameterList(nn.Parameter(fit.coefficients, False) for fit in fits)

    def encode_image(self, batch: Batch) -> Batch:
        """Embed the pictures [I N 3 H W], once; the vectors of the N pictures of a row are averaged."""
        if batch.encoded is not None:
            return batch
        images = batch.required("images")
        pixels = (images.flatten(0, 1) * 255).round().byte().permute(0, 2, 3, 1).cpu().numpy()
        features = self.space.pictures(picture_features(self._encoders(images.device), self.pixels, pixels))
        rows = self.joint.pictures(features).unflatten(0, images.shape[:2])
        vectors = rows[:, 0] if rows.shape[1] == 1 else F.normalize(rows.mean(1), dim=1)
        return replace(batch, encoded=vectors.to(images.device))

    def embed_image(self, batch: Batch) -> Float[Tensor, "I W"]:
        """Vectors of the pictures."""
        encoded: Tensor = self.encode_image(batch).encoded
        return encoded

    def embed_text(self, batch: Batch) -> Float[Tensor, "B W"]:
        """Vectors of the texts, whose tokens are bytes."""
        ids, mask = batch.text()
        texts = [byte_tokens().decode(row[real]) for row, real in zip(ids.cpu(), mask.cpu())]
        distinct = sorted(set(texts))
        raw = self._encoders(ids.device).sentences(distinct)
        rows = self.joint.texts(self.space.texts(distinct, raw))
        place = {text: row for row, text in enumerate(distinct)}
        return rows[[place[text] for text in texts]].to(ids.device)

    def _encoders(self, device: torch.device) -> Encoders:
        return replace(self.encoders, device=str(device))

    def write(self, folder: Path, about: Mapping[str, Any]) -> None:
        """Write the files of a model folder; config.json is the last, since it marks a whole one."""
        self.encoders.save(folder)
        self.space.save(folder, SPACE)
        shares = torch.tensor([self.joint.shares], dtype=torch.float64)
        tensors = {"weights": shares, **ridge_tensors(self.joint.ridges)}
        with atomic_write(folder / FILE, replace=True) as file:
            file.write(to_bytes({name: tensor.contiguous() for name, tensor in tensors.items()}))
        write_config(folder, self.config.small, about)


def picture_features(encoders: Encoders, views: TwoViews, pixels: NDArray[np.uint8]) -> Raw:
    """Raw features [n R] of pictures whose views lie side by side."""
    shown, small = views.parts(pixels)
    return encoders.prepared(small, shown)


def write_config(folder: Path, small: int, about: Mapping[str, Any]) -> None:
    """Write the config.json of a folder that is a model of this kind."""
    described = {MARK: pairloom.__version__, "system": NAME, "small": small, "about": dict(about)}
    with atomic_write(folder / "config.json", replace=True) as file:
        file.write((json.dumps(described, indent=1, ensure_ascii=False) + "\n").encode())


def model_of(system: System, about: Mapping[str, Any]) -> Model:
    """The model of a system: with its bytes as tokens, and its two views as pixels."""
    return Model(NAME, system.eval(), byte_tokens(), system.pixels, dict(about))


def load_ridge_model(where: Path) -> Model:
    """The model of a folder. Mistake where the folder is not whole, and where a tower is missing or is another one."""
    known = read_json(where / "config.json")
    try:
        small, encoders = (
            JsonSettings(where / "config.json", known).whole("small", most=1 << 12),
            _encoders(where),
        )
        space, tensors = FeatureSpace.load(where, SPACE), load_file(where / FILE)
        ridges = ridges_in(tensors, len(space.axes))
        _demand_fitting(space, ridges)
        sizes = demand_shapes(tensors, {"weights": "K P"})
        if not sizes["K"] or sizes["P"] < 2 * len(ridges):
            raise ValueError(
                f"'weights' is {list(tensors['weights'].shape)} for {2 * len(ridges)} directions"
            )
        weights = tensors["weights"].numpy()[:, : 2 * len(ridges)]
        system = System(encoders, space, JointSpace(ridges, shares_of(weights)), small)
        about = dict(known.get("about", {}))
    except (
        LookupError,
        TypeError,
        ValueError,
        AttributeError,
        RuntimeError,
        OSError,
        SafetensorError,
    ) as error:
        why = f"{type(error).__name__}: {error}"
        raise Mistake(f"The model {where} is not whole.", why, "Copy the whole folder.") from error
    return model_of(system, about)


def _demand_fitting(space: FeatureSpace, ridges: Sequence[TwoWayRidge]) -> None:
    """Raise ValueError where regressions read other features than the space has."""
    texts = len(space.word_mean) + len(space.text_mean)
    for axes, both in zip(space.axes, ridges):
        reads = both.to_text.landmarks.shape[1], both.to_picture.landmarks.shape[1]
        if reads != (axes.shape[1], texts):
            raise ValueError(f"regressions of {reads} features, where there are {axes.shape[1]} and {texts}")


def shares_of(weights: NDArray[np.float64] | Sequence[Sequence[float]]) -> tuple[float, ...]:
    """Shares [P] of the directions by their weights [K P] in the score of each fold; equal ones where all weights are 0."""
    means = np.asarray(weights, np.float64).mean(0)
    means = means if means.sum() > 0 else np.ones_like(means)
    return tuple((means / means.sum()).tolist())


def _encoders(where: Path) -> Encoders:
    encoders, known = Encoders.load(where), read_json(where / DESCRIPTION)
    try:
        identity = encoders.identity
    except Mistake as mistake:
        what = f"The model {where} reads features of a tower that is not here."
        raise Mistake(what, f"{mistake.what} {mistake.why}".strip(), mistake.do) from mistake
    if identity != known["identity"]:
        towers = " and ".join(filter(None, (encoders.image_tower, encoders.text_tower)))
        raise Mistake(
            f"The model {where} was fitted on features of other weights than those of {towers} now.",
            "A tower is named in the folder, not copied into it.",
            "Put the tower back that was there, or train the model again.",
        )
    return encoders
