"""Gradient caching (Gao et al., 2021, arXiv 2101.06983): the gradient of a large contrastive batch in the memory of a small
one.

Pictures and texts are embedded a chunk at a time, and only the embeddings are kept, which are compared as one batch. In the
backward pass each chunk is embedded again with the same random state, and receives the gradient of its embeddings. This is
torch's activation checkpointing, so that processes, autocast and recomputed layers need no code of their own. The cost is
one more forward pass. Batch norms are computed over a chunk, as they are over a process's share of a batch.


B texts, I pictures, E shared embedding.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from pairloom.data.batch import Batch, Texts
from pairloom.errors import Mistake
from pairloom.verbs import Compares


def demand_chunks(system: Any, chunk: int) -> None:
    """Raise Mistake where chunk > 0 and the system's losses are not functions of embeddings alone."""
    if chunk and not (isinstance(system, Compares) and system.compares):
        raise Mistake(
            f"chunk={chunk} does not fit this system.",
            "Only losses on embeddings can be computed in chunks: clip; coca with model.lm=0; blip with model.itm=0, "
            "model.lm=0 and model.momentum=0.",
            "Leave chunk out; accumulate=N and checkpointing=true save memory too.",
        )


def losses_in_chunks(system: Compares, batch: Batch, chunk: int) -> dict[str, Tensor]:
    """The system's losses of a batch, with the activations of `chunk` rows in memory at a time. ValueError where the batch has
    no pictures."""
    images = batch.required("images")
    image = _by_chunk(lambda part: system.embed_image(Batch(images=part)), chunk, images)
    text = _by_chunk(lambda ids, mask: system.embed_text(Batch(texts=Texts(ids, mask))), chunk, *batch.text())
    return system.compare(batch, image, text)


def _by_chunk(embed: Callable[..., Tensor], chunk: int, *rows: Tensor) -> Tensor:
    parts = zip(*(one.split(chunk) for one in rows))
    return torch.cat([checkpoint(embed, *part, use_reentrant=False) for part in parts])
