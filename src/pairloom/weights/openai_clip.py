"""CLIP as OpenAI published it (.pt), whose names open_clip uses too.

Facts: query, key and value are fused in the transformers and separate in the ResNets' pooling; the projections are stored
transposed; weights are half precision; the activation is always quick GELU. The files are TorchScript archives: their
tensors are read, their code is not run. The sizes follow from the shapes of the tensors, with 64 columns for each head.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from pairloom.checkpoints.building import build_for
from pairloom.checkpoints.layout import Place, give, peek, read, rename, shape_of, take
from pairloom.data.tokens import Tokens
from pairloom.data.transform import Transform
from pairloom.errors import Mistake
from pairloom.model import Model
from pairloom.systems.clip import Config, System
from pairloom.weights._hub import tokens_near

MARKS = ("input_resolution", "context_length", "vocab_size")  # numbers that stand among OpenAI's tensors
LEFT = (*MARKS, "attn_mask")
COUNTS = "num_batches_tracked"
LAYER = r"stack\.layers\.(\d+)\."
BLOCK = [
    (r"attend\.0\.fn\.(?:query|key|value)\.(weight|bias)", r"attn.in_proj_\2"),
    (r"attend\.0\.fn\.out\.(weight|bias)", r"attn.out_proj.\2"),
    (r"attend\.0\.norm\.(weight|bias)", r"ln_1.\2"),
    (r"feed\.0\.norm\.(weight|bias)", r"ln_2.\2"),
    (r"feed\.0\.fn\.up\.(weight|bias)", r"mlp.c_fc.\2"),
    (r"feed\.0\.fn\.down\.(weight|bias)", r"mlp.c_proj.\2"),
]
RULES = [
    (r"scale", "logit_scale"),
    (r"text\.embed\.0\.words\.weight", "token_embedding.weight"),
    (r"text\.embed\.0\.positions\.weight", "positional_embedding"),
    (r"text\.norm\.(.+)", r"ln_final.\1"),
    (r"text_projection\.weight", "text_projection"),
    *((rf"text\.{LAYER}{ours}", rf"transformer.resblocks.\1.{there}") for ours, there in BLOCK),
    (r"image_projection\.weight", "visual.proj"),
    (r"image\.embed\.class_row", "visual.class_embedding"),
    (r"image\.embed\.positions", "visual.positional_embedding"),
    (r"image\.embed\.patch\.weight", "visual.conv1.weight"),
    (r"image\.first_norm\.(.+)", r"visual.ln_pre.\1"),
    (r"image\.norm\.(.+)", r"visual.ln_post.\1"),
    *((rf"image\.{LAYER}{ours}", rf"visual.transformer.resblocks.\1.{there}") for ours, there in BLOCK),
    *((rf"image\.stem\.{at}\.(.+)", rf"visual.conv{at + 1}.\1") for at in range(3)),
    *((rf"image\.stem_norms\.{at}\.(.+)", rf"visual.bn{at + 1}.\1") for at in range(3)),
    *(
        (rf"image\.stages\.{at}\.(\d+)\.{ours}", rf"visual.layer{at + 1}.\1.{there}")
        for at in range(4)
        for ours, there in (
            (r"conv_(\d)\.(.+)", r"conv\2.\3"),
            (r"norm_(\d)\.(.+)", r"bn\2.\3"),
            (r"shortcut\.(.+)", r"downsample.\2"),
        )
    ),
    (r"image\.pool\.positions", "visual.attnpool.positional_embedding"),
    (r"image\.pool\.attend\.(query|key|value|out)\.(.+)", r"visual.attnpool.\1.\2"),
]
POOL = {"query": "q_proj", "key": "k_proj", "value": "v_proj", "out": "c_proj"}
LEAD = {"image.embed.class_row": 2, "image.embed.positions": 1, "image.pool.positions": 1}


def places(system: System) -> dict[str, Place]:
    """The places of our tensors in OpenAI's and open_clip's layout."""
    return {name: clip_place(name) for name in system.state_dict()}


def clip_place(name: str) -> Place:
    """The place of one tensor of a CLIP with the paper's towers."""
    there = rename(name, RULES)
    if ".attnpool." in there:
        there = ".".join(POOL.get(part, part) for part in there.split("."))
    fused = "attn.in_proj" in there
    return Place(
        (there,),
        ("query", "key", "value").index(name.split(".")[-2]) if fused else None,
        flipped=name in ("image_projection.weight", "text_projection.weight"),
        lead=LEAD.get(name, 0),
    )


