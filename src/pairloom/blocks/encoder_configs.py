"""The numbers of encoders that pool and project by themselves: what the dual encoders after CLIP differ in.

Does not know: the networks (encoders.py builds them), pictures' sides and vocabularies, which are the system's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pairloom.blocks.feed import Activation

# into the shared embedding: a linear map without or with a bias, a norm before the latter, a linear map, GELU and another one, or
# nothing
Projection = Literal["linear", "affine", "norm_affine", "mlp", "none"]


@dataclass(frozen=True)
class ViTConfig:
    """A vision transformer and how its rows become one vector; the defaults are SigLIP's B/16 (Zhai et al., 2023).

    pool: the "class" row, the "mean" of the patches, "map" (one learned query attends to the rows, and a feed-forward part
    follows: "multihead attention pooling", Zhai et al., 2022), or "queries" (several such queries, the first of which is
    taken: CoCa as open_clip has it). queries, query_heads: of the last one. class_row: whether there is a row before the
    patches. patch_bias: of the patch projection. norm_first: a norm before the stack. norm_pooled: the last norm is that of
    the pooled vector instead of the rows'. positions: "fixed" ones are not learned.
    """

    patch: int = 16
    width: int = 768
    depth: int = 12
    heads: int = 12
    growth: float = 4.0
    activation: Activation = "gelu"
    eps: float = 1e-6
    pool: Literal["class", "mean", "map", "queries"] = "map"
    queries: int = 256
    query_heads: int = 8
    class_row: bool = False
    patch_bias: bool = True
    norm_first: bool = False
    norm_pooled: bool = False
    positions: Literal["learned", "fixed"] = "learned"
    projection: Projection = "none"


@dataclass(frozen=True)
class ConvNeXtConfig:
    """A ConvNeXt (Liu et al., 2022). depths, widths: blocks and channels of each stage. eps: of every norm."""

    depths: tuple[int, ...] = (3, 3, 27, 3)
    widths: tuple[int, ...] = (128, 256, 512, 1024)
    eps: float = 1e-6
    projection: Projection = "linear"


@dataclass(frozen=True)
class TimmConfig:
    """An image network of the timm library. name: as timm has it. timm_pool: how it pools ("": its own way). head: whether its
    own classifier is the projection into the shared embedding. side: of the pictures that its weights are for (0: any); its
    positions are not interpolated."""

    name: str
    timm_pool: str = ""
    head: bool = False
    projection: Projection = "none"
    side: int = 0


@dataclass(frozen=True)
class LibraryVisionConfig:
    """An image encoder of the transformers library, whose own pooling gives the embedding. library_image: its config, as JSON."""

    library_image: str


@dataclass(frozen=True)
class TextEncoderConfig:
    """A text transformer that sees its padding: every text is filled up to the full length, as SigLIP's and CLIPA's are.

    text_pool: the row of the "last" position, of the "first", or of the "end" token. causal: whether a token sees only what
    came before.
    """

    text_pool: Literal["last", "first", "end"] = "last"
    causal: bool = False
    projection: Projection = "affine"


@dataclass(frozen=True)
class LibraryTextConfig:
    """A text encoder of the transformers library. library: its config, as JSON. library_pool: the "mean" or the "max" of the
    real rows, the "first" row, or the "pooler" of the network itself. projection: "mlp" has no biases here."""

    library: str
    library_pool: Literal["mean", "max", "first", "pooler"] = "mean"
    projection: Projection = "linear"


VisionConfig = ViTConfig | ConvNeXtConfig | TimmConfig | LibraryVisionConfig
TextConfig = TextEncoderConfig | LibraryTextConfig
