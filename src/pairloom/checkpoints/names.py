"""Names of files of weights, as transformers, diffusers and open_clip write them, in the order in which a folder is searched.

Does not know: what is in them.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

OPEN_CLIP = ("open_clip_model", "open_clip_pytorch_model")
STEMS = ("model", "pytorch_model", *OPEN_CLIP, "diffusion_pytorch_model")
VARIANTS = ("", ".fp16", ".bf16")
PIPELINE = (
    "unet",
    "vae",
    "text_encoder",
    "text_encoder_2",
)  # the folders of a diffusers pipeline that hold weights which are read


def names_of(stems: Collection[str] = STEMS) -> Iterator[str]:
    """Names under which the weights of a folder are searched: whole precision before half, safetensors before pickled files,
    one file before several with an index."""
    for variant in VARIANTS:
        for kind in ("safetensors", "bin"):
            for stem in stems:
                yield f"{stem}{variant}.{kind}"
                yield f"{stem}.{kind}.index{variant}.json"


def folders_of(names: Collection[str], pipeline: Mapping[str, Any] | None) -> list[str]:
    """Folders of a repository that hold weights which are used: those of the parts of a diffusers pipeline (the content of its
    model_index.json), else the repository itself, "". names: of all its files."""
    if not pipeline:
        return [""]
    return [f"{part}/" for part in PIPELINE if (pipeline.get(part) or [None])[0] is not None]


def weights_in(names: Collection[str], folder: str = "") -> str | None:
    """The file of a folder ("", or "unet/" ...) that its weights are read from, an index where there are several; None where
    there is none of a usual name. A folder of open_clip's is read from open_clip's own file where it has one."""
    known = set(names)
    orders = [OPEN_CLIP, STEMS] if f"{folder}open_clip_config.json" in known else [STEMS]
    return next(
        (folder + name for stems in orders for name in names_of(stems) if folder + name in known), None
    )


def shards_of(index: Path) -> list[str]:
    """Names of the files that an index of weights lists, beside it; none where it is no index."""
    try:
        return sorted(
            {Path(str(name)).name for name in json.loads(index.read_text("utf-8"))["weight_map"].values()}
        )
    except (OSError, ValueError, KeyError, AttributeError, TypeError):
        return []


def lacking(where: Path) -> list[str]:
    """What a folder lacks of its weights: names of missing files, or of folders that have none."""
    names = {str(file.relative_to(where).as_posix()) for file in where.rglob("*") if file.is_file()}
    missing: list[str] = []
    for folder in folders_of(names, pipeline_of(where)):
        chosen = weights_in(names, folder)
        if chosen is None:
            loose = not folder and any(
                Path(name).suffix in (".pt", ".pth", ".safetensors", ".bin") for name in names
            )
            missing += [] if loose else [f"weights of {folder.rstrip('/') or 'the model'}"]
        elif chosen.endswith(".json"):
            missing += [folder + name for name in shards_of(where / chosen) if folder + name not in names]
    return missing


def pipeline_of(where: Path) -> dict[str, Any]:
    """The content of a folder's model_index.json; empty where there is none."""
    try:
        document = json.loads((where / "model_index.json").read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return document if isinstance(document, dict) else {}
