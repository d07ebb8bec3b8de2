"""Denoise: how much noise is in a picture, how far a guess of it is off, and pairs that should be guessed badly.

Knows tensors; the share of the picture that is left at a time ("alpha bar") is handed in.

B rows, ... the sides of a picture or latent.
"""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

Distance = Literal["mse", "l2norm", "l1", "huber"]
Prediction = Literal["epsilon", "v_prediction"]


def noised(
    clean: Float[Tensor, "B ..."], noise: Float[Tensor, "B ..."], share: Float[Tensor, " B"]
) -> Float[Tensor, "B ..."]:
    """sqrt(share) clean + sqrt(1 - share) noise (Ho et al., 2020, equation 4)."""
    return _like(share.sqrt(), clean) * clean + _like((1 - share).sqrt(), clean) * noise


def target(
    clean: Float[Tensor, "B ..."],
    noise: Float[Tensor, "B ..."],
    share: Float[Tensor, " B"],
    prediction: Prediction,
) -> Float[Tensor, "B ..."]:
    """What the network should say: the noise, or v = sqrt(share) noise - sqrt(1 - share) clean (Salimans and Ho, 2022)."""
    if prediction == "epsilon":
        return noise
    return _like(share.sqrt(), clean) * noise - _like((1 - share).sqrt(), clean) * clean


def guessed_noise(
    output: Float[Tensor, "B ..."],
    noisy: Float[Tensor, "B ..."],
    share: Float[Tensor, " B"],
    prediction: Prediction,
) -> Float[Tensor, "B ..."]:
    """The noise that the network's answer stands for: itself, or sqrt(share) v + sqrt(1 - share) noisy."""
    if prediction == "epsilon":
        return output
    return _like(share.sqrt(), output) * output + _like((1 - share).sqrt(), output) * noisy


def distance(residual: Float[Tensor, "B ..."], kind: Distance = "mse") -> Float[Tensor, " B"]:
    """How long a residual is, in its own precision. "l2norm" is not squared and not divided by the size; the others are means."""
    rows = residual.flatten(1)
    if kind == "mse":
        return rows.square().mean(1)
    if kind == "l2norm":
        return torch.linalg.vector_norm(rows, dim=1)
    if kind == "l1":
        return rows.abs().mean(1)
    if kind == "huber":
        return F.huber_loss(rows, torch.zeros_like(rows), reduction="none").mean(1)
    raise ValueError(f"there is no distance '{kind}'; there are mse, l2norm, l1 and huber")


def pushed_away(
    positive: Float[Tensor, ""], negative: Float[Tensor, ""], margin: float = 1.0
) -> Float[Tensor, ""]:
    """What a wrong pair adds to the loss (Krojer et al., 2023, section 3.2): minus its error, held at margin x the error of the
    true pair, so that beyond it nothing is gained by knowing the wrong pair still less."""
    return -negative.clamp(max=margin * positive.detach())


def _like(value: Tensor, rows: Tensor) -> Tensor:
    """[B] -> [B 1 1 ...]."""
    return value.to(rows.dtype).view(-1, *[1] * (rows.ndim - 1))
