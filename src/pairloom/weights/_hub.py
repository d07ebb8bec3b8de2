"""Downloads from the Hugging Face hub where the user allows it, and tokenizers of checkpoints that have none.

HF_HUB_OFFLINE and HF_HOME are honoured by huggingface_hub itself.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

from pairloom.checkpoints import cached
from pairloom.data.tokens import FILES, OPENAI, Tokens
from pairloom.errors import Mistake

WANTED = ["*.json", "*.safetensors", "merges.txt", "*/merges.txt", "vocab.txt"]
PICKLED = ["*.bin"]
BERT = "bert-base-uncased", "google-bert/bert-base-uncased"
CLIP = "openai/clip-vit-base-patch32", "openai/clip-vit-large-patch14"


def download(name: str) -> Path:
    """Download a hub id into the cache: configs, tokenizer and safetensors; .bin files only where there are no safetensors.

    Mistake where the network, the hub or HF_HUB_OFFLINE prevents it.
    """
    from huggingface_hub import snapshot_download

    try:
        where = Path(snapshot_download(name, allow_patterns=WANTED))
        if not any(where.glob("*.safetensors")):
            where = Path(snapshot_download(name, allow_patterns=[*WANTED, *PICKLED]))
        return where
    except Exception as error:  # the hub's client raises whatever its transport does
        raise Mistake(
            f"'{name}' could not be downloaded.",
            str(error).split("\n")[0],
            "Check the name and the network, or copy the folder here by other means.",
        ) from error


def tokens_near(folder: Path, kind: str, clean: str = "") -> Tokens:
    """The tokenizer of a checkpoint without one: from its folder, the local cache, or an installed package.

    kind: "clip" (text is cleaned as in CLIP's code) or "bert". clean: another cleaning (`data/normalisers.py`). Mistake where there is none, with the files that are needed.
    """
    clean = "clip" if kind == "clip" else clean
    wanted = ("tokenizer.json", "vocab.json", OPENAI) if kind == "clip" else ("tokenizer.json", "vocab.txt")
    folders = [folder, *(_packaged() if kind == "clip" else [])]
    folders += [where for where in map(cached, CLIP if kind == "clip" else BERT) if where]
    for where in folders:
        for name in wanted:
            if name in FILES and (where / name).is_file():
                return Tokens.load(where / name, clean)
    raise Mistake(
        f"There is no tokenizer beside {folder}.",
        "The file holds weights alone; its folder, the local hub cache and installed packages have no tokenizer for it.",
        f"Put {' or '.join(wanted)} ({(BERT if kind == 'bert' else CLIP)[0]}) into the folder.",
    )


def _packaged() -> list[Path]:
    """Folders of installed packages that contain OpenAI's byte-pair merges; the packages are not imported."""
    specs = [importlib.util.find_spec(name) for name in ("clip", "open_clip")]
    return [Path(spec.origin).parent for spec in specs if spec and spec.origin]
