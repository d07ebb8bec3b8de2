"""A text encoder of the transformers library in place of one of ours, built from its config and without its weights.

Does not know: pictures, the hub.

B texts, T tokens, D width, E shared embedding.
"""

from __future__ import annotations

import json
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from pairloom.blocks.encoder_configs import LibraryTextConfig
from pairloom.blocks.library_language import transformers_library
from pairloom.errors import Mistake


class LibraryText(nn.Module):
    """RoBERTa, XLM-R, BERT, or the encoder of mT5 or NLLB: (tokens [B T], mask [B T]) -> [B E].

    pad: the id that fills rows. Raises Mistake where transformers is not installed or the config is of no encoder.
    """

    def __init__(self, config: LibraryTextConfig, pad: int, embedding: int) -> None:
        super().__init__()
        self.pool_kind, self.pad = config.library_pool, pad
        self.model, width = _encoder(json.loads(config.library), config.library_pool == "pooler")
        self.projection = _projection(config, width, embedding)

    def forward(self, tokens: Int[Tensor, "B T"], mask: Bool[Tensor, "B T"]) -> Float[Tensor, "B E"]:
        """mask: True = real."""
        output = self.model(input_ids=tokens.masked_fill(~mask, self.pad), attention_mask=mask.long())
        rows: Tensor = output.last_hidden_state
        real = mask[..., None]
        if self.pool_kind == "pooler":
            return self.projection(output.pooler_output)
        if self.pool_kind == "mean":
            return self.projection((rows * real).sum(1) / real.sum(1))
        if self.pool_kind == "max":
            return self.projection(rows.masked_fill(~real, -torch.inf).max(1).values)
        return self.projection(rows[:, 0])


def _encoder(settings: dict[str, Any], pooler: bool) -> tuple[nn.Module, int]:
    """The encoder of a config, and its width."""
    library = transformers_library("This text encoder")
    try:
        kind = library.AutoConfig.for_model(**settings)
        if kind.is_encoder_decoder:
            network = library.AutoModel.from_config(kind).get_encoder()
        else:
            network = library.AutoModel.from_config(kind, add_pooling_layer=pooler)
    except (ValueError, TypeError, KeyError) as error:
        raise Mistake(
            f"transformers has no text encoder for '{settings.get('model_type', '?')}'.",
            str(error).split("\n")[0],
            "Known to work: roberta, xlm-roberta, bert, mt5, m2m_100.",
        ) from error
    return network, int(kind.hidden_size)


def _projection(config: LibraryTextConfig, width: int, embedding: int) -> nn.Module:
    """Linear maps without biases."""
    if config.projection != "mlp":
        from pairloom.blocks.encoders import projection

        return projection(config.projection, width, embedding)
    hidden = (width + embedding) // 2
    return nn.Sequential(
        nn.Linear(width, hidden, bias=False), nn.GELU(), nn.Linear(hidden, embedding, bias=False)
    )
