"""unCLIP pipelines as diffusers saves them (UnCLIPPipeline): Karlo.

Facts: embeddings have any length and are standardised by `clip_mean` and `clip_std` before noise is added; the prior reads the last
rows of CLIP's text encoder, and so does the decoder, in place of a text transformer of its own; the last step of super-resolution has
a network of its own; there is one enlarger, to 256 pixels. CLIP's image side is in the pipeline of variations alone: its folder
`image_encoder` is read where it lies beside the others.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from pairloom.checkpoints.building import build_for
from pairloom.checkpoints.layout import Place, read, rename, take
from pairloom.checkpoints.settings import JsonSettings
from pairloom.data.tokens import Tokens
from pairloom.data.transform import Transform
from pairloom.errors import Mistake
from pairloom.model import Model, read_json
from pairloom.systems.dalle2 import PIXELS, Config, System
from pairloom.weights.diffusers import own_settings, padding_of, part_settings, weights_file
from pairloom.weights.transformers_clip import places

KIND = "UnCLIPPipeline"
FOLDERS = (
    "prior", "decoder", "text_proj", "text_encoder", "super_res_first", "super_res_last", "prior_scheduler", "decoder_scheduler",
    "super_res_scheduler", "tokenizer",
)  # fmt: skip
ATTENTION = {"query": "to_q", "key": "to_k", "value": "to_v", "out": "to_out.0"}
BLOCK = r"stack\.layers\.(\d+)\."
PRIOR = [
    (r"words\.(.+)", r"encoder_hidden_states_proj.\1"),
    (r"text\.(.+)", r"embedding_proj.\1"),
    (r"noisy\.(.+)", r"proj_in.\1"),
    (r"time\.0\.(.+)", r"time_embedding.linear_1.\1"),
    (r"time\.2\.(.+)", r"time_embedding.linear_2.\1"),
    ("query", "prd_embedding"),
    ("positions", "positional_embedding"),
    ("mean", "clip_mean"),
    ("deviation", "clip_std"),
    (r"norm\.(.+)", r"norm_out.\1"),
    (r"out\.(.+)", r"proj_to_clip_embeddings.\1"),
    (BLOCK + r"attend\.0\.norm\.(.+)", r"transformer_blocks.\1.norm1.\2"),
    (BLOCK + r"feed\.0\.norm\.(.+)", r"transformer_blocks.\1.norm3.\2"),
    (BLOCK + r"feed\.0\.fn\.up\.(.+)", r"transformer_blocks.\1.ff.net.0.proj.\2"),
    (BLOCK + r"feed\.0\.fn\.down\.(.+)", r"transformer_blocks.\1.ff.net.2.\2"),
    *(
        (BLOCK + rf"attend\.0\.fn\.{ours}\.(.+)", rf"transformer_blocks.\1.attn1.{there}.\2")
        for ours, there in ATTENTION.items()
    ),
]
CONDITIONING = [
    ("none", "learned_classifier_free_guidance_embeddings"),
    (r"text_to_time\.(.+)", r"embedding_proj.\1"),
    (r"image_to_time\.(.+)", r"clip_image_embeddings_project_to_time_embeddings.\1"),
    (r"image_to_tokens\.(.+)", r"clip_extra_context_tokens_proj.\1"),
    (r"words\.(.+)", r"encoder_hidden_states_proj.\1"),
    (r"norm\.(.+)", r"text_encoder_hidden_states_norm.\1"),
]
SAME = [("(.+)", r"\1")]
# a folder of the pipeline -> the prefix of its tensors here, and the rules of their names
PARTS: dict[str, tuple[str, list[tuple[str, str]]]] = {
    "prior": ("prior.", PRIOR),
    "text_proj": ("decoder.conditioning.", CONDITIONING),
    "decoder": ("decoder.unet.", SAME),
    "super_res_first": ("up_256.unet.", SAME),
    "super_res_last": ("up_256.last.", SAME),
    "text_encoder": ("clip.text", SAME),
    "image_encoder": ("clip.image", SAME),
}


def sniff(where: Path) -> bool:
    """Whether a path is a folder whose model_index.json names the pipeline."""
    return where.is_dir() and read_json(where / "model_index.json").get("_class_name") == KIND


def load(where: Path) -> Model:
    """Load a pipeline's folder. Mistake for a part that is missing, left over, or of another kind or size."""
    config = config_of(where)
    parts = {part: _tensors(where / part) for part in PARTS if config.reads_images or part != "image_encoder"}
    every = {f"{part}.{name}": tensor for part, tensors in parts.items() for name, tensor in tensors.items()}
    system = build_for(every, lambda: System(config), where)
    ours, of_clip = (
        system.state_dict(),
        {f"clip.{name}": place for name, place in places(system.clip).items()},
    )
    for part, theirs in parts.items():
        prefix, rules = PARTS[part]
        mine = {name: tensor for name, tensor in ours.items() if name.startswith(prefix)}
        there = {
            name: of_clip.get(name) or Place((rename(name.removeprefix(prefix), rules),)) for name in mine
        }
        take(theirs, there, mine).whole(where / part).into(system)
    tokens, about = Tokens.load(where / "tokenizer"), {"source": f"diffusers {KIND} ({where.name})"}
    return Model("dalle2", system.eval(), tokens, Transform(config.image_size, **PIXELS), about)  # type: ignore[arg-type]


