"""An image network of the timm library in place of one of ours, built without its weights.

Does not know: what the pictures are compared with.

I pictures, X Y sides, E shared embedding.
"""

from __future__ import annotations

from typing import Any

from jaxtyping import Float
from torch import Tensor, nn

from pairloom.blocks.encoder_configs import TimmConfig
from pairloom.blocks.encoders import projection
from pairloom.errors import Mistake


class TimmNetwork(nn.Module):
    """[I 3 X Y] -> [I E]. Raises Mistake where timm is not installed or has no such network, ValueError for pictures of another
    side than the config's."""

    def __init__(self, config: TimmConfig, image_size: int, embedding: int) -> None:
        super().__init__()
        if config.side not in (0, image_size):
            raise ValueError(f"{config.name} reads pictures of {config.side} px, not of {image_size}")
        timm = _library()
        if not timm.is_model(config.name):
            raise Mistake(
                f"timm {timm.__version__} has no network '{config.name}'.",
                "",
                "pip install --upgrade timm",
            )
        try:
            self.trunk = _trunk(timm, config, embedding)
        except AssertionError as error:  # how timm refuses a pooling
            raise ValueError(f"{config.name}: {error}") from error
        width = embedding if config.head else self.trunk.num_features
        self.projection = projection(config.projection, width, embedding)

    def forward(self, images: Float[Tensor, "I 3 X Y"]) -> Float[Tensor, "I E"]:
        return self.projection(self.trunk(images))


def _trunk(timm: Any, config: TimmConfig, embedding: int) -> Any:
    """The network without its classifier, or with one that is the projection."""
    if config.head:
        return timm.create_model(config.name, num_classes=embedding, global_pool=config.timm_pool)
    trunk = timm.create_model(config.name)
    trunk.reset_classifier(0, **({"global_pool": config.timm_pool} if config.timm_pool else {}))
    return trunk


def _library() -> Any:
    try:
        import timm
    except ImportError as error:
        raise Mistake(
            "This image network needs timm.", f"{error}.", "pip install 'pairloom[timm]'"
        ) from error
    return timm
