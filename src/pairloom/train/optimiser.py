"""Optimisers of a system's turns, their state as named tensors, and the exponential moving average of the weights."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from pairloom.errors import Mistake, nearest
from pairloom.train.settings import Settings
from pairloom.verbs import parts_of, turns_of

Parameters = dict[str, nn.Parameter]


def learned(system: nn.Module) -> Parameters:
    """Parameters that require a gradient, by name, each once."""
    return {name: value for name, value in system.named_parameters() if value.requires_grad}


@dataclass(frozen=True)
class TurnOptimiser:
    """A turn of a system: its optimiser and the parameters that it updates. name: "" where the system has only one turn."""

    name: str
    settings: Settings
    parameters: Parameters
    optimiser: torch.optim.Optimizer

    @property
    def prefix(self) -> str:
        """Prefix of the turn's numbers in the log."""
        return f"{self.name}/" if self.name else ""

    @property
    def group(self) -> str:
        """The file of the optimiser's state in a checkpoint."""
        return f"optimiser-{self.name}" if self.name else "optimiser"


def turns(system: nn.Module, settings: Settings, part: str = "") -> list[TurnOptimiser]:
    """The turns of a system, or of one part of it, in order, each with its optimiser.

    Mistake for settings of an unknown turn; ValueError for a turn without parameters.
    """
    declared = turns_of(system)
    unknown = [name for name in settings.turns if name not in declared]
    if unknown:
        raise Mistake(
            f"There is no turn '{unknown[0]}' to set.", "", nearest(unknown[0], filter(None, declared))
        )
    everything = learned(system)
    moves = {name: starting_with(everything, prefixes) for name, prefixes in declared.items()}
    return [
        TurnOptimiser(name, own, moves[name], optimiser(moves[name].values(), own))
        for name in (parts_of(system)[part] if part else declared)
        for own in [settings.of(name)]
    ]


def starting_with(parameters: Parameters, prefixes: tuple[str, ...]) -> Parameters:
    return {name: value for name, value in parameters.items() if name.startswith(prefixes)}


def optimiser(parameters: Iterable[nn.Parameter], settings: Settings) -> torch.optim.Optimizer:
    """AdamW (Loshchilov and Hutter 2019), Adam (Kingma and Ba 2014), SGD with momentum betas[0], or RMSProp. Weight decay
    applies to matrices alone, and to norms, biases and scalars too with `decay_all`."""
    parameters = list(parameters)
    if not parameters:
        raise ValueError("nothing to learn: no parameter requires a gradient")
    decays = [value for value in parameters if value.ndim > 1 or settings.decay_all]
    stays = [value for value in parameters if value.ndim <= 1 and not settings.decay_all]
    groups = [
        {"params": decays, "weight_decay": settings.weight_decay},
        {"params": stays, "weight_decay": 0.0},
    ]
    groups = [group for group in groups if group["params"]]
    beta1, beta2 = settings.betas
    if settings.optimiser == "sgd":
        return torch.optim.SGD(groups, lr=settings.lr, momentum=beta1, fused=True)
    if settings.optimiser == "rmsprop":
        return torch.optim.RMSprop(groups, lr=settings.lr, alpha=beta2)
    kind = torch.optim.Adam if settings.optimiser == "adam" else torch.optim.AdamW
    return kind(groups, lr=settings.lr, betas=(beta1, beta2), fused=True)


def moments_of(turn: TurnOptimiser) -> dict[str, Tensor]:
    """The optimiser's state as named tensors, "moment/parameter" -> tensor."""
    state = turn.optimiser.state
    return {
        f"{moment}/{name}": tensor
        for name, value in turn.parameters.items()
        if value in state
        for moment, tensor in state[value].items()
        if isinstance(tensor, Tensor)
    }


def put_moments(turn: TurnOptimiser, tensors: Mapping[str, Tensor]) -> None:
    """Restore an optimiser's state: the inverse of `moments_of`. Mistake where a tensor belongs to no parameter."""
    for key, tensor in tensors.items():
        moment, _, name = key.partition("/")
        if name not in turn.parameters:
            raise Mistake(
                f"The optimiser's state has '{key}', which the system does not.",
                "The checkpoint is another system's.",
            )
        value = turn.parameters[name]
        device = "cpu" if moment == "step" and not value.is_cuda else value.device
        turn.optimiser.state[value][moment] = tensor.to(device, copy=True)


