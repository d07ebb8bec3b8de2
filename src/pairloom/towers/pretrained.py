"""What a family of networks builds from a file of weights: the network, its name and how its pictures are prepared.

Does not know: any one family, files.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from pairloom.checkpoints.layout import Place, rename, take
from pairloom.errors import Mistake
from pairloom.towers.preparation import Preparation


@dataclass(frozen=True)
class WeightFile:
    """The content of a file of weights. tensors: by their published names. config: the config.json beside them, empty where
    there is none. where: for messages, and for what the file's own name says."""

    tensors: Mapping[str, Tensor]
    where: Path
    config: Mapping[str, Any] = field(default_factory=dict)

    @property
    def stated(self) -> str:
        """What the config, or the file's own name, says that this is: "resnet50", "tf_efficientnet_b0" ..."""
        return str(self.config.get("architecture") or self.where.stem).lower().replace("-", "_")


@dataclass(frozen=True)
class PretrainedNetwork:
    """A network with its published weights. network: [I 3 S S] -> (cells [I P D], pooled [I D]). name: of the architecture.
    width: D. preparation: the
    family's own, where no config says otherwise. stated: pattern of the names that timm's configs have for it ("": the name,
    after "tf_" or not). resize: sets the network to pictures of another side, where that needs a change."""

    name: str
    network: nn.Module
    preparation: Preparation
    width: int
    stated: str = ""
    resize: Callable[[int], None] | None = None


def renamed(tensors: Mapping[str, Tensor], rules: Iterable[tuple[str, str]]) -> dict[str, Tensor]:
    """The tensors under new names; one that no rule matches keeps its name."""
    rules, there = list(rules), {}
    for name, tensor in tensors.items():
        try:
            there[rename(name, rules)] = tensor
        except KeyError:
            there[name] = tensor
    return there


def fill(
    network: nn.Module,
    theirs: Mapping[str, Tensor],
    places: Mapping[str, Place],
    where: Path,
    unread: tuple[str, ...],
) -> None:
    """Put published tensors into a network, in place. unread: beginnings of the names of those that are left out, such as the
    classifier's. Mistake where a shape differs, or anything else is missing or left over."""
    try:
        moved = take(theirs, places, network.state_dict())
        moved.missing = [
            name for name in moved.missing if not name.endswith("num_batches_tracked")
        ]  # old files
        moved.left = [name for name in moved.left if not name.startswith(unread)]
        moved.whole(where).into(network)
    except Mistake as mistake:
        raise Mistake(
            f"{where} is no {type(network).__name__} that is known here.",
            f"{mistake.what} {mistake.why}",
            "It is a variant of it, or the file is not whole; docs/towers.md lists what can be read.",
        ) from mistake
