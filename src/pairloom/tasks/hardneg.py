"""HardNeg-DiffusionITM (Krojer et al., 2023, section 3.2): a diffusion model that learns, through small adapters on its
attention, to be worse at wrong pairs.

    model = adapted(pairloom.load("FOLDER"), rank=4)
    fit(model.system, NegativeBatches(pictures, rows, model.tokens, model.config.length, MIX), Settings(**RECIPES["hardneg"]))

The loss is the system's own (`losses` looks for negatives in the batch); the batches are `data/negatives.py`'s.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import torch

from pairloom.errors import Mistake
from pairloom.model import Model


def adapted(
    model: Model, rank: int = 4, attention: Literal["both", "cross"] = "both", margin: float = 1.0
) -> Model:
    """The same weights with fresh adapters, which alone learn; at first it says what it said before.

    attention: both, as in the released adapters, or cross-attention alone, as written. margin: lambda of the loss.
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
        torch.manual_seed(0)
        system = type(model.system)(config)
    system.load_state_dict(
        model.system.state_dict(), strict=False
    )  # the adapters' own halves stay as they begin
    about = {**model.about, "adapters": f"rank {rank}, {attention}"}
    return Model(model.name, system.to(model.device), model.tokens, model.pixels, about)
