"""BLIP checkpoints as Salesforce and LAVIS published them (.pth), and as transformers' classes name them.

Facts: the vision tower fuses query, key and value; tensors that encoder and decoder share are in the file twice; momentum
copies and queues are not read. A captioner has no text encoder, a matcher no decoder. The sizes follow from the shapes of
the tensors, with 64 columns for each head.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pairloom.checkpoints.building import build_for
from pairloom.checkpoints.layout import Moved, Place, give, peek, read, shape_of, take
from pairloom.data.tokens import Tokens
from pairloom.data.transform import Transform
from pairloom.errors import Mistake
from pairloom.model import Model
from pairloom.model.generation import Generation, with_prompt
from pairloom.systems.blip import CAPTIONS, CLEAN, TABLE_3, Config, Sharing, System
from pairloom.weights._hub import tokens_near

IMAGE = {
    "embed.class_row": "cls_token",
    "embed.positions": "pos_embed",
    "embed.patch": "patch_embed.proj",
    "norm": "norm",
    "attend.norm": "norm1",
    "attend.fn.out": "attn.proj",
    "feed.norm": "norm2",
    "feed.fn.up": "mlp.fc1",
    "feed.fn.down": "mlp.fc2",
}
TEXT = {
    "embed.words": "embeddings.word_embeddings",
    "embed.positions": "embeddings.position_embeddings",
    "embed.norm": "embeddings.LayerNorm",
    "feed.fn.up": "intermediate.dense",
    "feed.fn.down": "output.dense",
    "feed.norm": "output.LayerNorm",
    **{
        f"{ours}.{part}": f"{there}.{name}"
        for ours, there in (("attend", "attention"), ("cross", "crossattention"))
        for part, name in (
            ("fn.query", "self.query"),
            ("fn.key", "self.key"),
            ("fn.value", "self.value"),
            ("fn.out", "output.dense"),
            ("norm", "output.LayerNorm"),
        )
    },
}
HEADS = {
    "towers.image_projection": "vision_proj",
    "towers.text_projection": "text_proj",
    "match_head": "itm_head",
    "head.dense": "text_decoder.cls.predictions.transform.dense",
    "head.norm": "text_decoder.cls.predictions.transform.LayerNorm",
}
# transformers renamed the vision tower only; {} stands for a number, the rest of a name stays
RENAMED = {
    "visual_encoder.cls_token": "vision_model.embeddings.class_embedding",
    "visual_encoder.pos_embed": "vision_model.embeddings.position_embedding",
    "visual_encoder.patch_embed.proj.": "vision_model.embeddings.patch_embedding.",
    "visual_encoder.norm.": "vision_model.post_layernorm.",
    "visual_encoder.blocks.{}.norm{}.": "vision_model.encoder.layers.{}.layer_norm{}.",
    "visual_encoder.blocks.{}.attn.qkv.": "vision_model.encoder.layers.{}.self_attn.qkv.",
    "visual_encoder.blocks.{}.attn.proj.": "vision_model.encoder.layers.{}.self_attn.projection.",
    "visual_encoder.blocks.{}.mlp.": "vision_model.encoder.layers.{}.mlp.",
}
CROSSING = re.compile(r"text_encoder\.(?:bert\.)?encoder\.layer\.(\d+)\.crossattention\.")
EXTRA = re.compile(r"(_m\.|queue|ptr|position_ids$)")
# each published kind of checkpoint: the tensors of ours that it lacks, and the settings of its losses, which decide its
# abilities
KINDS: dict[str, tuple[tuple[str, ...], dict[str, Any]]] = {
    "all": ((), {}),
    "caption": (
        ("towers.image_projection", "towers.text_projection", "match_head", "temperature"),
        dict(length=40, itc=0.0, itm=0.0, **CAPTIONS),
    ),
    "match": (("head.", "temperature"), dict(length=35, ramp=1.0, lm=0.0)),
}

# the recipe of the released captioning, and how the released code cleans every caption that it trains on or scores
RELEASED = Generation(beams=3, min_length=5, max_length=20, length_rule="released")


def task_of(names: Iterable[str]) -> str:
    """The system of a checkpoint by the names of its tensors: "blip_vqa", "blip_nlvr", or "" for blip.

    Two text towers without heads are for questions; two cross-attentions in a layer are for statements.
    """
    names = list(names)
    if any(name.startswith("cls_head.") or ".self0." in name for name in names):
        return "blip_nlvr"
    both = all(any(name.startswith(tower) for name in names) for tower in ("text_encoder.", "text_decoder."))
    return "blip_vqa" if both and not any(name.startswith("itm_head.") for name in names) else ""


def fuses_late(names: Iterable[str]) -> bool:
    """Whether only upper layers of the text encoder read pictures, as ALBEF's do."""
    layers = {one[1] for name in names if (one := CROSSING.match(name))}
    return bool(layers) and "0" not in layers


