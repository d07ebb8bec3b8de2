"""BLIP as transformers saves it: captioning (BlipForConditionalGeneration), retrieval (BlipForImageTextRetrieval), and
questions (BlipForQuestionAnswering, written by transformers_vqa.py).

Facts: the names are Salesforce's except in the image tower; the default number of heads (8) is that of no published model,
so the config must contain it; vision_config's layer_norm_eps 1e-5 is a default too: the weights were trained with 1e-6,
which is used here; texts end with sep_token_id, not with eos_token_id. transformers' matcher begins texts with [CLS]; here
the match begins them with [ENC], as in training and in the paper. Files from before 2024 contain the word table a second
time, as the decoder's.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pairloom import verbs
from pairloom.checkpoints.settings import JsonSettings
from pairloom.errors import Mistake
from pairloom.model import Model
from pairloom.model.generation import Generation
from pairloom.systems.blip import CLEAN
from pairloom.weights import salesforce_tasks
from pairloom.weights._transformers import holds, pixels_of, tokens_of, weights_of, write
from pairloom.weights.salesforce import (
    RELEASED,
    check_tokens,
    config_of,
    filled,
    fitted,
    from_transformers,
    task_of,
    to_salesforce,
    to_transformers,
)

WRITES, SYSTEM = "transformers", "blip"
CLASSES = {"caption": "BlipForConditionalGeneration", "match": "BlipForImageTextRetrieval"}
TIED = "text_decoder.cls.predictions.decoder."  # the word table and its bias a second time
# what each class has of a whole model
HAS = {
    "caption": ("vision_model.", "text_decoder."),
    "match": ("vision_model.", "text_encoder.", "vision_proj.", "text_proj.", "itm_head."),
}


def sniff(where: Path) -> bool:
    """Whether a path is a folder whose config has the model type "blip"."""
    return holds(where, "blip")


def load(where: Path, adapters: Path | None = None) -> Model:
    """Load a folder of transformers. adapters: a folder of peft's, which are added to its weights. Mistake for a class that is not
    supported, and for unknown tensors."""
    settings = JsonSettings.read(where / "config.json")
    parts = [settings.inner("vision_config"), settings.inner("text_config")]
    theirs = {from_transformers(name): tensor for name, tensor in weights_of(where, adapters).items()}
    missing = [f"{one.group}num_attention_heads" for one in parts if "num_attention_heads" not in one]
    if missing:
        raise Mistake(
            f"{where / 'config.json'} lacks {' and '.join(missing)}.",
            "transformers' defaults are not those of the published models.",
            "Add the number to the config (12 in base models; 16 for the image tower of large ones).",
        )
    heads = (parts[0].whole("num_attention_heads"), parts[1].whole("num_attention_heads"))
    task = task_of(theirs)
    config = (salesforce_tasks.config_of if task else config_of)(theirs, where, heads)
    tokens = tokens_of(where, "" if task else CLEAN)
    check_tokens(tokens.size, config, where)
    config, tokens = fitted(config, tokens)
    stated = parts[0].whole("image_size", 384)
    if stated != config.image_size:
        raise Mistake(
            f"{where} contradicts itself.",
            f"Its config reads {stated} px, its weights {config.image_size}.",
        )
    name = next(iter(settings.texts("architectures")), "BLIP")
    system = (salesforce_tasks.filled if task else filled)(config, theirs, where)
    return Model(
        task or "blip",
        system,
        tokens,
        pixels_of(where, config.image_size, "Blip"),
        {"source": f"transformers {name} ({where.name})"},
        Generation() if task else RELEASED,
    )


def export(model: Model, out: Path, task: str = "") -> None:
    """Export a folder that the class of `task` ("caption" or "match") loads. Mistake without a task where the model can do
    both."""
    able = [kind for kind in ("caption", "match") if verbs.able(model.system, kind)]
    if not able:
        raise Mistake(
            "This model learnt neither to match nor to caption.", "transformers has no class for it."
        )
    if task not in able and (task or len(able) > 1):
        raise Mistake(
            f"transformers has no class for all that this model can{f', or none that can {task}' if task else ''}.",
            "It has one that captions and one that matches.",
            f"Add --task {' or --task '.join(able)}.",
        )
    task = task or able[0]
    tensors = {to_transformers(name): tensor for name, tensor in to_salesforce(model.system).items()}
    tensors = {
        name: tensor
        for name, tensor in tensors.items()
        if name.startswith(HAS[task]) and not name.startswith(TIED)
    }
    write(model, out, config_for(model, CLASSES[task]), tensors, "Blip")


def config_for(model: Model, kind: str) -> Mapping[str, Any]:
    """The config.json of one of transformers' classes."""
    c: Any = model.config
    shared = getattr(c, "embedding", 256)
    text = {
        "model_type": "blip_text_model", "vocab_size": c.vocabulary, "hidden_size": c.width,
        "encoder_hidden_size": c.image_width, "intermediate_size": 4 * c.width, "num_hidden_layers": c.depth,
        "num_attention_heads": c.heads, "max_position_embeddings": c.positions, "layer_norm_eps": 1e-12,
        "hidden_act": "gelu", "hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0, "bos_token_id": c.dec,
        "pad_token_id": c.pad, "eos_token_id": c.sep, "sep_token_id": c.sep, "label_smoothing": c.label_smoothing,
        "is_decoder": True,
    }  # fmt: skip
    image = {
        "model_type": "blip_vision_model", "hidden_size": c.image_width, "intermediate_size": 4 * c.image_width,
        "num_hidden_layers": c.image_depth, "num_attention_heads": c.image_heads, "image_size": c.image_size,
        "patch_size": c.patch, "layer_norm_eps": 1e-6, "hidden_act": "gelu",
    }  # fmt: skip
    return {
        "architectures": [kind], "model_type": "blip", "image_text_hidden_size": shared,
        "projection_dim": shared, "dtype": "float32", "text_config": text, "vision_config": image,
    }  # fmt: skip
