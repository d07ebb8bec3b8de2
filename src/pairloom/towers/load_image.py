"""Loading of an image tower: from a file of weights, a folder, an installed package or the local hub cache.

Does not know: any one family of networks.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from pairloom import registry
from pairloom.errors import Mistake
from pairloom.towers.fusion import fuse_batch_norms
from pairloom.towers.identity import identity_of
from pairloom.towers.image_tower import ImageTower
from pairloom.towers.preparation import Preparation, from_timm, from_transformers
from pairloom.towers.pretrained import PretrainedNetwork, WeightFile
from pairloom.towers.published import locate
from pairloom.towers.source import SPOILT, Source, open_source, unusable
from pairloom.towers.text_network import is_text

PREFIXES = r"(module|model|efficientnet|convnext|resnet|vit|deit|dinov2|dinov2_with_registers)\."
ROOM = "towers.networks"


def load_image_tower(where: Path | str, device: str = "cpu") -> ImageTower:
    """Load a frozen image tower from `where`: a file of weights, a folder, a zip, or the name of a published tower
    (`published_towers`). Mistake where there is no image tower, with what is there instead."""
    path, sha256 = locate(str(where), "image")
    source = open_source(path)
    checksum = source.checked(sha256)
    encoder = read_encoder(source)
    if sha256 and encoder.name != str(where):
        raise Mistake(f"{path} is no {where}.", f"It is {encoder.name}.", "Install the package again.")
    identity = identity_of(checksum, encoder.name, encoder.preparation)
    fuse_batch_norms(encoder.network)
    return ImageTower(encoder, checksum, identity, device)


def read_encoder(source: Source) -> PretrainedNetwork:
    """The network of a source with its weights, its pictures prepared as the configs beside them say. Mistake where it is of
    no known family, or another one than the config says."""
    config = source.document("config.json")
    tensors = {re.sub(rf"^({PREFIXES})+", "", name): tensor for name, tensor in source.tensors().items()}
    kind = config.get("model_type")
    family = next((one for one in _families() if one.sniff(tensors)), None)
    if family is None:
        raise _no_tower(source.where, list(tensors), kind)
    if kind is not None and kind not in family.MODEL_TYPES:
        raise Mistake(
            f"The config in {source.where} does not belong to its weights.",
            f"It says '{kind}'; the tensors are those of {family.CLAIM}.",
            "Copy the folder again.",
        )
    try:
        encoder: PretrainedNetwork = family.build(WeightFile(tensors, source.where, config))
        preparation = _preparation(source, config, encoder.preparation)
        if encoder.resize is not None:
            encoder.resize(preparation.size)
    except SPOILT as error:  # a config can say anything
        raise unusable(source.where, error) from error
    _check_name(source.where, config, encoder)
    return replace(encoder, preparation=preparation)


def is_image(kind: object, names: Collection[str]) -> bool:
    """Whether a config's model type, or the names of a file's tensors, are those of an image tower."""
    names = {re.sub(rf"^({PREFIXES})+", "", name) for name in names}
    return any(kind in one.MODEL_TYPES or one.sniff(names) for one in _families())


def _families() -> list[Any]:
    return [registry.find(ROOM, name) for name in registry.names(ROOM)]


def _preparation(source: Source, config: Mapping[str, Any], default: Preparation) -> Preparation:
    """The preparation of pictures: as timm's config says, or transformers' image processor, else the family's own."""
    if "pretrained_cfg" in config:
        return from_timm(config["pretrained_cfg"], default)
    return from_transformers(source.document("preprocessor_config.json"), default)


def _check_name(where: Path, config: Mapping[str, Any], encoder: PretrainedNetwork) -> None:
    """Mistake where timm's config names another architecture than the tensors are."""
    stated = str(config.get("architecture", ""))
    pattern = encoder.stated or f"(tf_)?{encoder.name.replace('-', '_')}"
    if stated and not re.fullmatch(rf"{pattern}(_.*)?", stated):
        raise Mistake(
            f"The config in {where} does not belong to its weights.",
            f"It says '{stated}'; the tensors are those of {encoder.name}.",
            "Copy the folder again.",
        )


def _no_tower(where: Path, names: list[str], kind: object) -> Mistake:
    """The Mistake about weights that are no image tower."""
    text = is_text(kind, names)
    why = (
        "It is a text tower."
        if text
        else f"Its tensors are called {', '.join(names[:3])}{' ...' * (len(names) > 3)}."
    )
    do = "Give it as the text tower." if text else "docs/towers.md lists what can be read."
    return Mistake(f"{where} is no image tower that is known here.", why, do)
