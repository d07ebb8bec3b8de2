"""A Stable Diffusion in one file (.safetensors, .ckpt), as it was first released and as people share it.

Facts: the names are those of the first release (model.diffusion_model., first_stage_model., cond_stage_model. or conditioner.);
diffusers' own loader converts them. The file holds weights alone: settings and tokenizer come from the folder of a pipeline,
which is named, lies beside the file, or is in the local cache. A .ckpt is read by torch's restricted loader.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pairloom.checkpoints.hub import cached
from pairloom.checkpoints.layout import peek, read
from pairloom.checkpoints.names import pipeline_of
from pairloom.errors import Mistake
from pairloom.model import Model
from pairloom.weights.diffusers import config_of, filled, model_of, parts_of

FIRST = "model.diffusion_model.input_blocks.0.0.weight"
PIPELINES = ("StableDiffusionPipeline", "StableDiffusionXLPipeline")


def sniff(where: Path) -> bool:
    """Whether a path is a file with the network of the first release."""
    return where.is_file() and FIRST in peek(where)


def load(where: Path, config: Path | None = None) -> Model:
    """Load a file. config: the folder of a pipeline of its kind, for settings and tokenizer; its weights are not needed. Mistake where
    there is no such folder on this machine, and where the file does not fit it."""
    if where.suffix != ".safetensors":
        read(where)  # a file that holds more than tensors is refused before another library opens it
    folder = config or _folder(where)
    settings, kind = config_of(folder), str(pipeline_of(folder).get("_class_name"))
    if kind not in PIPELINES:
        raise Mistake(f"{folder} is the folder of a {kind}.", "", f"Name that of a {' or '.join(PIPELINES)}.")
    pipe = _converted(where, folder, kind)
    parts = {part: getattr(pipe, part).state_dict() for part in parts_of(settings)}
    about = {"source": f"{kind} in one file ({where.name}; settings of {folder.name})"}
    return model_of(filled(settings, parts, where), folder, about)


def _converted(where: Path, folder: Path, kind: str) -> Any:
    """The pipeline of diffusers, whose parts have the names that it has today. Nothing is downloaded."""
    import diffusers

    maker = getattr(diffusers, kind)
    none = (
        {"safety_checker": None, "feature_extractor": None}
        if kind == PIPELINES[0]
        else {"feature_extractor": None}
    )
    try:
        return maker.from_single_file(str(where), config=str(folder), local_files_only=True, **none)
    except Exception as error:  # the library raises whatever its converters do
        why = (str(error).split("\n")[0] or type(error).__name__)[:200]
        what = f"{where} does not fit the settings in {folder}."
        raise Mistake(
            what, f"{why}.", "Name the folder of the pipeline that it was trained from: --config."
        ) from error


def _folder(where: Path) -> Path:
    """The folder of the settings: the file's own, else what diffusers takes for such a file, in the local cache."""
    from diffusers.loaders.single_file_utils import fetch_diffusers_config

    if pipeline_of(where.parent):
        return where.parent
    name = str(fetch_diffusers_config(dict(read(where)))["pretrained_model_name_or_path"])
    folder = cached(name)
    if folder is None or not pipeline_of(folder):
        raise Mistake(
            f"{where} holds weights alone.",
            f"Settings and tokenizer of its pipeline ({name}) are neither beside it nor in the local cache.",
            f"pairloom import {where.name} --config FOLDER --out DIR, with a folder of that pipeline; its weights are not needed.",
        )
    return folder
