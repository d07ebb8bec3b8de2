"""Language model of a Flamingo: any causal language model of transformers, put into a new Flamingo with its tokenizer. Its
tensors do not change: <image> and <|endofchunk|> get embeddings outside of it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import torch

from pairloom.blocks.tensors import put_tensors, tensors_of
from pairloom.checkpoints.building import build_within
from pairloom.data.language_tokens import language_tokens
from pairloom.errors import Mistake
from pairloom.model import Model, read_json
from pairloom.model.builder import fit_to_tokens
from pairloom.systems.flamingo import System

PART = "language"
MOST = 1 << 12  # tensors of a language model: its folder is measured by its bytes, one a number or more
KINDS = ("missing_keys", "unexpected_keys", "mismatched_keys")


def start(model: Model, where: Path) -> Model:
    """Replace the language model of a new Flamingo. Mistake where the folder has no causal language model or no tokenizer."""
    document = read_json(where / "config.json")
    if model.name != "flamingo" or "model_type" not in document:
        raise Mistake(
            f"{where} cannot be the language model of a {model.name}.",
            "It has no config.json with a model_type." if "model_type" not in document else "",
            "Name a folder of transformers with a causal language model.",
        )
    tokens = language_tokens(where)
    dropped = ("_name_or_path", "architectures", "transformers_version", "torch_dtype", "dtype", "auto_map")
    library = json.dumps(
        {name: value for name, value in document.items() if name not in dropped}, sort_keys=True
    )
    config = replace(fit_to_tokens(model.config, tokens), library=library)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        size = sum(file.stat().st_size for file in where.iterdir() if file.suffix in (".safetensors", ".bin"))
        system = build_within(MOST, size, lambda: System(config), where)
    put_tensors(system.vision, tensors_of(model.system.vision))
    _fill(system, where)
    about = {**model.about, "language": f"{document['model_type']} ({where.name})"}
    return replace(model, system=system, tokens=tokens, about=about)


def _fill(system: System, where: Path) -> None:
    """Read the folder's tensors with transformers, which converts its own old names; nothing is downloaded or unpickled."""
    import transformers

    quiet = transformers.logging.get_verbosity()
    transformers.logging.set_verbosity_error()
    try:
        theirs, report = transformers.AutoModelForCausalLM.from_pretrained(
            where,
            local_files_only=True,
            trust_remote_code=False,
            dtype=torch.float32,
            output_loading_info=True,
        )
    except Exception as error:  # its validators raise classes of their own
        raise Mistake(
            f"The language model in {where} cannot be read.",
            str(error).split("\n")[0],
            "Copy the folder again.",
        ) from error
    finally:
        transformers.logging.set_verbosity(quiet)
    wrong = [
        f"{kind.removesuffix('_keys')}: {', '.join(sorted(map(str, report[kind]))[:3])}"
        for kind in KINDS
        if report[kind]
    ]
    if wrong:
        raise Mistake(
            f"The weights in {where} do not fit their config.",
            "; ".join(wrong) + ".",
            "Copy the folder again.",
        )
    system.language.model.load_state_dict(theirs.state_dict())
