"""Losses of a discrete VAE (Ramesh et al., 2021, appendix A): the logit-Laplace likelihood of pixels, and the divergence of codes
from the uniform distribution; relaxed codes, and the schedule of their temperature.

I pictures, H W sides, Y X sides of the grid of codes, K codebook.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor


def logit_laplace_loss(
    images: Float[Tensor, "I 3 H W"], outputs: Float[Tensor, "I 6 H W"]
) -> Float[Tensor, ""]:
    """Negative log-likelihood of pixels in (0, 1), in nats per channel of a pixel: log(2 b x (1 - x)) + |logit x - mu| / b (equation 2),
    mu being the first three channels of the outputs and log b the others."""
    mu, log_b = outputs.chunk(2, 1)
    error = (torch.logit(images) - mu).abs() * torch.exp(-log_b)
    return (error + log_b + torch.log(2 * images * (1 - images))).mean()


def uniform_divergence(logits: Float[Tensor, "I K Y X"]) -> Float[Tensor, ""]:
    """KL divergence of the codes' distributions from the uniform one, in nats per cell."""
    logs = logits.log_softmax(1)
    return (logs.exp() * logs).sum(1).mean() + math.log(logits.shape[1])


def relaxed_codes(
    logits: Float[Tensor, "I K Y X"], temperature: float, generator: torch.Generator
) -> Float[Tensor, "I K Y X"]:
    """A draw of the Gumbel-softmax relaxation of codes (Jang et al., 2016): nearly one-hot at a low temperature."""
    uniform = torch.rand(logits.shape, generator=generator).clamp_min(1e-20).to(logits)
    gumbel = -torch.log((-torch.log(uniform)).clamp_min(1e-20))
    return ((logits + gumbel) / temperature).softmax(1)


def cosine_between(first: float, last: float, step: int, steps: int) -> float:
    """From `first` to `last` by half a cosine over so many steps; `last` from then on."""
    share = min(1.0, step / max(1, steps))
    return last + (first - last) * (1 + math.cos(math.pi * share)) / 2
