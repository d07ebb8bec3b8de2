"""What published layouts share: reading a file of tensors, and moving tensors between their names and ours.

Does not know: any layout. Nothing is unpickled.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from pairloom.blocks.embed import resize_positions
from pairloom.errors import Mistake

FILES = ("model.safetensors", "pytorch_model.bin")


@dataclass(frozen=True)
class Place:
    """Where a tensor of ours lies in their layout. names: any of these holds it (tied parts have several).

    third: which third of a fused query-key-value tensor it is.
    """

    names: tuple[str, ...]
    third: int | None = None


@dataclass
class Moved:
    """What came of it. tensors: ours by name; missing: ours that the file lacks; left: theirs that nobody asked for."""

    tensors: dict[str, Tensor] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)

    def demand(self, name: str, where: Path) -> None:
        """Mistake where a tensor that the layout cannot do without is not there."""
        if name not in self.tensors:
            raise Mistake(
                f"{where} has nothing for '{name}'.", "It is another kind of model.", "Name another file."
            )

    def into(self, system: nn.Module) -> None:
        """Copy the tensors into a system."""
        target = dict(system.state_dict(keep_vars=True))
        with torch.no_grad():
            for name, tensor in self.tensors.items():
                target[name].copy_(tensor)


def read(where: Path) -> dict[str, Tensor]:
    """The tensors of a .safetensors or torch file, or of the model file in a folder. Mistake where there are none."""
    if where.is_dir():
        found = [where / name for name in FILES if (where / name).is_file()]
        if not found:
            raise Mistake(
                f"{where} has no weights.", f"Looked for {' and '.join(FILES)}.", "Name the file itself."
            )
        where = found[0]
    try:
        if where.suffix == ".safetensors":
            return load_file(where)
        made = torch.load(where, map_location="cpu", weights_only=True)
    except (OSError, SafetensorError, RuntimeError, ValueError, EOFError, KeyError) as error:
        raise Mistake(f"{where} cannot be read as weights.", str(error).split("\n")[0], "") from error
    except Exception as error:  # the unpickler's own refusals
        raise Mistake(
            f"{where} holds more than tensors.", "Such files can run code and are not opened.", ""
        ) from error
    made = made.get("model", made) if isinstance(made, Mapping) else made
    if not isinstance(made, Mapping) or not all(isinstance(value, Tensor) for value in made.values()):
        raise Mistake(
            f"{where} is not a table of tensors.",
            "",
            "Give a checkpoint with a 'model' entry or bare tensors.",
        )
    return dict(made)


def take(theirs: Mapping[str, Tensor], places: Mapping[str, Place], ours: Mapping[str, Tensor]) -> Moved:
    """Their tensors under our names, fitted to the shapes of `ours`: a table of positions is resized, a vocabulary that
    is a few rows short keeps our last rows. Any other difference in shape is a Mistake."""
    moved = Moved()
    used: set[str] = set()
    for name, place in places.items():
        there = next((other for other in place.names if other in theirs), None)
        used.update(place.names)
        if there is None:
            moved.missing.append(name)
            continue
        tensor = theirs[there]
        if place.third is not None:
            tensor = tensor.chunk(3)[place.third]
        moved.tensors[name] = _fit(name, tensor, ours[name], there)
    moved.left = sorted(set(theirs) - used)
    return moved


def give(ours: Mapping[str, Tensor], places: Mapping[str, Place]) -> dict[str, Tensor]:
    """Our tensors under their names: the inverse of `take`."""
    made: dict[str, Tensor] = {}
    thirds: dict[str, dict[int, Tensor]] = {}
    for name, place in places.items():
        for there in place.names:
            if place.third is None:
                made[there] = ours[name]
            else:
                thirds.setdefault(there, {})[place.third] = ours[name]
    return made | {there: torch.cat([parts[index] for index in range(3)]) for there, parts in thirds.items()}


def _fit(name: str, tensor: Tensor, ours: Tensor, there: str) -> Tensor:
    if tensor.shape == ours.shape:
        return tensor
    if name.endswith("embed.positions") and tensor.shape[-1] == ours.shape[-1]:
        return resize_positions(tensor, ours.shape[1] - 1)
    short = len(ours) - len(tensor) if tensor.ndim and tensor.shape[1:] == ours.shape[1:] else 0
    if (
        name.endswith(("words.weight", "head.bias")) and 0 < short <= 2
    ):  # BERT's vocabulary lacks [DEC] and [ENC]
        return torch.cat([tensor, ours[-short:].detach().to(tensor)])
    raise Mistake(
        f"'{there}' does not fit this system.",
        f"It is {list(tensor.shape)}; '{name}' is {list(ours.shape)}.",
        "Use the config of the checkpoint (size, vocabulary, sharing).",
    )
