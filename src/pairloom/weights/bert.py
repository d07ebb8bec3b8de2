"""BERT as the initialisation of a text tower (bert-base-uncased and similar, as transformers saves them).

Facts: BLIP drops BERT's token types and pooler; cross-attention is initialised at random; encoder and decoder both start
from BERT, and so does the language modelling head, where the file has one (cls.predictions).
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from torch import nn

from pairloom.checkpoints.layout import Moved, Place, read, take
from pairloom.errors import Mistake
from pairloom.model import Model
from pairloom.weights import salesforce

PART = "text"  # of a new blip, that `--init text=FOLDER` fills
DROPPED = ("token_type_embeddings", "pooler", "seq_relationship", "position_ids")


def start(model: Model, where: Path) -> Model:
    """Put BERT into the text tower of a new BLIP. Mistake for another system, and where the sizes differ."""
    if model.name != "blip":
        raise Mistake(f"A {model.name} has no text tower that BERT's weights are put into.", "A blip has.")
    fresh = len(start_from_bert(model.system, where).missing)
    about = {"text": f"{where.name or where}, {fresh} tensors initialised at random"}
    return replace(model, about={**model.about, **about})


def start_from_bert(system: nn.Module, where: Path) -> Moved:
    """Copy BERT's tensors into the text tower of a BLIP. `missing` names the tensors that keep their random initialisation.

    A vocabulary may lack the last two words ([DEC], [ENC]); these keep their random initialisation too. Mistake where the
    sizes differ, or the file has no text tower.
    """
    theirs = {_plain(name): tensor for name, tensor in read(where).items()}
    moved = take(
        theirs,
        {name: _place(place) for name, place in salesforce.places(system).items()},
        system.state_dict(),
    )
    moved.left = [name for name in moved.left if not any(part in name for part in DROPPED)]
    moved.missing = [name for name in moved.missing if name.startswith(("towers.text.", "head."))]
    moved.demand("towers.text.embed.0.words.weight", where)
    moved.into(system)
    return moved


def _plain(name: str) -> str:
    """The current name of a tensor: old files have gamma and beta, and files of a bare BertModel lack the first "bert."."""
    name = name.removeprefix("bert.")
    for old, new in ((".gamma", ".weight"), (".beta", ".bias")):
        name = name.removesuffix(old) + new if name.endswith(old) else name
    return name


def _place(place: Place) -> Place:
    """The place in BERT of a tensor of the published BLIP layout; BERT has no place for the image tower's."""
    names = [name for name in place.names if name.startswith(("text_encoder.", "text_decoder."))]
    return Place(tuple(name.split(".", 1)[1].removeprefix("bert.") for name in names), place.third)
