"""BLIP's question answering as transformers saves it (BlipForQuestionAnswering). Read by transformers_blip.py.

Facts: the class's decoder reads rows of the image tower's width, so that it cannot hold a large model; its questions begin
with [CLS] unless the caller writes [ENC], as in training and here; its decoder also attends to the padding of a question.
"""

from __future__ import annotations

from pathlib import Path

from pairloom.errors import Mistake
from pairloom.model import Model
from pairloom.weights._transformers import write
from pairloom.weights.salesforce import to_transformers
from pairloom.weights.salesforce_tasks import to_published
from pairloom.weights.transformers_blip import TIED, config_for

WRITES, SYSTEM = "transformers", "blip_vqa"


def export(model: Model, out: Path) -> None:
    """Export a folder that BlipForQuestionAnswering loads. Mistake where the two towers differ in width."""
    c = model.config
    if c.width != c.image_width:
        raise Mistake(
            "transformers has no class for this model.",
            f"Its decoder reads rows of the image tower's width ({c.image_width}), not the question's ({c.width}).",
        )
    tensors = {to_transformers(name): tensor for name, tensor in to_published(model.system).items()}
    kept = {name: tensor for name, tensor in tensors.items() if not name.startswith(TIED)}
    write(model, out, config_for(model, "BlipForQuestionAnswering"), kept, "Blip")
