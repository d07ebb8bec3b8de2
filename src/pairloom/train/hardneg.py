"""HardNeg-DiffusionITM (Krojer et al., 2023, section 3.2): a diffusion model that learns, through small adapters on its
attention, to be worse at wrong pairs.

    pairloom train latent_diffusion --init PIPELINE --data PICTURES --negatives TABLE --recipe hardneg model.rank=4 --out DIR

    model = adapted(pairloom.load("FOLDER"), rank=4)
    batches = NegativeBatches(pictures, table, model.tokens, model.config.length, MIX)
    fit(model.system, batches, Settings(**RECIPES["hardneg"]))

The loss is the system's own (`losses` looks for negatives in the batch); the batches are `data/negatives.py`'s.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Literal

import torch

from pairloom.data.disk import atomic_write
from pairloom.errors import Mistake
from pairloom.model import Model
from pairloom.weights.diffusers import ADAPTERS, adapter_bytes


def adapted(
    model: Model,
    rank: int = 4,
    attention: Literal["both", "cross"] = "both",
    margin: float = 1.0,
    seed: int = 0,
) -> Model:
    """The same weights with fresh adapters, which alone learn; at first it says what it said before.

    attention: both, as in the released adapters, or cross-attention alone, as written. margin: lambda of the loss. seed: of
    the adapters' first halves.
    Mistake where the model has adapters already, or takes none.
    """
    if not hasattr(model.config, "adapted"):
        raise Mistake(f"{model.name} takes no adapters.", "", "Name a diffusion model.")
    if model.config.rank:
        raise Mistake(
            "The model has adapters already.", f"Their rank is {model.config.rank}.", "Go on with them."
        )
    config = replace(model.config, rank=rank, adapted=attention, margin=margin)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        system = type(model.system)(config)
    system.load_state_dict(
        model.system.state_dict(), strict=False
    )  # the adapters' own halves stay as they begin
    about = {**model.about, "adapters": f"rank {rank}, {attention}"}
    return Model(model.name, system.to(model.device), model.tokens, model.pixels, about)


def write_adapters(model: Model, where: Path) -> Path:
    """The adapters alone, by the released names, as a file of the folder. Mistake for a model without any."""
    file = where / ADAPTERS
    with atomic_write(file, replace=True) as stream:
        stream.write(adapter_bytes(model))
    return file
