"""LoRA: Low-Rank Adaptation (Hu et al., 2021, arXiv 2106.09685): linear maps that stay, with small learned maps beside them.

Does not know: which maps of which network are worth it, files.

D inputs, O outputs, r rank.
"""

from __future__ import annotations

from collections.abc import Iterator

from jaxtyping import Float
from torch import Tensor, nn


class Adapted(nn.Linear):
    """y = W x + b + up(down(x)): W and b are those of the map it replaces, by the same names, and do not learn.

    `up` begins as zero, so that nothing changes before it learns; `down` is normal with deviation 1 / r.
    """

    def __init__(self, linear: nn.Linear, rank: int) -> None:
        if not 1 <= rank <= min(linear.in_features, linear.out_features):
            raise ValueError(
                f"rank {rank} does not fit a map from {linear.in_features} to {linear.out_features}"
            )
        super().__init__(linear.in_features, linear.out_features, linear.bias is not None, device="meta")
        self.weight, self.bias = linear.weight, linear.bias
        for parameter in self.parameters():
            parameter.requires_grad_(False)
        at = {"device": linear.weight.device, "dtype": linear.weight.dtype}
        self.down = nn.Linear(linear.in_features, rank, bias=False, **at)
        self.up = nn.Linear(rank, linear.out_features, bias=False, **at)
        nn.init.normal_(self.down.weight, std=1 / rank)
        nn.init.zeros_(self.up.weight)

    def forward(self, x: Float[Tensor, "*B D"]) -> Float[Tensor, "*B O"]:
        return super().forward(x) + self.up(self.down(x))


def adapt(network: nn.Module, names: list[str], rank: int) -> None:
    """Replace the named linear maps by adapted ones and freeze all the rest of the network."""
    for parameter in network.parameters():
        parameter.requires_grad_(False)
    for name in names:
        owner, _, last = name.rpartition(".")
        parent = network.get_submodule(owner)
        linear = parent.get_submodule(last)
        if type(linear) is not nn.Linear:
            raise ValueError(f"{name} is no plain linear map")
        setattr(parent, last, Adapted(linear, rank))


def adapters(network: nn.Module) -> Iterator[tuple[str, Adapted]]:
    """The adapted maps of a network by name."""
    for name, part in network.named_modules():
        if isinstance(part, Adapted):
            yield name, part
