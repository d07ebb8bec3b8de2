"""CLIPs whose texts are read by a BERT, as transformers saves them: Chinese CLIP (Yang et al., 2022, arXiv 2211.01335) and AltCLIP
(Chen et al., 2022, arXiv 2211.06679, with XLM-R).

Facts: pictures have CLIP's own tower; a text is the first row of the last layer. AltCLIP norms that row and maps it twice, with
and without a bias: here the two maps are one. Neither file has a pooler.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import Tensor

from pairloom.blocks.encoder_configs import LibraryTextConfig
from pairloom.checkpoints.building import build_for
from pairloom.checkpoints.layout import Place, rename, take
from pairloom.checkpoints.settings import JsonSettings
from pairloom.errors import Mistake
from pairloom.model import Model
from pairloom.systems.clip import Config, System
from pairloom.weights._open_clip_texts import XLM, padding_of
from pairloom.weights._transformers import holds, part, pixels_of, tokens_of, weights_of
from pairloom.weights.openai_clip import LEAD
from pairloom.weights.transformers_clip import IMAGE, LETTER, RULES

BERT = dict(
    model_type="bert", vocab_size=30522, hidden_size=768, num_hidden_layers=12, num_attention_heads=12,
    intermediate_size=3072, hidden_act="gelu", max_position_embeddings=512, type_vocab_size=2, layer_norm_eps=1e-12,
    pad_token_id=0,
)  # fmt: skip
ALT = dict(
    XLM, hidden_size=1024, num_hidden_layers=24, num_attention_heads=16, intermediate_size=4096, hidden_act="gelu",
)  # fmt: skip
KINDS = {"chinese_clip": BERT, "altclip": ALT}
IDLE = ("position_ids", "token_type_ids")
NORM_EPS = 1e-5  # of the norm before AltCLIP's map
FIRST, SECOND, BIAS = (
    "text_model.transformation.weight",
    "text_projection.weight",
    "text_model.transformation.bias",
)


def sniff(where: Path) -> bool:
    """Whether a path is a folder whose config has the model type "chinese_clip" or "altclip"."""
    return any(holds(where, kind) for kind in KINDS)


def load(where: Path, adapters: Path | None = None) -> Model:
    """Load a folder of transformers. adapters: a folder of peft's, which are added to its weights. Mistake for missing or unknown
    tensors, and for another tokenizer."""
    settings = JsonSettings.read(where / "config.json")
    config, tokens = config_of(settings), tokens_of(where)
    if tokens.size > config.vocabulary:
        why = f"It has {tokens.size} tokens, the weights have {config.vocabulary}."
        what = f"The tokenizer in {where} is another model's."
        raise Mistake(what, why, "Put back the tokenizer that was published with the weights.")
    pad, first = padding_of(tokens, where), tokens.roles.get("cls", tokens.sep)
    config = replace(config, vocabulary=tokens.size, pad=pad, sep=tokens.sep, cls=first)
    tensors = weights_of(where, adapters)
    theirs = {_usual(name): one for name, one in tensors.items() if not name.endswith(IDLE)}
    if FIRST in theirs and SECOND in theirs and BIAS in theirs:
        theirs = _one_map(theirs)
    system = build_for(theirs, lambda: System(config), where / "config.json")
    take(theirs, places(system), system.state_dict()).whole(where).into(system)
    about = {"source": f"transformers {settings.text('model_type')} ({where.name})"}
    return Model("clip", system.eval(), tokens, pixels_of(where, config.image_size, "ChineseCLIP"), about)


def _usual(name: str) -> str:
    """A name as it was published: transformers 5 writes AltCLIP's `layer` and `layers` both as `layer`."""
    name = name.replace("vision_model.encoder.layer.", "vision_model.encoder.layers.")
    return name.replace("roberta.encoder.layers.", "roberta.encoder.layer.")


def places(system: System) -> dict[str, Place]:
    """The places of our tensors in the layout."""
    alt = system.config.text is not None and system.config.text.projection == "norm_affine"
    inside = "text_model.roberta" if alt else "text_model"
    head = [(r"text\.projection\.weight", SECOND)]
    if alt:
        head = [(r"text\.projection\.0\.(.+)", r"text_model.pre_LN.\1"), (r"text\.projection\.1\.weight", SECOND),
                (r"text\.projection\.1\.bias", BIAS)]  # fmt: skip
    rules = [
        (r"text\.model\.(.+)", rf"{inside}.\1"),
        *head,
        *(rule for rule in RULES if rule[0] != r"text_projection\.weight"),
    ]
    return {name: Place((_theirs(name, rules),), lead=LEAD.get(name, 0)) for name in system.state_dict()}


def _theirs(name: str, rules: list[tuple[str, str]]) -> str:
    there = rename(name, rules)
    if name.startswith("image."):
        for long, short in LETTER.items():
            there = there.replace(long, short)
    return there


def _one_map(theirs: dict[str, Tensor]) -> dict[str, Tensor]:
    """AltCLIP's two linear maps as one, multiplied in double precision."""
    first, bias, second = (theirs[name].double() for name in (FIRST, BIAS, SECOND))
    if second.shape[1:] != first.shape[:1] or bias.shape != first.shape[:1]:
        return theirs  # `take` says what does not fit
    kind = theirs[SECOND].dtype
    rest = {name: one for name, one in theirs.items() if name != FIRST}
    return rest | {SECOND: (second @ first).to(kind), BIAS: (second @ bias).to(kind)}


def config_of(settings: JsonSettings) -> Config:
    """The Config of a config.json. Mistake for a setting that is not supported."""
    alt = settings.text("model_type") == "altclip"
    defaults = KINDS[settings.text("model_type")]
    text, image = part(settings, "text_config", defaults), part(settings, "vision_config", IMAGE)
    width, eps = image.whole("hidden_size"), image.number("layer_norm_eps", least=0.0)
    if alt and text.number("layer_norm_eps") != NORM_EPS:
        text.refuse("layer_norm_eps", f"{NORM_EPS:g}")
    positions = text.whole("max_position_embeddings", least=3)
    activation: Any = image.text("hidden_act", among=("gelu", "quick_gelu"))
    return Config(
        image_size=image.whole("image_size"), patch=image.whole("patch_size"), image_width=width,
        image_depth=image.whole("num_hidden_layers"), image_heads=image.whole("num_attention_heads"),
        image_growth=image.whole("intermediate_size") / width, vocabulary=text.whole("vocab_size"),
        length=positions - text.whole("pad_token_id", least=0) - 1 if alt else positions,
        embedding=settings.whole("projection_dim", 768 if alt else 512), activation=activation, eps=eps,
        text=LibraryTextConfig(library_of(text, defaults), "first", "norm_affine" if alt else "linear"),
    )  # fmt: skip


def library_of(text: JsonSettings, defaults: Mapping[str, Any]) -> str:
    """The config of the library's own encoder, as JSON, from that of the text side of another model."""
    library: dict[str, Any] = {name: text.values[name] for name in defaults}
    return json.dumps(
        library | {"model_type": defaults["model_type"], "position_embedding_type": "absolute"},
        sort_keys=True,
    )
