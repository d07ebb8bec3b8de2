"""Model folder: `config.json`, `model.safetensors`, `tokenizer.json` and the model card `README.md`, read into a Model.

Nothing is unpickled, nothing is downloaded. Does not know: how a folder is written (`saving.py`).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from pairloom import registry
from pairloom.blocks.tensors import put_tensors
from pairloom.config import from_dict
from pairloom.data.feed import FEEDS, Feed
from pairloom.data.tokens import Tokens
from pairloom.errors import Mistake
from pairloom.model.generation import Generation, with_prompt
from pairloom.model.model import Model

MARK = "pairloom"  # the key by which config.json says whose it is
# settings, tensors and groups of them in folders of earlier versions that nothing reads; a system's file may have more
RETIRED = ("lacks",)


def load_folder(
    where: Path, config_json: Mapping[str, Any], feed: Feed | None = None, complete: Callable[[nn.Module], object] = id
) -> Model:  # fmt: skip
    """The model of a folder of ours, in evaluation mode. feed: instead of the one that config.json describes. complete: called
    with the new system before it gets its weights. Mistake where the folder is not whole or does not fit together."""
    missing = [name for name in ("model.safetensors", "tokenizer.json") if not (where / name).is_file()]
    if missing:
        why = f"{' and '.join(missing)} is missing."
        raise Mistake(f"The model {where} is not whole.", why, "Copy the whole folder.")
    module = registry.find("systems", str(config_json.get("system", "")))
    try:
        config, tokens = with_prompt(read_config(config_json), Tokens.load(where))
        system: nn.Module = module.System(config)
        complete(system)
        if feed is None:
            kind = next((name for name in FEEDS if name in config_json), "pixels")
            feed = from_dict(FEEDS[kind], config_json[kind])
        generation = from_dict(Generation, config_json.get("generation", {}))
        tensors = _in_use(load_file(where / "model.safetensors"), module)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise Mistake(
            f"{where / 'config.json'} does not describe a model.", f"{type(error).__name__}: {error}"
        ) from error
    except (SafetensorError, OSError) as error:
        raise Mistake(
            f"{where / 'model.safetensors'} cannot be read.", str(error), "Copy the file again."
        ) from error
    if getattr(config, "vocabulary", tokens.size) != tokens.size:
        raise Mistake(
            f"The tokenizer in {where} is another model's.",
            f"It has {tokens.size} tokens, the config says {config.vocabulary}.",
            "Put back the tokenizer.json that was saved with the weights.",
        )
    put_tensors(system, tensors, tuple(getattr(system, "training_state", ())))
    about, name = dict(config_json.get("about", {})), str(config_json["system"])
    return Model(name, system.eval(), tokens, feed, about, generation)


def read_config(config_json: Mapping[str, Any]) -> Any:
    """The system's Config that a config.json of ours describes. Mistake for a setting that there is not."""
    module = registry.find("systems", str(config_json["system"]))
    values = _in_use(config_json["config"], module)
    earlier = {"prompt_text": "a picture of"} if values.get("prompt") else {}  # once it had no name
    return from_dict(module.Config, {**earlier, **values})


def _in_use(values: Mapping[str, Any], module: ModuleType, group: str = "") -> dict[str, Any]:
    """Settings (groups of them too) or tensors by name, without those that are retired."""
    retired = tuple(f"{name}." for name in (*RETIRED, *getattr(module, "RETIRED", ())))
    return {
        name: _in_use(value, module, f"{group}{name}.") if isinstance(value, Mapping) else value
        for name, value in values.items()
        if not f"{group}{name}.".startswith(retired)
    }


def read_json(file: Path) -> dict[str, Any]:
    """The object in a JSON file; empty where there is none."""
    try:
        document = json.loads(file.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return document if isinstance(document, dict) else {}