@contextmanager
def frozen(parameters: Iterable[nn.Parameter]) -> Iterator[None]:
    """Context in which these parameters require no gradient; afterwards they are as before."""
    changed = [value for value in parameters if value.requires_grad]
    try:
        for value in changed:
            value.requires_grad_(False)
        yield
    finally:
        for value in changed:
            value.requires_grad_(True)


def only(turn: TurnOptimiser, turns: Iterable[TurnOptimiser]) -> AbstractContextManager[None]:
    """Context in which the parameters of the other turns that are not this turn's require no gradient."""
    others = {name: value for other in turns for name, value in other.parameters.items()}
    return frozen(value for name, value in others.items() if name not in turn.parameters)


def learning(system: nn.Module, part: str) -> AbstractContextManager[None]:
    """Context in which only this part of the system requires a gradient.

    Mistake where there is no such part; ValueError where a parameter that requires a gradient belongs to no turn.
    """
    parts, declared, everything = parts_of(system), turns_of(system), learned(system)
    demand_part(part, parts)
    moved = {turn: starting_with(everything, prefixes) for turn, prefixes in declared.items()}
    stray = everything.keys() - {name for parameters in moved.values() for name in parameters}
    if stray:
        raise ValueError(f"no turn moves {', '.join(sorted(stray)[:3])}")
    own = {name for turn in parts[part] for name in moved[turn]}
    return frozen(value for name, value in everything.items() if name not in own)


def demand_part(part: str, parts: Iterable[str], system: str = "SYSTEM") -> None:
    """Raise Mistake where there is no such part, or where one of several must be named. system: its name, for the message."""
    parts = list(parts)
    if part in parts:
        return
    if parts == [""]:
        raise Mistake(
            f"There is no part '{part}'.", f"{system} is trained as a whole.", "Leave the part out."
        )
    if not part:
        raise Mistake(
            f"{system} is trained in parts.",
            f"In this order: {', '.join(parts)}.",
            f"Begin with {system}:{parts[0]}.",
        )
    raise Mistake(f"There is no part '{part}'.", "", nearest(part, parts))


class Average:
    """Exponential moving average of parameters: average <- decay * average + (1 - decay) * weights."""

    def __init__(self, parameters: Parameters, decay: float) -> None:
        self.decay = decay
        self.parameters = parameters
        self.tensors = {name: value.detach().clone() for name, value in self.parameters.items()}

    @torch.no_grad()
    def update(self) -> None:
        """Update the average by the current weights."""
        torch._foreach_lerp_(list(self.tensors.values()), list(self.parameters.values()), 1 - self.decay)

    def put(self, tensors: Mapping[str, Tensor]) -> None:
        """Restore saved averages; tensors of other averages are ignored."""
        for name in self.tensors:
            self.tensors[name].copy_(tensors[name])

    @torch.no_grad()
    def swap(self) -> None:
        """Exchange the average and the weights."""
        for name, value in self.parameters.items():
            held = value.detach().clone()
            value.copy_(self.tensors[name])
            self.tensors[name].copy_(held)


def averages(turns: Iterable[TurnOptimiser]) -> list[Average]:
    """The averages of the turns with ema > 0; a parameter of two turns is averaged once, by the first turn's decay."""
    kept: list[Average] = []
    for turn in turns:
        taken = {name for average in kept for name in average.parameters}
        own = {name: value for name, value in turn.parameters.items() if name not in taken}
        if turn.settings.ema:
            kept.append(Average(own, turn.settings.ema))
    return kept


@contextmanager
def swapped(averages: Iterable[Average]) -> Iterator[None]:
    """Context in which the system has the averages in the place of its weights."""
    averages = list(averages)
    for average in averages:
        average.swap()
    try:
        yield
    finally:
        for average in averages:
            average.swap()
