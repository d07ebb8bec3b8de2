"""CoCa as open_clip saves it: `open_clip_config.json` with a multimodal_cfg, beside its weights.

Facts: there is one pooling with 256 queries, whose first row is used for the contrast, instead of the paper's two; its keys
and values are separate tensors where its width differs from the tower's, while its biases are always fused; the embedding of
[CLS] is outside the word table, and its position is the last; the padding id is 0, and [CLS] attends to the first pad.
"""

from __future__ import annotations

from pathlib import Path

from pairloom.checkpoints.building import build_for
from pairloom.checkpoints.layout import Place, give, read, rename, take
from pairloom.checkpoints.settings import JsonSettings
from pairloom.data.tokens import Tokens
from pairloom.errors import Mistake
from pairloom.model import Model
from pairloom.systems.coca import Config, System
from pairloom.weights._hub import tokens_near
from pairloom.weights._open_clip_encoders import PARTS, query_place
from pairloom.weights.open_clip import BOTH_IS, FILE, SIZES, holds, pixels_of, sizes_of, weights_in, write
from pairloom.weights.openai_clip import BLOCK, LAYER, LEAD, check_tokens

WRITES, SYSTEM = "open_clip", "coca"
PAD = 0
READ = [
    (r"norm_memory\.(.+)", r"ln_1_kv.\2"),
    (r"norm\.(.+)", r"ln_1.\2"),
    (r"attend\.(?:query|key|value)\.(weight|bias)", r"attn.in_proj_\2"),
    (r"attend\.out\.(.+)", r"attn.out_proj.\2"),
    (r"norm_feed\.(.+)", r"ln_2.\2"),
    (r"feed\.up\.(.+)", r"mlp.c_fc.\2"),
    (r"feed\.down\.(.+)", r"mlp.c_proj.\2"),
]
LAYERS = LAYER.removeprefix(r"stack\.")
RULES = [
    (r"scale", "logit_scale"),
    (r"image\.embed\.class_row", "visual.class_embedding"),
    (r"image\.embed\.positions", "visual.positional_embedding"),
    (r"image\.embed\.patch\.weight", "visual.conv1.weight"),
    (r"image\.first_norm\.(.+)", r"visual.ln_pre.\1"),
    *((rf"image\.{LAYER}{ours}", rf"visual.transformer.resblocks.\1.{there}") for ours, there in BLOCK),
    (r"image_projection\.weight", "visual.proj"),
    (r"cls_row", "text.cls_emb"),
    (r"embed\.words\.weight", "text.token_embedding.weight"),
    (r"embed\.positions\.weight", "text.positional_embedding"),
    (r"norm_cls\.(.+)", r"text.ln_final.\1"),
    (r"text_projection\.weight", "text.text_projection"),
    *((rf"unimodal\.{LAYERS}{ours}", rf"text.transformer.resblocks.\1.{there}") for ours, there in BLOCK),
    *((rf"multimodal\.{LAYERS}{ours}", rf"text_decoder.resblocks.\1.{there}") for ours, there in BLOCK),
    *((rf"multimodal\.reads\.(\d+)\.{ours}", rf"text_decoder.cross_attn.\1.{there}") for ours, there in READ),
    (r"norm\.(.+)", r"text_decoder.ln_final.\1"),
    (r"head\.weight", "text_decoder.text_projection"),
]
FLIPPED = ("image_projection.weight", "text_projection.weight", "head.weight")


def places(system: System) -> dict[str, Place]:
    """The places of our tensors in the layout."""
    apart = system.config.image_width != system.config.width
    return {name: _place(name, apart) for name in system.state_dict()}


def _place(name: str, apart: bool) -> Place:
    if name.startswith("pool."):
        return query_place(name.removeprefix("pool."), apart)
    there = rename(name, RULES)
    third = PARTS.index(name.split(".")[-2]) if ".in_proj_" in there else None
    lead = LEAD.get(name, 2 if name == "cls_row" else 0)
    return Place((there,), third, flipped=name in FLIPPED, lead=lead)


def sniff(where: Path) -> bool:
    """Whether a path is a folder of open_clip whose config has a multimodal part."""
    return holds(where) and "multimodal_cfg" in sizes_of(where)


def load(where: Path) -> Model:
    """Load an open_clip folder. Mistake for a tower that is not supported, and for unknown tensors."""
    settings = JsonSettings.read(where / FILE)
    config, theirs = config_of(settings.inner("model_cfg"), where), read(weights_in(where))
    system = build_for(theirs, lambda: System(config), where / FILE)
    take(theirs, places(system), system.state_dict()).whole(where).into(system)
    library = (where / "tokenizer.json").is_file() or (where / "vocab.json").is_file()
    tokens = Tokens.load(where, "clip") if library else tokens_near(where, "clip")
    check_tokens(tokens, config, where)
    pixels = pixels_of(settings.inner("preprocess_cfg"), config.image_size, where)
    return Model("coca", system.eval(), tokens, pixels, {"source": f"open_clip CoCa ({where.name})"})


