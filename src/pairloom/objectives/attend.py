"""Attend: what a writer's attention is asked to be: spread over the picture as a whole, and chosen where it paid.

B texts, T steps, P cells of a picture.
"""

from __future__ import annotations

from jaxtyping import Bool, Float
from torch import Tensor


def spread(shares: Float[Tensor, "B T P"], real: Bool[Tensor, "B T"]) -> Float[Tensor, " B"]:
    """sum_i (1 - sum_t alpha_ti)^2 of each text (Xu et al., 2015, eq. 14): every cell should get about 1 over the text.

    Two-sided: a cell with more is as wrong as a cell with less. real: steps that wrote something.
    """
    return (1 - (shares * real[..., None]).sum(1)).square().sum(1)


def entropy(shares: Float[Tensor, "B T P"], real: Bool[Tensor, "B T"]) -> Float[Tensor, " B"]:
    """Of the attention, in nats, summed over the steps of each text."""
    each = -(shares * shares.clamp_min(1e-12).log()).sum(2)
    return (each * real).sum(1)


def reinforce(
    cost: Float[Tensor, " B"], baseline: Float[Tensor, ""], chosen: Float[Tensor, " B"]
) -> Float[Tensor, " B"]:
    """(cost - baseline) log p(choice): its gradient is that of the expected cost (Williams, 1992), and no cost is learnt
    through it. chosen: log-probability of everything that was drawn for a row; a baseline lowers the variance alone."""
    return (cost - baseline).detach() * chosen
