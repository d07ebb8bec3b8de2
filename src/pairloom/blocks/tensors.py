"""The tensors of a network by name, each once however many names it has; and back again.

Does not know: files, optimisers.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from pairloom.errors import Mistake


def _names(module: nn.Module) -> dict[str, tuple[Tensor, list[str]]]:
    """First name -> the tensor and all its names, for parameters and the buffers that belong to a checkpoint."""
    shared: dict[int, tuple[Tensor, list[str]]] = {}
    for name, tensor in module.state_dict(keep_vars=True).items():
        shared.setdefault(id(tensor), (tensor, []))[1].append(name)
    return {names[0]: (tensor, names) for tensor, names in shared.values()}


def tensors_of(module: nn.Module, drop: tuple[str, ...] = ()) -> dict[str, Tensor]:
    """Parameters and buffers by their first name: a shared tensor appears once. drop: prefixes to leave out."""
    kept = {name: tensor.detach() for name, (tensor, _) in _names(module).items()}
    return {name: tensor.contiguous() for name, tensor in kept.items() if not name.startswith(drop)}


def put_tensors(module: nn.Module, tensors: Mapping[str, Tensor], drop: tuple[str, ...] = ()) -> None:
    """Copy tensors into a module. Every tensor must find its place and every place its tensor, `drop` excepted.

    Raises Mistake that names what is missing, left over, or of another shape.
    """
    places = _names(module)
    aliases = {alias: tensor for tensor, names in places.values() for alias in names}
    missing = [
        names[0]
        for _, names in places.values()
        if not any(name in tensors for name in names) and not names[0].startswith(drop)
    ]
    extra = [name for name in tensors if name not in aliases]
    shapes = [
        f"{name} is {list(tensor.shape)}, expected {list(aliases[name].shape)}"
        for name, tensor in tensors.items()
        if name in aliases and tensor.shape != aliases[name].shape
    ]
    if missing or extra or shapes:
        reasons = [f"missing: {_few(missing)}"] * bool(missing) + [f"left over: {_few(extra)}"] * bool(extra)
        reasons += [f"other shapes: {_few(shapes)}"] * bool(shapes)
        raise Mistake(
            "The weights do not fit this system.",
            "; ".join(reasons) + ".",
            "Use the config that they were saved with.",
        )
    with torch.no_grad():
        for name, tensor in tensors.items():
            aliases[name].copy_(tensor)


def put_shared(module: nn.Module, tensors: Mapping[str, Tensor]) -> list[str]:
    """Copy the tensors that fit; the names of those of the module that stay as they were, because there is none for them or
    it has another shape. Raises Mistake for a name that the module has not."""
    places = _names(module)
    extra = [name for name in tensors if name not in places]
    if extra:
        raise Mistake("The weights do not fit this system.", f"left over: {_few(extra)}.", "")
    stays = [
        name
        for name, (place, _) in places.items()
        if name not in tensors or tensors[name].shape != place.shape
    ]
    with torch.no_grad():
        for name in places.keys() - set(stays):
            places[name][0].copy_(tensors[name])
    return stays


def _few(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
