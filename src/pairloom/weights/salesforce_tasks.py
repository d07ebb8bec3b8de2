"""BLIP fine-tuned for questions (VQA) and for statements about two pictures (NLVR2), as Salesforce and LAVIS published it.

Facts: VQA's encoder and decoder share no tensors, and the decoder reads rows of the encoder's width. NLVR2 names the
cross-attentions of a layer self0, dense0 (left) and self1, dense1 (right), and has a merge_layer
from some layer on. transformers has a class for VQA with the same names, its image tower's apart.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from pairloom.checkpoints.building import build_for
from pairloom.checkpoints.layout import Moved, Place, give, peek, read, take
from pairloom.data.transform import Transform
from pairloom.model import Model
from pairloom.systems import blip_nlvr, blip_vqa
from pairloom.weights._hub import tokens_near
from pairloom.weights.salesforce import (
    EXTRA,
    HEADS,
    check_tokens,
    demand_plain,
    fuses_late,
    image_place,
    sizes_of,
    task_of,
    text_name,
)

SYSTEMS: dict[str, Any] = {"blip_vqa": blip_vqa, "blip_nlvr": blip_nlvr}
TOWERS = {"question": "text_encoder", "text": "text_encoder", "answer": "text_decoder.bert"}


def config_of(theirs: Mapping[str, Tensor], where: Path, heads: tuple[int, int] | None = None) -> Any:
    """The Config of a task's system that follows from the shapes."""
    sizes = sizes_of(theirs, where, "text_encoder.", heads)
    if task_of(theirs) == "blip_vqa":
        config = blip_vqa.Config(
            **sizes, length=min(35, sizes["positions"]), answer_length=min(40, sizes["positions"])
        )
        return config
    merged = [int(name.split(".")[3]) for name in theirs if name.endswith("merge_layer.weight")]
    first = min(merged, default=sizes["depth"])
    return blip_nlvr.Config(**sizes, length=min(40, sizes["positions"]), merge_from=first)


def sniff(where: Path) -> bool:
    """Whether a path is a file with BLIP's image tower and the text towers of one of these tasks."""
    names = peek(where) if where.is_file() else set()
    return "visual_encoder.cls_token" in names and bool(task_of(names)) and not fuses_late(names)


def load(where: Path) -> Model:
    """Load a .pth file; BERT's vocabulary is read from its folder or from the local hub cache."""
    theirs = read(where)
    clean = getattr(SYSTEMS[task_of(theirs)], "CLEAN", "")
    config, tokens = config_of(theirs, where), tokens_near(where.parent, "bert", clean)
    check_tokens(tokens.size, config, where)
    system = filled(replace(config, pad=tokens.pad, cls=tokens.cls, sep=tokens.sep), theirs, where)
    about = {"source": f"Salesforce BLIP ({where.name})"}
    return Model(task_of(theirs), system, tokens, Transform(config.image_size), about)


def filled(config: Any, theirs: Mapping[str, Tensor], where: Path) -> nn.Module:
    """A new system with these tensors. Mistake for missing or unknown tensors."""
    make = SYSTEMS[task_of(theirs)].System
    system: nn.Module = build_for(theirs, lambda: make(config), where)
    from_published(theirs, system).whole(where).into(system)
    return system.eval()


def from_published(theirs: Mapping[str, Tensor], system: nn.Module) -> Moved:
    """Convert a published state dict to our names."""
    known = {name: tensor for name, tensor in theirs.items() if not EXTRA.search(name)}
    return take(known, places(system), system.state_dict())


def to_published(system: nn.Module) -> dict[str, Tensor]:
    """Convert our weights to the published names."""
    return give(system.state_dict(), places(system))


def places(system: Any) -> dict[str, Place]:
    """The places of our tensors in a checkpoint. Mistake for parts that published BLIP weights do not have."""
    demand_plain(system.config)
    return {name: _place(name) for name in system.state_dict()}


def _place(name: str) -> Place:
    part, _, rest = name.partition(".")
    if part == "image":
        return image_place(rest)
    if part in TOWERS:
        table = (
            ["text_decoder.cls.predictions.decoder.weight"] if name == "answer.embed.0.words.weight" else []
        )
        return Place((f"{TOWERS[part]}.{_text(rest)}", *table))
    if name == "head.bias":
        return Place(("text_decoder.cls.predictions.bias", "text_decoder.cls.predictions.decoder.bias"))
    stem, _, kind = name.rpartition(".")
    return Place((f"{HEADS[stem] if stem in HEADS else stem.replace('head', 'cls_head')}.{kind}",))


def _text(name: str) -> str:
    """The published name of a text tower's tensor, without the tower's prefix."""
    twin = re.fullmatch(
        r"stack\.layers\.(\d+)\.cross\.0\.fn\.(?:each\.(\d)\.)?(query|key|value|out|merge)\.(\w+)", name
    )
    if twin and (twin[2] or twin[3] == "merge"):
        layer, side, what, kind = twin.groups()
        inner = {"out": f"output.dense{side}", "merge": "output.merge_layer"}.get(what, f"self{side}.{what}")
        return f"encoder.layer.{layer}.crossattention.{inner}.{kind}"
    match = re.fullmatch(
        r"(?:stack\.layers\.(\d+)\.)?(embed|attend|cross|feed)\.0\.(.+)\.(weight|bias)", name
    )
    assert match, name
    layer, part, rest, kind = match.groups()
    return text_name(layer, f"{part}.{rest}", kind)
