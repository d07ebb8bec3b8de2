"""ALIGN (Jia et al., 2021, arXiv 2102.05918) as transformers saves it (AlignModel): an EfficientNet and a BERT.

Facts: the pooled cells of the EfficientNet are the picture's embedding, without a projection; a text is the first row of BERT's
last layer, projected with a bias, and BERT's own pooler is never read; scores are divided by the temperature itself. The
processor squashes pictures to 346 px, cuts out the middle 289 and scales values to -1..1. Texts have at most 64 tokens, as in
training.
"""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from pairloom.blocks.encoder_configs import LibraryTextConfig, LibraryVisionConfig
from pairloom.checkpoints.building import build_for
from pairloom.checkpoints.layout import Place, rename, take
from pairloom.checkpoints.settings import JsonSettings
from pairloom.errors import Mistake
from pairloom.model import Model
from pairloom.systems.clip import Config, System
from pairloom.weights._open_clip_texts import padding_of
from pairloom.weights._transformers import holds, part, pixels_of, tokens_of, weights_of
from pairloom.weights.openai_clip import COUNTS
from pairloom.weights.transformers_bert_clip import BERT, library_of

LENGTH = 64
IMAGE = dict(
    num_channels=3, image_size=600, width_coefficient=2.0, depth_coefficient=3.1, depth_divisor=8,
    kernel_sizes=[3, 3, 5, 3, 5, 5, 3], in_channels=[32, 16, 24, 40, 80, 112, 192],
    out_channels=[16, 24, 40, 80, 112, 192, 320], depthwise_padding=[], strides=[1, 2, 2, 2, 1, 2, 1],
    num_block_repeats=[1, 2, 2, 3, 3, 4, 1], expand_ratios=[1, 6, 6, 6, 6, 6, 6], squeeze_expansion_ratio=0.25,
    hidden_act="swish", hidden_dim=2560, pooling_type="mean", batch_norm_eps=0.001, batch_norm_momentum=0.99,
    drop_connect_rate=0.2,
)  # fmt: skip
UNREAD = "text_model.pooler."
RULES = [
    (r"scale", "temperature"),
    (r"image\.model\.(.+)", r"vision_model.\1"),
    (r"text\.model\.(.+)", r"text_model.\1"),
    (r"text\.projection\.(.+)", r"text_projection.\1"),
]


def sniff(where: Path) -> bool:
    """Whether a path is a folder whose config has the model type "align"."""
    return holds(where, "align")


def load(where: Path, adapters: Path | None = None) -> Model:
    """Load a folder of transformers. adapters: a folder of peft's, which are added to its weights. Mistake for missing or unknown
    tensors, and for another tokenizer."""
    settings = JsonSettings.read(where / "config.json")
    config, tokens = config_of(settings), tokens_of(where)
    if tokens.size > config.vocabulary:
        why = f"It has {tokens.size} tokens, the weights have {config.vocabulary}."
        what = f"The tokenizer in {where} is another model's."
        raise Mistake(what, why, "Put back the tokenizer that was published with the weights.")
    first = tokens.roles.get("cls", tokens.sep)
    config = replace(config, vocabulary=tokens.size, pad=padding_of(tokens, where), sep=tokens.sep, cls=first)
    theirs = {
        name: one
        for name, one in weights_of(where, adapters).items()
        if not name.startswith(UNREAD) and not name.endswith("position_ids")
    }
    system = build_for(theirs, lambda: System(config), where / "config.json")
    pooled = system.image.model.encoder.blocks[-1].projection.project_conv.out_channels
    if pooled != config.embedding:
        settings.refuse("projection_dim", f"{pooled}, which is what the image encoder pools")
    places = {name: Place((rename(name, RULES),)) for name in system.state_dict()}
    counts = tuple(name for name in places if name.endswith(COUNTS))
    take(theirs, places, system.state_dict()).whole(where, counts).into(system)
    with torch.no_grad():
        if not 0 < float(system.scale) < math.inf:
            what = f"The temperature in {where} is {float(system.scale):g}."
            raise Mistake(
                what, "Scores are divided by it.", "Copy the weights again, as they were published."
            )
        system.scale.copy_(-system.scale.log())
    about = {"source": f"transformers align ({where.name})"}
    return Model("clip", system.eval(), tokens, pixels_of(where, config.image_size, "Align"), about)


def config_of(settings: JsonSettings) -> Config:
    """The Config of a config.json. Mistake for a setting that is not supported."""
    text, image = part(settings, "text_config", BERT), part(settings, "vision_config", IMAGE)
    embedding = settings.whole("projection_dim", 640)
    if image.whole("num_channels") != 3:
        image.refuse("num_channels", "3")
    image.text("pooling_type", among=("mean", "max"))
    network: dict[str, Any] = {name: image.values[name] for name in IMAGE} | {
        "model_type": "align_vision_model"
    }
    return Config(
        image_size=image.whole("image_size"), vocabulary=text.whole("vocab_size"),
        length=min(LENGTH, text.whole("max_position_embeddings", least=3)), embedding=embedding,
        vision=LibraryVisionConfig(json.dumps(network, sort_keys=True)),
        text=LibraryTextConfig(library_of(text, BERT), "first", "affine"),
    )  # fmt: skip
