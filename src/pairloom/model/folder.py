"""Model folder: `config.json`, `model.safetensors`, `tokenizer.json` and the model card `README.md`, written and read.

Nothing is unpickled, nothing is downloaded.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file
from safetensors.torch import save as to_bytes
from torch import nn

import pairloom
from pairloom import registry
from pairloom.blocks.tensors import put_tensors, tensors_of
from pairloom.config import from_dict, to_dict
from pairloom.data.disk import atomic_write, unwritable
from pairloom.data.feed import FEEDS, feed_name
from pairloom.data.tokens import Tokens
from pairloom.errors import Mistake
from pairloom.model.model import Model

MARK = "pairloom"  # the key by which config.json says whose it is
RETIRED = ("lacks",)  # settings of earlier versions that say nothing which the others do not


def save(model: Model, where: Path | str) -> Path:
    """Write a model folder; training state (momentum copies, queues) stays out. Each file appears whole.

    Raises Mistake where the folder holds something that is not a model of ours, or the disk refuses; ValueError for an
    engine (`at_speed`), which has no weights to save.
    """
    from pairloom.model.card import card

    if hasattr(model.system, "speed"):
        raise ValueError("an engine cannot be saved: save the model that at_speed was asked of")
    where = Path(where)
    claim(where)
    drop = tuple(getattr(model.system, "training_state", ()))
    tensors = {name: tensor.cpu() for name, tensor in tensors_of(model.system, drop).items()}
    config = {
        MARK: pairloom.__version__,
        "system": model.name,
        "config": to_dict(model.config),
        feed_name(model.feed): to_dict(model.feed),
        "about": model.about,
    }
    files = {
        "model.safetensors": to_bytes(tensors, {"format": "pt"}),
        "tokenizer.json": model.tokens.to_json().encode(),
        "README.md": card(model).encode(),
        "config.json": (json.dumps(config, indent=1, ensure_ascii=False) + "\n").encode(),
    }
    for name, data in files.items():
        with atomic_write(where / name, replace=True) as file:
            file.write(data)
    return where


def claim(where: Path) -> None:
    """Make a folder, or take one that is empty or ours already. Mistake where it is someone else's."""
    try:
        where.mkdir(parents=True, exist_ok=True)
        entries = sorted(entry.name for entry in where.iterdir() if not entry.name.startswith("."))
    except OSError as error:
        raise unwritable(where, error) from error
    if entries and not any(MARK in read_json(where / name) for name in ("config.json", "run.json")):
        seen = ", ".join(entries[:3])
        raise Mistake(
            f"{where} is not a folder of pairloom's.", f"It holds {seen}.", "Name an empty or a new folder."
        )


def load_folder(where: Path, config_json: Mapping[str, Any]) -> Model:
    """The model of a folder of ours, in evaluation mode. Mistake where the folder is not whole or does not fit together."""
    missing = [name for name in ("model.safetensors", "tokenizer.json") if not (where / name).is_file()]
    if missing:
        why = f"{' and '.join(missing)} is missing."
        raise Mistake(f"The model {where} is not whole.", why, "Copy the whole folder.")
    module = registry.find("systems", str(config_json.get("system", "")))
    try:
        config = read_config(config_json)
        system: nn.Module = module.System(config)
        kind = next((name for name in FEEDS if name in config_json), "pixels")
        feed = from_dict(FEEDS[kind], config_json[kind])
        tensors = load_file(where / "model.safetensors")
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise Mistake(
            f"{where / 'config.json'} does not describe a model.", f"{type(error).__name__}: {error}"
        ) from error
    except (SafetensorError, OSError) as error:
        raise Mistake(
            f"{where / 'model.safetensors'} cannot be read.", str(error), "Copy the file again."
        ) from error
    tokens = Tokens.load(where)
    if getattr(config, "vocabulary", tokens.size) != tokens.size:
        raise Mistake(
            f"The tokenizer in {where} is another model's.",
            f"It has {tokens.size} tokens, the config says {config.vocabulary}.",
            "Put back the tokenizer.json that was saved with the weights.",
        )
    put_tensors(system, tensors, tuple(getattr(system, "training_state", ())))
    return Model(str(config_json["system"]), system.eval(), tokens, feed, dict(config_json.get("about", {})))


def read_config(config_json: Mapping[str, Any]) -> Any:
    """The system's Config that a config.json of ours describes. Mistake for a setting that there is not."""
    settings = {name: value for name, value in config_json["config"].items() if name not in RETIRED}
    return from_dict(registry.find("systems", str(config_json["system"])).Config, settings)


def read_json(file: Path) -> dict[str, Any]:
    """The object in a JSON file; empty where there is none."""
    try:
        document = json.loads(file.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return document if isinstance(document, dict) else {}


def claim_empty(out: Path) -> None:
    """Make a folder for an export. Mistake where it holds anything."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        occupied = any(out.iterdir())
    except OSError as error:
        raise unwritable(out, error) from error
    if occupied:
        raise Mistake(f"{out} is not empty.", "Nothing of yours is overwritten.", "Name a new folder.")
