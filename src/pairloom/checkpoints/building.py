"""A network for the tensors of a file: tried out without memory first, since a config can say anything.

Does not know: any one network or layout.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn.modules.module import (
    register_module_buffer_registration_hook,
    register_module_parameter_registration_hook,
)

from pairloom.errors import Mistake

N = TypeVar("N", bound=nn.Module)
# how much larger than its file a network may be: tensors that a file fuses or ties, a part that it lacks, a momentum queue
TENSORS, NUMBERS, SPARE = 8, 4, (1 << 10, 1 << 27)
AGAIN = "Copy its config again, as it was published."


def build_for(tensors: Mapping[str, Tensor], make: Callable[[], N], where: Path) -> N:
    """The network that `make` builds. Mistake where its settings describe none, or one that is much larger than the tensors
    which are to fill it: this is found on torch's meta device, before any memory is taken."""
    return build_within(len(tensors), sum(one.numel() for one in tensors.values()), make, where)


def build_within(count: int, numbers: int, make: Callable[[], N], where: Path) -> N:
    """`build_for` a file of so many tensors with so many numbers in all."""
    most = TENSORS * count + SPARE[0], NUMBERS * numbers + SPARE[1]
    try:
        with torch.device("meta"), warnings.catch_warnings(), _at_most(*most, where):
            warnings.simplefilter("ignore")
            make()
    except Mistake:
        raise
    except Exception as error:  # a constructor, of other libraries too, may raise whatever it likes
        why = str(error).split("\n")[0] or type(error).__name__
        raise Mistake(
            f"No network can be built from the settings in {where}.", f"{why[:200]}.", AGAIN
        ) from error
    return make()


@contextmanager
def _at_most(count: int, numbers: int, where: Path) -> Iterator[None]:
    """Raises Mistake inside the block once modules have registered more tensors, or more numbers in all, than this; and ValueError
    for a tensor without any."""
    sums = [0, 0]

    def add(module: nn.Module, name: str, tensor: Tensor | None) -> None:
        if tensor is None:
            return
        if not tensor.numel() and isinstance(tensor, nn.Parameter):
            raise ValueError(
                f"'{name}' of a {type(module).__name__} would have no numbers: {list(tensor.shape)}"
            )
        sums[0] += 1
        sums[1] += tensor.numel()
        if sums[0] > count or sums[1] > numbers:
            why = "It would have more than {:,} tensors of {:,} numbers.".format(*sums)
            raise Mistake(
                f"The settings in {where} describe a network much larger than its weights.", why, AGAIN
            )

    hooks = register_module_parameter_registration_hook(add), register_module_buffer_registration_hook(add)
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
