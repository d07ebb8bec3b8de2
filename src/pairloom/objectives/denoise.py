"""Denoising losses of diffusion models: noised pictures, prediction targets, distances, and the hinge of hard negatives.

`share` is everywhere the share of the picture's variance that is left at a timestep ("alpha bar").

B rows, ... the sides of a picture or latent.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

Distance = Literal["mse", "l2norm", "l1", "huber"]
Prediction = Literal["epsilon", "v_prediction", "sample"]


def noised(
    clean: Float[Tensor, "B ..."], noise: Float[Tensor, "B ..."], share: Float[Tensor, " B"]
) -> Float[Tensor, "B ..."]:
    """Forward diffusion: sqrt(share) clean + sqrt(1 - share) noise (Ho et al., 2020, equation 4)."""
    return _like(share.sqrt(), clean) * clean + _like((1 - share).sqrt(), clean) * noise


def target(
    clean: Float[Tensor, "B ..."],
    noise: Float[Tensor, "B ..."],
    share: Float[Tensor, " B"],
    prediction: Prediction,
) -> Float[Tensor, "B ..."]:
    """Prediction target: the noise (epsilon), the clean rows (sample), or v = sqrt(share) noise - sqrt(1 - share) clean (Salimans and
    Ho, 2022)."""
    if prediction != "v_prediction":
        return noise if prediction == "epsilon" else clean
    return _like(share.sqrt(), clean) * noise - _like((1 - share).sqrt(), clean) * clean


def guessed_noise(
    output: Float[Tensor, "B ..."],
    noisy: Float[Tensor, "B ..."],
    share: Float[Tensor, " B"],
    prediction: Prediction,
) -> Float[Tensor, "B ..."]:
    """Noise estimate of a network's output: the output itself (epsilon), sqrt(share) v + sqrt(1 - share) noisy, or what is left of the
    noisy rows without the clean ones (sample)."""
    if prediction == "epsilon":
        return output
    if prediction == "sample":
        return (noisy - _like(share.sqrt(), output) * output) / _like((1 - share).sqrt(), output)
    return _like(share.sqrt(), output) * output + _like((1 - share).sqrt(), output) * noisy


def distance(residual: Float[Tensor, "B ..."], kind: Distance = "mse") -> Float[Tensor, " B"]:
    """Size of a residual, in its own precision. "l2norm" is neither squared nor divided by the number of elements; the others
    are means over the elements. ValueError for another kind."""
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
    """Hinge loss of a hard negative (Krojer et al., 2023, section 3.2): minus the error of the wrong pair, which stops
    counting where it is `margin` times the error of the true pair."""
    return -negative.clamp(max=margin * positive.detach())


def variance_bound(
    clean: Float[Tensor, "B ..."],
    noisy: Float[Tensor, "B ..."],
    noise: Float[Tensor, "B ..."],
    fraction: Float[Tensor, "B ..."],
    t: Int[Tensor, " B"],
    shares: Float[Tensor, " T"],
) -> Float[Tensor, ""]:
    """Variational bound of a learned variance, in bits of a number: divergence of the true step back from the predicted one (Nichol and
    Dhariwal, 2021, equation 15). Only the variance learns from it: `noise`, the estimate, is taken as fixed.

    fraction: of the network, from -1 for the least variance to 1 for the largest, in their logarithms. The step to the clean rows has
    the variances of the one before it.
    """
    t = t.clamp(min=1)
    share, before = shares[t], shares[t - 1]
    beta = 1 - share / before
    least = (beta * (1 - before) / (1 - share)).log()
    part = (fraction + 1) / 2
    log_variance = part * _like(beta.log(), clean) + (1 - part) * _like(least, clean)
    estimate = (noisy - _like((1 - share).sqrt(), clean) * noise.detach()) / _like(share.sqrt(), clean)
    # both means have the same part of the noisy rows
    gap = _like(before.sqrt() * beta / (1 - share), clean) * (clean - estimate.clamp(-1, 1))
    least = _like(least, clean)
    nats = 0.5 * (
        log_variance - least - 1 + (least - log_variance).exp() + gap.square() * (-log_variance).exp()
    )
    return nats.mean() / math.log(2)


def _like(value: Tensor, rows: Tensor) -> Tensor:
    """[B] -> [B 1 1 ...]."""
    return value.to(rows.dtype).view(-1, *[1] * (rows.ndim - 1))
