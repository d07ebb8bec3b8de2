"""Downloads from the Hugging Face hub where the user allows it, and tokenizers of checkpoints that have none.

HF_HUB_OFFLINE and HF_HOME are honoured by huggingface_hub itself.
"""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Sequence
from pathlib import Path

from pairloom.checkpoints.hub import cached
from pairloom.checkpoints.names import folders_of, lacking, pipeline_of, shards_of, weights_in
from pairloom.data.tokens import Tokens
from pairloom.data.vocabulary_files import OPENAI, SPIECE
from pairloom.errors import Mistake

CONFIGS = ["*.json", "*.txt", "*.txt.gz"]
# whose tokenizer a checkpoint without one has, by its kind
PUBLISHED = {
    "bert": ("bert-base-uncased", "google-bert/bert-base-uncased"),
    "bert-cased": ("bert-base-cased", "google-bert/bert-base-cased"),
    "t5": ("t5-base", "google-t5/t5-base"),
    "clip": ("openai/clip-vit-base-patch32", "openai/clip-vit-large-patch14"),
}


def find_model(name: str, download: bool) -> Path | None:
    """The folder of a hub id: from the local cache where its weights are all there, else downloaded where that is allowed. None
    where it is not in the cache. Mistake for a part of a model, where that is not allowed."""
    where = cached(name)
    missing = lacking(where) if where is not None else []
    if where is not None and not missing:
        return where
    if download:
        return fetch(name)
    if where is None:
        return None
    raise Mistake(
        f"The local cache holds only a part of {name}.",
        f"Missing: {', '.join(missing[:3])}{' ...' * (len(missing) > 3)}.",
        f"pairloom import {name} --download --out DIR fetches the rest.",
    )


def fetch(name: str) -> Path:
    """Download a hub id into the cache: configs, tokenizer, and one set of weights, safetensors where there are any.

    Mistake where the network, the hub or HF_HUB_OFFLINE prevents it.
    """
    from huggingface_hub import HfApi, snapshot_download

    try:
        where = Path(snapshot_download(name, allow_patterns=CONFIGS))
        names = HfApi().list_repo_files(name)
        return Path(
            snapshot_download(name, allow_patterns=[*CONFIGS, *map(_literal, wanted_weights(names, where))])
        )
    except Exception as error:  # the hub's client raises whatever its transport does
        raise Mistake(
            f"'{name}' could not be downloaded.",
            str(error).split("\n")[0],
            "Check the name and the network, or copy the folder here by other means.",
        ) from error


def wanted_weights(names: Sequence[str], where: Path) -> list[str]:
    """Files of weights of a repository that are worth downloading: one precision and one format of each part, and adapters.

    names: of all files. where: the folder with its configs and indices.
    """
    chosen = [name for name in names if name == "pytorch_lora_weights.safetensors"]
    for folder in folders_of(names, pipeline_of(where)):
        file = weights_in(names, folder)
        if file is not None and file.endswith(".json"):
            chosen += [folder + shard for shard in shards_of(where / file)]
        elif file is not None:
            chosen.append(file)
        elif not folder:  # of no usual name: what stands at the top, if it is one file
            loose = [
                name
                for name in names
                if "/" not in name and name.endswith((".safetensors", ".pt", ".pth", ".bin"))
            ]
            chosen += (
                loose if len(loose) == 1 else [name for name in loose if name.endswith(".safetensors")][:1]
            )
    return chosen


def _literal(name: str) -> str:
    """A pattern that matches this name alone."""
    return re.sub(r"([\[*?])", r"[\1]", name)


def tokens_near(folder: Path, kind: str, clean: str = "") -> Tokens:
    """The tokenizer of a checkpoint without one: from its folder, the local cache, or an installed package.

    kind: a key of PUBLISHED; with "clip" text is cleaned as in CLIP's code. clean: another cleaning (`data/normalisers.py`). Mistake where there is
    none, with the files that are needed.
    """
    clean = "clip" if kind == "clip" else clean
    others = {"clip": ("vocab.json", OPENAI), "t5": (SPIECE,)}
    wanted = ("tokenizer.json", *others.get(kind, ("vocab.txt",)))
    folders = [folder, *(_packaged() if kind == "clip" else [])]
    folders += [where for where in map(cached, PUBLISHED[kind]) if where]
    for where in folders:
        for name in wanted:
            if (where / name).is_file():
                return Tokens.load(where / name, clean)
    raise Mistake(
        f"There is no tokenizer beside {folder}.",
        "The file holds weights alone; its folder, the local hub cache and installed packages have no tokenizer for it.",
        f"Put {' or '.join(wanted)} ({PUBLISHED[kind][0]}) into the folder.",
    )


def _packaged() -> list[Path]:
    """Folders of installed packages that contain OpenAI's byte-pair merges; the packages are not imported."""
    specs = [importlib.util.find_spec(name) for name in ("clip", "open_clip")]
    return [Path(spec.origin).parent for spec in specs if spec and spec.origin]