def kind_of(theirs: Mapping[str, Tensor], where: Path) -> str:
    """Kind of a checkpoint, a key of KINDS. Mistake where it is none."""
    parts = ("text_encoder.", "text_decoder.", "itm_head.")
    has = tuple(any(name.startswith(part) for name in theirs) for part in parts)
    kinds = {(True, True, True): "all", (False, True, False): "caption", (True, False, True): "match"}
    if has not in kinds:
        raise Mistake(
            f"{where} is a BLIP of another task.",
            "It has neither all of a model, nor a captioner's part, nor a matcher's.",
            "Captioners, matchers, pre-trained models, VQA and NLVR2 can be loaded.",
        )
    return kinds[has]


def sizes_of(
    theirs: Mapping[str, Tensor], where: Path, text: str, heads: tuple[int, int] | None
) -> dict[str, Any]:
    """Sizes of both towers that follow from the shapes. text: prefix of a text tower's names. Mistake where tensors are
    missing."""

    def shape(name: str, axes: int) -> tuple[int, ...]:
        return shape_of(theirs, name, axes, where, "a BLIP model")

    image, _, patch, _ = shape("visual_encoder.patch_embed.proj.weight", 4)
    words, width = shape(f"{text}embeddings.word_embeddings.weight", 2)
    side = round((shape("visual_encoder.pos_embed", 3)[1] - 1) ** 0.5)
    positions = shape(f"{text}embeddings.position_embeddings.weight", 2)[0]
    image_heads, text_heads = heads or (image // 64, width // 64)
    return dict(
        image_size=side * patch, patch=patch, image_width=image, image_depth=_count(theirs, "visual_encoder.blocks."),
        image_heads=image_heads, width=width, heads=text_heads, depth=_count(theirs, f"{text}encoder.layer."),
        vocabulary=words, positions=positions, dec=words - 2, enc=words - 1,
    )  # fmt: skip


def config_of(theirs: Mapping[str, Tensor], where: Path, heads: tuple[int, int] | None = None) -> Config:
    """The Config that follows from the shapes. heads: of the image and of the text tower (None: one for 64 columns)."""
    kind = kind_of(theirs, where)
    sizes = sizes_of(theirs, where, "text_decoder.bert." if kind == "caption" else "text_encoder.", heads)
    config = Config(
        **sizes, queue=0, momentum=0.0, sharing=_sharing(theirs) if kind == "all" else "all",
        **KINDS[kind][1],
    )  # fmt: skip
    if "vision_proj.weight" in theirs:
        shared = shape_of(theirs, "vision_proj.weight", 2, where, "a BLIP model")[0]
        config = replace(config, embedding=shared)
    return replace(config, length=min(config.length, config.positions))


def _count(theirs: Mapping[str, Tensor], prefix: str) -> int:
    return len({name[len(prefix) :].split(".")[0] for name in theirs if name.startswith(prefix)})


def _sharing(theirs: Mapping[str, Tensor]) -> Sharing:
    """The parameter sharing of encoder and decoder: shared parts have equal tensors."""
    apart = set()
    for name, tensor in theirs.items():
        other = theirs.get(name.replace("text_encoder.", "text_decoder.bert.", 1))
        if name.startswith("text_encoder.") and other is not None and not torch.equal(tensor, other):
            match = re.search(r"\.(attention|crossattention)\.", name)
            apart.add(match[1] if match else "embeddings" if ".embeddings." in name else "feed")
    needed = {
        "all": set(),
        "all but self-attention": {"attention"},
        "all but cross-attention": {"crossattention"},
    }
    return next((name for name in TABLE_3 if apart <= needed.get(name, apart)), "none")


def filled(config: Config, theirs: Mapping[str, Tensor], where: Path) -> System:
    """A new system with these tensors. Mistake for unknown tensors, and for missing ones that the kind must have."""
    system = build_for(theirs, lambda: System(config), where)
    moved = from_salesforce(theirs, system)
    moved.whole(where, KINDS[kind_of(theirs, where)][0]).into(system)
    return system.eval()


def sniff(where: Path) -> bool:
    """Whether a path is a file with BLIP's image tower under its published name, and of no task with a system of its own."""
    names = peek(where) if where.is_file() else set()
    return "visual_encoder.cls_token" in names and not task_of(names) and not fuses_late(names)


def load(where: Path) -> Model:
    """Load a .pth file; BERT's vocabulary is read from its folder or from the local hub cache."""
    theirs = read(where)
    config = config_of(theirs, where)
    tokens = tokens_near(where.parent, "bert", CLEAN)
    check_tokens(tokens.size, config, where)
    config, tokens = fitted(config, tokens)
    system = filled(config, theirs, where)
    about = {"source": f"Salesforce BLIP ({where.name})"}
    return Model("blip", system, tokens, Transform(config.image_size), about, RELEASED)


def fitted(config: Any, tokens: Tokens) -> tuple[Any, Tokens]:
    """The Config of published weights with the ids of their tokenizer, and the tokenizer with their prompt. A vocabulary in
    which the prompt's words are not one token each is not BERT's: its model did not learn with this prompt."""
    config = replace(config, pad=tokens.pad, cls=tokens.cls, sep=tokens.sep)
    words = getattr(config, "prompt_text", "")
    if len(tokens.bare([words])[0]) != len(words.split()):
        config = replace(config, prompt_text="", prompt=0)
    return with_prompt(config, tokens)


def check_tokens(size: int, config: Any, where: Path) -> None:
    """Raise Mistake where the tokenizer is not the one that the weights were trained with."""
    if size != config.vocabulary:
        raise Mistake(
            f"The tokenizer for {where} is another model's.",
            f"With [DEC] and [ENC] it has {size} tokens, the weights have {config.vocabulary}.",
            "Put back the vocabulary that was published with the weights.",
        )


def demand_plain(config: Any) -> None:
    """Raise Mistake for parts that published BLIP weights do not have."""
    if config.stem != "patch" or getattr(config, "bag", False):
        raise Mistake(
            "This system has parts that published BLIP weights do not have.",
            "Its picture stem or its bag of words is pairloom's own.",
            "Use stem=patch bag=false.",
        )


def places(system: System) -> dict[str, Place]:
    """The places of our tensors in a checkpoint; tensors that encoder and decoder share have a name in both.

    Mistake for a system with parts that the paper does not have.
    """
    demand_plain(system.config)
    names = [name for name in system.state_dict() if not name.startswith(system.training_state)]
    return {name: _place(name, names) for name in names}


def from_salesforce(theirs: Mapping[str, Tensor], system: System) -> Moved:
    """Convert a published state dict to our names. `missing` and `left` name the tensors that a captioner or a matcher lacks
    or adds."""
    known = {name: tensor for name, tensor in theirs.items() if not EXTRA.search(name)}
    return take(known, places(system), system.state_dict())


def to_salesforce(system: System) -> dict[str, Tensor]:
    """Convert our weights to the published names."""
    return give(system.state_dict(), places(system))


def to_transformers(name: str) -> str:
    """Convert a published name to that of transformers' classes."""
    return _rename(name, RENAMED)


def from_transformers(name: str) -> str:
    """The inverse of `to_transformers`."""
    return _rename(name, {there: here for here, there in RENAMED.items()})


def _rename(name: str, table: Mapping[str, str]) -> str:
    for before, after in table.items():
        match = re.match(re.escape(before).replace(r"\{\}", r"(\d+)"), name)
        if match:
            return after.format(*match.groups()) + name[match.end() :]
    return name


def _place(name: str, names: list[str]) -> Place:
    stem, dot, kind = name.rpartition(".")
    if name == "temperature":
        return Place(("temp",))
    if name == "head.bias":
        return Place(("text_decoder.cls.predictions.bias", "text_decoder.cls.predictions.decoder.bias"))
    if stem in HEADS:
        return Place((f"{HEADS[stem]}.{kind}",))
    if name.startswith("towers.image."):
        return image_place(name.removeprefix("towers.image."))
    return _text(name.removeprefix("towers.text."), names)


def text_name(layer: str | None, part: str, kind: str) -> str:
    """The published name of a text tower's tensor, without the tower's prefix."""
    return f"{'' if layer is None else f'encoder.layer.{layer}.'}{TEXT[part]}.{kind}"


def image_place(name: str) -> Place:
    """The place of a tensor of our image tower."""
    match = re.fullmatch(r"stack\.layers\.(\d+)\.(attend|feed)\.0\.(.+)\.(weight|bias)", name)
    if not match:
        stem, _, kind = name.rpartition(".")
        return Place((f"visual_encoder.{IMAGE[name] if name in IMAGE else f'{IMAGE[stem]}.{kind}'}",))
    layer, part, rest, kind = match.groups()
    block = f"visual_encoder.blocks.{layer}"
    if rest in ("fn.query", "fn.key", "fn.value"):
        return Place((f"{block}.attn.qkv.{kind}",), ("fn.query", "fn.key", "fn.value").index(rest))
    return Place((f"{block}.{IMAGE[f'{part}.{rest}']}.{kind}",))


def _text(name: str, names: list[str]) -> Place:
    match = re.fullmatch(
        r"(?:stack\.layers\.(\d+)\.)?(embed|attend|cross|feed)\.(\d)\.(.+)\.(weight|bias)", name
    )
    assert match, name
    layer, part, way, rest, kind = match.groups()
    place = text_name(layer, f"{part}.{rest}", kind)
    before = "" if layer is None else f"stack.layers.{layer}."
    twice = f"towers.text.{before}{part}.1.{rest}.{kind}" in names
    towers = ("text_encoder", "text_decoder.bert")
    places = [f"{tower}.{place}" for index, tower in enumerate(towers) if not twice or index == int(way)]
    if part == "embed" and rest == "words" and (not twice or way == "1"):
        places.append("text_decoder.cls.predictions.decoder.weight")
    return Place(tuple(places))
