"""AdamW over a system's parameters, its state as named tensors, and the average of the weights.

Does not know: data, losses, files.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from pairloom.errors import Mistake
from pairloom.train.settings import Settings

MOMENTS = ("exp_avg", "exp_avg_sq", "step")


def learned(system: nn.Module) -> dict[str, nn.Parameter]:
    """Name -> parameter that the optimiser moves, each once."""
    return {name: value for name, value in system.named_parameters() if value.requires_grad}


def adamw(system: nn.Module, settings: Settings) -> torch.optim.AdamW:
    """AdamW (Loshchilov and Hutter 2019) in two groups: matrices decay; norms, biases and scalars do not, unless asked."""
    parameters = learned(system)
    if not parameters:
        raise ValueError("nothing to learn: no parameter requires a gradient")
    decays = [value for value in parameters.values() if value.ndim > 1 or settings.decay_all]
    stays = [value for value in parameters.values() if value.ndim <= 1 and not settings.decay_all]
    groups = [
        {"params": decays, "weight_decay": settings.weight_decay},
        {"params": stays, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(
        [group for group in groups if group["params"]],
        lr=settings.lr,
        betas=(settings.betas[0], settings.betas[1]),
        fused=True,
    )


def moments_of(optimiser: torch.optim.Optimizer, system: nn.Module) -> dict[str, Tensor]:
    """The optimiser's state as "moment/parameter" -> tensor."""
    return {
        f"{moment}/{name}": optimiser.state[value][moment]
        for name, value in learned(system).items()
        if value in optimiser.state
        for moment in MOMENTS
    }


def put_moments(optimiser: torch.optim.Optimizer, system: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """The inverse of `moments_of`. Raises Mistake where a tensor belongs to no parameter."""
    parameters = learned(system)
    for key, tensor in tensors.items():
        moment, _, name = key.partition("/")
        if name not in parameters or moment not in MOMENTS:
            raise Mistake(
                f"The optimiser's state has '{key}', which the system does not.",
                "The checkpoint is another system's.",
            )
        device = "cpu" if moment == "step" and not parameters[name].is_cuda else parameters[name].device
        optimiser.state[parameters[name]][moment] = tensor.to(device, copy=True)


class Average:
    """Exponential moving average of what is learned: average <- decay * average + (1 - decay) * weights."""

    def __init__(self, system: nn.Module, decay: float) -> None:
        self.decay = decay
        self.parameters = learned(system)
        self.tensors = {name: value.detach().clone() for name, value in self.parameters.items()}

    @torch.no_grad()
    def update(self) -> None:
        """Take one step towards the weights."""
        torch._foreach_lerp_(list(self.tensors.values()), list(self.parameters.values()), 1 - self.decay)

    def put(self, tensors: Mapping[str, Tensor]) -> None:
        """Go on from saved averages."""
        for name, tensor in tensors.items():
            self.tensors[name].copy_(tensor)

    @contextmanager
    def swapped(self) -> Iterator[None]:
        """Inside, the system carries the average instead of its weights."""
        self.swap()
        try:
            yield
        finally:
            self.swap()

    @torch.no_grad()
    def swap(self) -> None:
        """Swap the average and the weights."""
        for name, value in self.parameters.items():
            kept = value.detach().clone()
            value.copy_(self.tensors[name])
            self.tensors[name].copy_(kept)
