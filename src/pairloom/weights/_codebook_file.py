"""What every layout of codebooks is read as."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from torch import Tensor

from pairloom.blocks.codebook_configs import CodebookConfig
from pairloom.checkpoints.layout import Place


class CodebookFile(NamedTuple):
    """A codebook in a file. codes: how many it has; place: where a tensor of our encoder lies among the file's."""

    config: CodebookConfig
    codes: int
    tensors: Mapping[str, Tensor]
    place: Callable[[str], Place]
