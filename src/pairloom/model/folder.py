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
from pairloom.checkpoints.building import build_for
from pairloom.config_json import from_dict
from pairloom.data.feed import FEEDS, Feed
from pairloom.data.roles import FROM_TOKENS
from pairloom.data.tokens import Tokens
from pairloom.data.transform import Transform
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
        tensors = _in_use(load_file(where / "model.safetensors"), module)
        config, tokens = with_prompt(read_config(config_json), _tokens(where / "tokenizer.json"))
        system: nn.Module = build_for(tensors, lambda: module.System(config), where / "config.json")
        complete(system)
        if feed is None:
            kind = next((name for name in FEEDS if name in config_json), "pixels")
            feed = from_dict(FEEDS[kind], config_json[kind])
            words = getattr(config, "vocabulary", tokens.size)
            if odd := [name for name in FROM_TOKENS if not 0 <= getattr(config, name, 0) < words]:
                raise ValueError(f"there are {words} tokens, and '{odd[0]}' is none of them")
            if isinstance(feed, Transform) and feed.size != config.image_size:
                raise ValueError(f"its pictures have {feed.size} px, its network reads {config.image_size}")
        generation = from_dict(Generation, config_json.get("generation", {}))
        about = dict(config_json.get("about", {}))
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
    return Model(str(config_json["system"]), system.eval(), tokens, feed, about, generation)


def _tokens(file: Path) -> Tokens:
    try:
        return Tokens.from_json(file.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise Mistake(f"{file} is not a tokenizer.", str(error), "Copy the whole folder.") from error


def read_config(config_json: Mapping[str, Any]) -> Any:
    """The system's Config that a config.json of ours describes. Mistake for a setting that there is not."""
    module = registry.find("systems", str(config_json["system"]))
    values = _in_use(config_json["config"], module)
    for name, meant in getattr(module, "MEANT", {}).items():
        values = {**(meant if values.get(name) else {}), **values}
    return from_dict(module.Config, values)


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
