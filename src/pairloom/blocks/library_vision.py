"""An image encoder of the transformers library in place of one of ours, built from its config and without its weights.

Does not know: what the pictures are compared with.

I pictures, X Y sides, E shared embedding.
"""

from __future__ import annotations

import json
from typing import Any

from jaxtyping import Float
from torch import Tensor, nn

from pairloom.blocks.encoder_configs import LibraryVisionConfig
from pairloom.blocks.library_language import transformers_library
from pairloom.errors import Mistake


class LibraryVision(nn.Module):
    """An encoder's own pooled output [I 3 X Y] -> [I E]. Raises Mistake where transformers is not installed or the config is of
    no image encoder."""

    def __init__(self, config: LibraryVisionConfig) -> None:
        super().__init__()
        self.model = _network(json.loads(config.library_image))

    def forward(self, images: Float[Tensor, "I 3 X Y"]) -> Float[Tensor, "I E"]:
        pooled: Tensor = self.model(pixel_values=images).pooler_output
        return pooled


def _network(settings: dict[str, Any]) -> nn.Module:
    """The network whose class has the name of its config's: transformers' AutoModel knows no parts of other models."""
    library = transformers_library("This image encoder")
    try:
        kind = library.AutoConfig.for_model(**settings)
        network: nn.Module = getattr(library, type(kind).__name__.removesuffix("Config") + "Model")(kind)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise Mistake(
            f"transformers has no image encoder for '{settings.get('model_type', '?')}'.",
            str(error).split("\n")[0],
            "Known to work: align_vision_model. pip install --upgrade transformers",
        ) from error
    return network