def config_of(where: Path) -> Config:
    """The Config of a pipeline's folder. Mistake where folders are missing or do not fit together."""
    lacking = [name for name in FOLDERS if not (where / name).is_dir()]
    if lacking:
        what = f"The pipeline {where} has no {' and no '.join(lacking)}."
        raise Mistake(what, f"It is a {KIND}.", "Copy the whole folder.")
    names = ("prior", "text_encoder", "text_proj", "decoder", "super_res_first", "super_res_last")
    files = {name: part_settings(where / name / "config.json") for name in names}
    prior, decoder, text = files["prior"], files["decoder"], files["text_encoder"]
    tokens, images = Tokens.load(where / "tokenizer"), (where / "image_encoder").is_dir()
    _check(where, files, tokens)
    sides = (
        decoder.whole("sample_size", most=1 << 12),
        files["super_res_first"].whole("sample_size", most=1 << 13),
    )
    heads = prior.whole("num_attention_heads", 32)
    schedulers = {"prior": "prior_scheduler", "decoder": "decoder_scheduler", "up_256": "super_res_scheduler"}
    return Config(
        image_size=sides[1], sides=sides, vocabulary=text.whole("vocab_size"), length=text.whole("max_position_embeddings"),
        pad=padding_of(where / "tokenizer", tokens), cls=tokens.cls, sep=tokens.sep,
        clip=_clip(text, part_settings(where / "image_encoder" / "config.json") if images else None), reads_images=images,
        normalised=False, prior_width=heads * prior.whole("attention_head_dim", 64), prior_depth=prior.whole("num_layers", 20),
        prior_heads=heads, decoder=_network(decoder), up_256=_network(files["super_res_first"]), up_1024={},
        last=_network(files["super_res_last"]),
        noise={part: _scheduler(where / folder) for part, folder in schedulers.items()}, steps=(25, 25, 7, 7),
        guidance=(4.0, 8.0), candidates=1, judge="prior" if images else "decoder",
    )  # fmt: skip


def _clip(text: JsonSettings, image: JsonSettings | None) -> dict[str, Any]:
    """Settings of a CLIP of these encoders; a small image side where there is none, which is then taken out."""
    width = text.whole("hidden_size")
    own: dict[str, Any] = {
        "width": width, "depth": text.whole("num_hidden_layers"), "heads": text.whole("num_attention_heads"),
        "growth": text.whole("intermediate_size") / width, "embedding": text.whole("projection_dim"),
        "activation": text.text("hidden_act", "quick_gelu", ("gelu", "quick_gelu")),
        "eps": text.number("layer_norm_eps", 1e-5, 0.0),
    }  # fmt: skip
    if image is None:
        return {**own, "image_size": 32, "patch": 32, "image_width": 32, "image_depth": 1, "image_heads": 1}
    wide = image.whole("hidden_size")
    return {
        **own, "image_size": image.whole("image_size"), "patch": image.whole("patch_size"), "image_width": wide,
        "image_depth": image.whole("num_hidden_layers"), "image_heads": image.whole("num_attention_heads"),
        "image_growth": image.whole("intermediate_size") / wide,
    }  # fmt: skip


def _network(settings: JsonSettings) -> dict[str, Any]:
    """A U-Net's settings without what follows from the rest."""
    derived = ("sample_size", "in_channels", "class_embed_type", "add_attention")
    return {name: value for name, value in own_settings(settings).items() if name not in derived}


def _scheduler(folder: Path) -> dict[str, Any]:
    settings = part_settings(folder / "scheduler_config.json")
    settings.whole("num_train_timesteps", 1000, most=100_000)
    return {"_class_name": settings.text("_class_name"), **own_settings(settings)}


def _check(where: Path, files: Mapping[str, JsonSettings], tokens: Tokens) -> None:
    """Mistake where the parts are of another kind than those that are built, or do not fit together."""
    prior, decoder, extra = files["prior"].values, files["decoder"].values, files["text_proj"].values
    embedding, words = prior.get("embedding_dim"), files["text_encoder"].values
    enlargers = [files[name].values for name in ("super_res_first", "super_res_last")]
    usual = {
        "added_emb_type": "prd",
        "encoder_hid_proj_type": "linear",
        "norm_in_type": None,
        "embedding_proj_norm_type": None,
    }
    wrong = [
        why
        for fits, why in (
            (all(prior.get(name, value) == value for name, value in usual.items()), "the prior is not Karlo's"),
            (prior.get("time_embed_dim") is None, "the prior's timestep has a width of its own"),
            (words.get("hidden_size") == words.get("projection_dim") == embedding, "text encoder and prior have other widths"),
            (extra.get("clip_embeddings_dim") == embedding, "text_proj reads another embedding"),
            (extra.get("clip_extra_context_tokens", 4) == 4, "text_proj makes other than 4 tokens"),
            (decoder.get("class_embed_type") == "identity", "the decoder reads no embedding beside the timestep"),
            (decoder.get("in_channels") == 3, "the decoder does not read pictures"),
            (all(one.get("in_channels") == 6 for one in enlargers), "super-resolution does not read two pictures"),
            (not any(one.get("add_attention", True) for one in enlargers), "super-resolution has attention"),
            (tokens.size == words.get("vocab_size"), f"the tokenizer has {tokens.size} ids, the text encoder others"),
        )
        if not fits
    ]  # fmt: skip
    if wrong:
        why = "; ".join(wrong) + "."
        raise Mistake(f"The parts of {where} do not fit together.", why, "Copy the folder as published.")


def _tensors(folder: Path) -> dict[str, Tensor]:
    theirs = read(weights_file(folder))
    return {name: tensor for name, tensor in theirs.items() if not name.endswith("position_ids")}
