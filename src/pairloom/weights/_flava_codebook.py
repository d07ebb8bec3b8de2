"""FLAVA's image codebook as transformers saves it (FlavaImageCodebook, facebook/flava-image-codebook): the encoder that OpenAI released
of DALL-E's discrete VAE, under other names."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from pairloom.blocks.codebook_configs import DiscreteVaeConfig
from pairloom.blocks.discrete_vae import GROUPS
from pairloom.checkpoints.layout import Place, shape_of
from pairloom.weights._bert_names import count_layers
from pairloom.weights._codebook_file import CodebookFile

ENTER, OUT = "blocks.input", "blocks.output.conv"
FIRST_GROUP = "blocks.group_1.group."


def sniff(theirs: Mapping[str, Tensor]) -> bool:
    """Whether these are its tensors."""
    return any(name.startswith(FIRST_GROUP) for name in theirs)


def codebook_of(theirs: Mapping[str, Tensor], where: Path) -> CodebookFile:
    """The sizes follow from the shapes. Mistake where a tensor that says one is missing."""
    width, codes = (shape_of(theirs, f"{name}.weight", 4, where, "a codebook")[0] for name in (ENTER, OUT))
    blocks = count_layers(theirs, f"{FIRST_GROUP}block_")
    return CodebookFile(DiscreteVaeConfig(width, blocks), codes, theirs, lambda name: place(name, blocks))


def place(name: str, blocks: int) -> Place:
    """Where a tensor of our encoder lies. Ours numbers the blocks of all groups in one row, with a pooling behind each group but the last."""
    stem, _, kind = name.rpartition(".")
    if one := re.fullmatch(r"groups\.(\d+)\.(shortcut|layers\.(\d+))", stem):
        group, block = divmod(int(one[1]), blocks + 1)
        assert group < len(GROUPS) and block < blocks
        part = "id_path" if one[3] is None else f"res_path.path.conv_{(int(one[3]) + 1) // 2}"
        return Place((f"blocks.group_{group + 1}.group.block_{block + 1}.{part}.{kind}",))
    return Place((f"{ENTER if stem == 'enter' else OUT}.{kind}",))
