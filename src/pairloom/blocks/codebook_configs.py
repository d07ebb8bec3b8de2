"""The numbers of codebooks whose codes a model predicts but does not learn.

Does not know: the networks (patch_codes.py builds them).
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class DiscreteVaeConfig:
    """The encoder of DALL-E's discrete VAE (Ramesh et al., 2021), as BEiT's tokenizer: 112 px are 14 x 14 codes. first_width: of its
    first group; blocks: of each group."""

    first_width: int = 256
    blocks: int = 2


@dataclass(frozen=True)
class VqKdConfig:
    """The encoder of BEiT v2's tokenizer (Peng et al., 2022, arXiv 2208.06366, section 3.1): a ViT-B/16, whose rows become
    vectors of `embedding` numbers, and these the nearest in a table."""

    width: int = 768
    depth: int = 12
    heads: int = 12
    embedding: int = 32


CodebookConfig = DiscreteVaeConfig | VqKdConfig
