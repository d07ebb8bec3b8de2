"""A codebook as a part of a new model: `--init codebook=WHERE` gives a BEiT-3 the codes of its patches, and a DALL-E the encoder of its
discrete VAE.

WHERE is a DALL-E of ours whose codebook is trained, a folder of transformers' FlavaImageCodebook (facebook/flava-image-codebook: the
encoder that OpenAI released of DALL-E), or BEiT v2's tokenizer (vqkd_encoder_base_decoder_1x768x12_clip-d93179da.pth and its kin).
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from pairloom.blocks.codebook_configs import DiscreteVaeConfig
from pairloom.blocks.tensors import put_shared, tensors_of
from pairloom.checkpoints.layout import Place, read, take
from pairloom.errors import Mistake
from pairloom.model import MARK, Model, read_json
from pairloom.model.folder import load_folder
from pairloom.systems import beit3, dalle
from pairloom.weights import _flava_codebook, _vq_kd
from pairloom.weights._codebook_file import CodebookFile

PART = "codebook"
HALF = (0.5, 0.5, 0.5)


def start(model: Model, where: Path) -> Model:
    """Put a codebook into a new BEiT-3 or DALL-E. Mistake for another system, for one that has no use for it, and where there is no
    codebook."""
    if model.name not in ("beit3", "dalle"):
        raise Mistake(f"A {model.name} has no codebook.", "A beit3 and a dalle have.")
    file = read_codebook(where)
    return _targets(model, file, where) if model.name == "beit3" else _encoder(model, file, where)


def read_codebook(where: Path) -> CodebookFile:
    """The codebook at a path. Mistake where there is none that is known here."""
    document = read_json(where / "config.json")
    if MARK in document and document.get("system") == "dalle":
        return _of_ours(where, document)
    theirs = read(where)
    for layout in (_flava_codebook, _vq_kd):
        if layout.sniff(theirs):
            file: CodebookFile = layout.codebook_of(theirs, where)
            return file
    raise Mistake(
        f"{where} is not a codebook that is known here.",
        f"Its tensors are called {', '.join(sorted(theirs)[:3])} ...",
        "Name a dalle of ours, a folder of FlavaImageCodebook, or BEiT v2's vqkd_encoder file.",
    )


def _of_ours(where: Path, document: dict[str, Any]) -> CodebookFile:
    """The encoder of a DALL-E of ours. Mistake where its codebook was not trained."""
    painter = load_folder(where, document)
    if PART not in painter.about.get("parts", ()):
        raise Mistake(
            f"The codebook of {where} was not trained.",
            "Its codes would mean nothing.",
            f"First: pairloom train dalle:codebook ... --out {where}",
        )
    c = painter.config
    shape = DiscreteVaeConfig(c.code_width, c.code_blocks)
    return CodebookFile(
        shape, c.codebook, tensors_of(painter.system.codebook.encoder), lambda name: Place((name,))
    )


def _targets(model: Model, file: CodebookFile, where: Path) -> Model:
    """A BEiT-3 whose hidden patches have the codes of this file, and which reads pixels in [-1, 1], as the codebook does."""
    if not model.config.data:
        why = "It learns from codes by masked data modelling, whose weight `data` is 0 here."
        raise Mistake("This beit3 has no use for a codebook.", why, "Set model.data=1.")
    config = replace(model.config, codes=file.codes, codebook=file.config)
    system = _rebuilt(beit3.System, config, model)
    _fill(system.codebook.encoder, file, where)
    feed = replace(model.pixels, mean=HALF, std=HALF)
    return replace(model, system=system, feed=feed, about={**model.about, PART: where.name})


def _encoder(model: Model, file: CodebookFile, where: Path) -> Model:
    """A DALL-E with this encoder, whose decoder is still to be trained."""
    if not isinstance(file.config, DiscreteVaeConfig):
        raise Mistake(
            f"{where} is no codebook of a dalle.", "It has no discrete VAE, from which a dalle draws."
        )
    sizes = dict(code_width=file.config.first_width, code_blocks=file.config.blocks, codebook=file.codes)
    system = _rebuilt(dalle.System, replace(model.config, **sizes), model)
    _fill(system.codebook.encoder, file, where)
    about = {PART: f"{where.name}, its decoder initialised at random"}
    return replace(model, system=system, about={**model.about, **about})


def _rebuilt(make: Any, config: Any, model: Model) -> Any:
    """The system of a config, with the weights of the model where they fit."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        system = make(config)
    own = system.state_dict()
    put_shared(system, {name: one for name, one in tensors_of(model.system).items() if name in own})
    return system


def _fill(encoder: nn.Module, file: CodebookFile, where: Path) -> None:
    """Copy the file's tensors. Mistake for those that are missing or unknown."""
    own = encoder.state_dict()
    take(file.tensors, {name: file.place(name) for name in own}, own).whole(where).into(encoder)
