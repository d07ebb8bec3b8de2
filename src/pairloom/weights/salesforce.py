"""BLIP checkpoints as Salesforce published them (.pth), and as transformers' classes name them.

Facts: the vision tower fuses query, key and value; encoder and decoder repeat what they share; momentum copies and
queues are left behind.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor

from pairloom.errors import Mistake
from pairloom.systems.blip import System
from pairloom.weights._layout import Moved, Place, give, take

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
EXTRA = re.compile(r"(_m\.|queue|ptr|position_ids$)")


def places(system: System) -> dict[str, Place]:
    """Each tensor of ours that a checkpoint holds -> its place there. What encoder and decoder share lies under both.

    Mistake for a system with parts that the paper does not have.
    """
    if system.config.stem != "patch" or system.config.bag:
        raise Mistake(
            "This system has parts that published BLIP weights do not have.",
            "Its picture stem or its bag of words is pairloom's own.",
            "Use stem=patch bag=false.",
        )
    names = [name for name in system.state_dict() if not name.startswith(system.training_state)]
    return {name: _place(name, names) for name in names}


def from_salesforce(theirs: Mapping[str, Tensor], system: System) -> Moved:
    """A published state dict under our names. `missing` and `left` tell what a captioner or a matcher lacks or adds."""
    known = {name: tensor for name, tensor in theirs.items() if not EXTRA.search(name)}
    return take(known, places(system), system.state_dict())


def to_salesforce(system: System) -> dict[str, Tensor]:
    """Our weights under the published names."""
    return give(system.state_dict(), places(system))


def to_transformers(name: str) -> str:
    """A published name -> its name in transformers' classes."""
    return _rename(name, RENAMED)


def from_transformers(name: str) -> str:
    """The inverse of `to_transformers`."""
    return _rename(name, {there: here for here, there in RENAMED.items()})


def _rename(name: str, table: Mapping[str, str]) -> str:
    for before, after in table.items():
        found = re.match(re.escape(before).replace(r"\{\}", r"(\d+)"), name)
        if found:
            return after.format(*found.groups()) + name[found.end() :]
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
        return _image(name.removeprefix("towers.image."))
    return _text(name.removeprefix("towers.text."), names)


def _image(name: str) -> Place:
    found = re.fullmatch(r"stack\.layers\.(\d+)\.(attend|feed)\.0\.(.+)\.(weight|bias)", name)
    if not found:
        stem, _, kind = name.rpartition(".")
        return Place((f"visual_encoder.{IMAGE[name] if name in IMAGE else f'{IMAGE[stem]}.{kind}'}",))
    layer, part, rest, kind = found.groups()
    block = f"visual_encoder.blocks.{layer}"
    if rest in ("fn.query", "fn.key", "fn.value"):
        return Place((f"{block}.attn.qkv.{kind}",), ("fn.query", "fn.key", "fn.value").index(rest))
    return Place((f"{block}.{IMAGE[f'{part}.{rest}']}.{kind}",))


def _text(name: str, names: list[str]) -> Place:
    found = re.fullmatch(
        r"(?:stack\.layers\.(\d+)\.)?(embed|attend|cross|feed)\.(\d)\.(.+)\.(weight|bias)", name
    )
    assert found, name
    layer, part, way, rest, kind = found.groups()
    place = f"{'' if layer is None else f'encoder.layer.{layer}.'}{TEXT[f'{part}.{rest}']}.{kind}"
    before = "" if layer is None else f"stack.layers.{layer}."
    twice = f"towers.text.{before}{part}.1.{rest}.{kind}" in names
    towers = ("text_encoder", "text_decoder.bert")
    made = [f"{tower}.{place}" for index, tower in enumerate(towers) if not twice or index == int(way)]
    if part == "embed" and rest == "words" and (not twice or way == "1"):
        made.append("text_decoder.cls.predictions.decoder.weight")
    return Place(tuple(made))