def config_of(theirs: Mapping[str, Tensor], where: Path) -> Config:
    """The Config that follows from the shapes, with OpenAI's activation. Mistake where it is no CLIP."""

    def shape(name: str, axes: int = 2) -> tuple[int, ...]:
        return shape_of(theirs, name, axes, where, "a CLIP model of OpenAI's")

    words, width = shape("token_embedding.weight")
    common: dict[str, Any] = dict(
        vocabulary=words, width=width, heads=max(1, width // 64), embedding=shape("text_projection")[1],
        length=shape("positional_embedding")[0], depth=_count(theirs, "transformer.resblocks."),
        growth=shape("transformer.resblocks.0.mlp.c_fc.weight")[0] / width,
        pad=words - 1, sep=words - 1, cls=words - 2,
    )  # fmt: skip
    if "visual.attnpool.positional_embedding" in theirs:
        side = round((shape("visual.attnpool.positional_embedding")[0] - 1) ** 0.5)
        image = shape("visual.layer1.0.conv1.weight", 4)[0]
        stages = tuple(_count(theirs, f"visual.layer{at}.") for at in range(1, 5))
        return Config(
            stages=stages, image_width=image, image_heads=max(1, image // 2), image_size=32 * side, **common,
        )  # fmt: skip
    image, _, patch, _ = shape("visual.conv1.weight", 4)
    side = round((shape("visual.positional_embedding")[0] - 1) ** 0.5)
    up = shape("visual.transformer.resblocks.0.mlp.c_fc.weight")[0]
    return Config(
        image_size=patch * side, patch=patch, image_width=image, image_heads=max(1, image // 64),
        image_depth=_count(theirs, "visual.transformer.resblocks."), image_growth=up / image, **common,
    )  # fmt: skip


def _count(theirs: Mapping[str, Tensor], prefix: str) -> int:
    """Number of numbered parts under a prefix."""
    return len({name[len(prefix) :].split(".")[0] for name in theirs if name.startswith(prefix)})


def filled(config: Config, theirs: Mapping[str, Tensor], where: Path) -> System:
    """A new system with these tensors. Mistake for missing or unknown tensors; counts of batches may be missing."""
    system = build_for(theirs, lambda: System(config), where)
    theirs = {name: tensor for name, tensor in theirs.items() if name not in LEFT}
    moved = take(theirs, places(system), system.state_dict())
    moved.missing = [name for name in moved.missing if not name.endswith(COUNTS)]
    moved.whole(where).into(system)
    return system.eval()


def sniff(where: Path) -> bool:
    """Whether a path is a file of OpenAI's, or a file of its state dict."""
    names = peek(where) if where.is_file() else set()
    return "token_embedding.weight" in names and "visual.conv1.weight" in names


def load(where: Path) -> Model:
    """Load a .pt file of OpenAI's; the tokenizer is read from its folder or from an installed clip or open_clip."""
    theirs = read(where)
    if not set(MARKS) & set(theirs):
        raise Mistake(
            f"{where} does not name the activation that it was trained with.",
            "Only for OpenAI's own files is it known.",
            "Give the folder, with its open_clip_config.json.",
        )
    system = filled(config_of(theirs, where), theirs, where)
    tokens = tokens_near(where.parent, "clip")
    check_tokens(tokens, system.config, where)
    about = {"source": f"OpenAI CLIP ({where.name})"}
    return Model("clip", system, tokens, Transform(system.config.image_size, fit="crop"), about)


def check_tokens(tokens: Tokens, config: Any, where: Path) -> None:
    """Raise Mistake where the tokenizer is not the one that the weights were trained with."""
    if (tokens.size, tokens.sep) != (config.vocabulary, config.sep):
        raise Mistake(
            f"The tokenizer in {where} is another model's.",
            f"It has {tokens.size} tokens and ends texts by {tokens.sep}, the weights have {config.vocabulary} and {config.sep}.",
            "Put back the tokenizer that was published with the weights.",
        )


def to_openai(system: System) -> dict[str, Tensor]:
    """Convert our weights to OpenAI's names."""
    return give(system.state_dict(), places(system))