def config_of(model: JsonSettings, where: Path) -> Config:
    """The Config of a `model_cfg`. Mistake for settings of open_clip that are not supported."""
    text, image, upper = (model.inner(name) for name in ("text_cfg", "vision_cfg", "multimodal_cfg"))
    fixed = {
        "embed_cls": (True,), "attentional_pool": (True,), "dim_head": (64,), "n_queries": (256,),
        "proj_type": ("linear",), "act_kwargs": (None, {}), "norm_kwargs": (None, {}), "pool_type": ("tok", "argmax"),
        "pos_embed_type": ("learnable",),
    }  # fmt: skip
    strange = [
        f"{name}={value}"
        for part in (text, image, upper)
        for name, value in part.values.items()
        if name not in SIZES and value not in (fixed | BOTH_IS).get(name, (None, False))
    ]
    both = {**text.values, **image.values}
    strange += [f"no {name}" for name in ("embed_cls", "attentional_pool") if not both.get(name)]
    defaults = {"width": 512, "heads": 8, "vocab_size": 49408, "context_length": 77}
    lower, above = ({name: part.whole(name, defaults[name]) for name in defaults} for part in (text, upper))
    strange += [f"another {name} above" for name in defaults if above[name] != lower[name]]
    embedding = model.whole("embed_dim")
    if embedding != lower["width"]:
        strange.append(f"embed_dim={embedding}")
    if strange:
        raise Mistake(
            f"{where / FILE} describes a CoCa that is not supported.",
            f"It has {', '.join(strange)}.",
            "Supported are coca_ViT-B-32, coca_ViT-L-14 and others with the same parts.",
        )
    width = image.whole("width", 768)
    return Config(
        image_size=image.whole("image_size", 224), patch=image.whole("patch_size", 16), image_width=width,
        image_depth=image.whole("layers", 12), image_heads=width // image.whole("head_width", 64, most=width),
        image_growth=image.number("mlp_ratio", 4.0, 0.0), poolers="open_clip",
        queries=image.whole("attn_pooler_queries", 256), pool_heads=image.whole("attn_pooler_heads", 8),
        vocabulary=lower["vocab_size"], length=lower["context_length"], width=lower["width"],
        unimodal=text.whole("layers", 12), multimodal=upper.whole("layers", 12), heads=lower["heads"],
        growth=text.number("mlp_ratio", 4.0, 0.0), embedding=embedding,
        activation="quick_gelu" if model.flag("quick_gelu") else "gelu", pad=PAD,
        cls=lower["vocab_size"] - 2, sep=lower["vocab_size"] - 1,
    )  # fmt: skip


def export(model: Model, out: Path) -> None:
    """Export an open_clip folder. Mistake where its poolers or its tokenizer are not those of that library."""
    c = model.config
    ids = (c.pad, c.cls, c.sep) == (PAD, c.vocabulary - 2, c.vocabulary - 1)
    if c.poolers != "open_clip" or c.eps != 1e-5 or not model.tokens.byte_pairs or not ids:
        raise Mistake(
            "open_clip's folders hold its own kind of CoCa alone.",
            f"This one has poolers={c.poolers} and {'CLIP' if model.tokens.byte_pairs else 'another'}'s tokens.",
            "A model of its kind comes from a folder of its own, by --init, and keeps its tokenizer.",
        )
    both = {"context_length": c.length, "vocab_size": c.vocabulary, "width": c.width, "heads": c.heads}
    image = {
        "image_size": c.image_size, "width": c.image_width, "layers": c.image_depth, "patch_size": c.patch,
        "head_width": c.image_width // c.image_heads, "mlp_ratio": c.image_growth, "attentional_pool": True,
        "attn_pooler_heads": c.pool_heads, "attn_pooler_queries": c.queries, "output_tokens": True,
    }  # fmt: skip
    text = {**both, "layers": c.unimodal, "mlp_ratio": c.growth, "embed_cls": True, "output_tokens": True}
    sizes = {
        "embed_dim": c.embedding, "quick_gelu": c.activation == "quick_gelu", "vision_cfg": image, "text_cfg": text,
        "multimodal_cfg": {**both, "layers": c.multimodal, "mlp_ratio": c.growth}, "custom_text": True,
    }  # fmt: skip
    write(model, out, sizes, give(model.system.state_dict(), places(model.system)))
