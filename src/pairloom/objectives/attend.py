"""Losses on a caption writer's attention: doubly stochastic regularisation, entropy, and REINFORCE for drawn cells.

B texts, T steps, P cells of a picture.
"""

from __future__ import annotations

from jaxtyping import Bool, Float
from torch import Tensor


def spread(shares: Float[Tensor, "B T P"], real: Bool[Tensor, "B T"]) -> Float[Tensor, " B"]:
    """Doubly stochastic regularisation of each text (Xu et al., 2015, eq. 14): sum_i (1 - sum_t alpha_ti)^2. Every cell should
    get a total attention of about 1 over the text; more is penalised like less. real: steps that wrote a token.
    """
    return (1 - (shares * real[..., None]).sum(1)).square().sum(1)


def entropy(shares: Float[Tensor, "B T P"], real: Bool[Tensor, "B T"]) -> Float[Tensor, " B"]:
    """Entropy of the attention in nats, summed over the steps of each text."""
    each = -(shares * shares.clamp_min(1e-12).log()).sum(2)
    return (each * real).sum(1)


def reinforce(
    cost: Float[Tensor, " B"], baseline: Float[Tensor, ""], chosen: Float[Tensor, " B"]
) -> Float[Tensor, " B"]:
    """REINFORCE (Williams, 1992): (cost - baseline) log p(choice), whose gradient is that of the expected cost. No gradient
    flows into the cost itself.

    chosen: log-probability of all the choices that were drawn for a row. baseline: lowers the variance and changes nothing
    else.
    """
    return (cost - baseline).detach() * chosen
