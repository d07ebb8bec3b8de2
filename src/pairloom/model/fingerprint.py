"""Fingerprint of a model: whether answers, vectors and pictures that are kept are those of these weights."""

from __future__ import annotations

import torch

from pairloom.data.pair import content_hash
from pairloom.model.model import Model


def fingerprint(model: Model) -> str:
    """Hash of a model's config, tokenizer, prompt, feed, and 64 numbers of every tensor; of an engine's (`at_speed`) without
    what it has packed."""
    digest = [repr((model.name, model.config, model.feed)), model.tokens.tokenizer.to_str()]
    parts = [text.encode() for text in digest]
    drop = tuple(getattr(model.system, "training_state", ()))
    for name, tensor in sorted(model.system.state_dict().items()):
        if name.startswith(drop) and drop:
            continue
        flat = tensor.detach().flatten()
        some = flat[torch.linspace(0, max(len(flat) - 1, 0), min(64, len(flat)), device=flat.device).long()]
        parts += [name.encode(), some.double().cpu().numpy().tobytes()]
    return content_hash(*parts)
