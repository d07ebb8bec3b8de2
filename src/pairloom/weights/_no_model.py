"""The Mistake about a path that holds no model: what is there instead."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pairloom.checkpoints import layout
from pairloom.errors import Mistake
from pairloom.model.folder import MARK, read_json

FOREIGN = dict.fromkeys((".pth", ".pt", ".ckpt", ".bin", ".model"), "a torch checkpoint")
FOREIGN[".safetensors"] = "bare weights, without a config"


def nothing_there(where: Path) -> Mistake:
    """The Mistake about a path where nothing is."""
    return Mistake(
        f"There is no model at {where}.",
        "It is no path, and no hub id in the local cache; names are not looked up on the network.",
        "Give the path of a model folder, or: pairloom import NAME --download --out DIR",
    )


def no_model(where: Path, document: Mapping[str, Any]) -> Mistake:
    """The Mistake. document: the content of its config.json."""
    if where.suffix in FOREIGN and any(re.search(r"^lora_|\.lora[._]", name) for name in layout.peek(where)):
        return Mistake(
            f"{where} holds low-rank adapters, not a model.",
            "They change the weights of the model that they were trained for.",
            "Of a Stable Diffusion: copy the file into its folder as pytorch_lora_weights.safetensors, and name the folder.",
        )
    if where.suffix in FOREIGN and where.is_file():
        return layout.unknown(where, FOREIGN[where.suffix])
    return Mistake(
        f"{where} is not a model folder.",
        f"It is {_describe(where, document)}.",
        "A model folder has config.json, model.safetensors and tokenizer.json, as `pairloom train` writes them.",
    )


def _describe(where: Path, document: Mapping[str, Any]) -> str:
    """Description of what a path holds instead of a model."""
    if where.is_file():
        return "a file"
    if "model_type" in document or "architectures" in document:
        stated = document.get("architectures") or document.get("model_type")
        kind = ", ".join(map(str, stated)) if isinstance(stated, list) else str(stated)
        return f"a transformers folder ({kind})"
    if (where / "model_index.json").is_file():
        return "a diffusers folder"
    if MARK in read_json(where / "run.json"):
        return "a training run that has not finished; run the same `pairloom train` again"
    entries = sorted(entry.name for entry in where.iterdir())
    if not entries:
        return "an empty folder"
    spoilt = "; its config.json does not describe a model" * ("config.json" in entries)
    return f"a folder with {', '.join(entries[:5])}{' ...' * (len(entries) > 5)}{spoilt}"
