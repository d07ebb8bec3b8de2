"""Text-to-image pipelines as diffusers saves them: Stable Diffusion 1.x, 2.x and XL, with low-rank adapters where there are
any.

Facts: a folder for each part, named in model_index.json; the text encoder's names begin with `text_model.` or not; old
autoencoders have the names query, key, value, proj_attn; 2.x pads texts with "!". Adapters are in pytorch_lora_weights.*,
under names of three kinds. Nothing is unpickled. Not read: safety checkers, feature extractors, adapters of text encoders.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors.torch import save as to_bytes
from torch import Tensor

from pairloom.checkpoints.building import build_for
from pairloom.checkpoints.layout import Place, give, read, take
from pairloom.checkpoints.names import PIPELINE, weights_in
from pairloom.checkpoints.settings import JsonSettings
from pairloom.data.disk import atomic_write
from pairloom.data.roles import END, START
from pairloom.data.tokens import Tokens
from pairloom.data.transform import Transform
from pairloom.errors import Mistake
from pairloom.model import Model, read_json
from pairloom.model.saving import claim_empty
from pairloom.systems.latent_diffusion import PIXELS, Config, System, latent_shape
from pairloom.weights._diffusion_adapters import ADAPTERS, adapters_in, halves_of, put_adapters

WRITES, SYSTEM = "diffusers", "latent_diffusion"
PARTS = dict(zip(PIPELINE, ("unet.", "vae.", "text.first.", "text.second."), strict=True))
TEXT = (
    "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "hidden_act", "layer_norm_eps",
    "projection_dim", "eos_token_id", "bos_token_id", "pad_token_id",
)  # fmt: skip
OLD = {".to_q.": ".query.", ".to_k.": ".key.", ".to_v.": ".value.", ".to_out.0.": ".proj_attn."}
PARTS_OF_ALL = ("unet", "vae", "text_encoder", "scheduler", "tokenizer")
KINDS = r"(StableDiffusion|LatentConsistencyModel)\w*Pipeline$"
DERIVED = ("in_channels", "out_channels", "sample_size", "cross_attention_dim")


def sniff(where: Path) -> bool:
    """Whether a path is a folder with a model_index.json, but for that of an unCLIP."""
    kind = read_json(where / "model_index.json").get("_class_name", "UnCLIPPipeline")
    return where.is_dir() and kind != "UnCLIPPipeline"


def load(where: Path) -> Model:
    """Load a pipeline's folder. Mistake for a part that is missing, left over, or of another kind or size."""
    config = config_of(where)
    parts = {part: read(weights_file(where / part)) for part in parts_of(config)}
    system = filled(config, parts, where)
    if layers := adapters_in(where):
        put_adapters(system, layers, where)
    about = {"source": f"diffusers {read_json(where / 'model_index.json')['_class_name']} ({where.name})"}
    return model_of(system, where, about)


def parts_of(config: Config) -> list[str]:
    """The parts of a pipeline that hold weights."""
    return [part for part in PIPELINE if config.text_2 or part != "text_encoder_2"]


def filled(config: Config, parts: Mapping[str, Mapping[str, Tensor]], where: Path) -> System:
    """A new system with the tensors of each part of a pipeline, by diffusers' names. Mistake for missing or unknown tensors."""
    every = {f"{part}.{name}": tensor for part, tensors in parts.items() for name, tensor in tensors.items()}
    system = build_for(every, lambda: System(config), where)
    ours = system.state_dict()
    for part, prefix in PARTS.items():
        mine = {name: tensor for name, tensor in ours.items() if name.startswith(prefix)}
        if mine:
            theirs = {
                name: tensor for name, tensor in parts[part].items() if not name.endswith("position_ids")
            }
            take(theirs, _places(part, mine), mine).whole(where / part).into(system)
    return system


def model_of(system: System, where: Path, about: dict[str, Any]) -> Model:
    """The model of a system, with the tokenizer of a pipeline's folder."""
    pixels = Transform(system.config.image_size, **PIXELS)
    return Model(SYSTEM, system.eval(), Tokens.load(where / "tokenizer"), pixels, about)


def config_of(where: Path) -> Config:
    """The Config of a pipeline's folder. Mistake where files are missing or do not fit together."""
    index = JsonSettings.read(where / "model_index.json")
    lacking = [name for name in PARTS_OF_ALL if not (where / name).is_dir()]
    if lacking:
        kind = f"It is a {index.values.get('_class_name')}." if index.values else ""
        raise Mistake(
            f"The pipeline {where} has no {' and no '.join(lacking)}.",
            kind,
            "Copy the whole folder of a Stable Diffusion.",
        )
    kind = index.text("_class_name")
    if not re.match(KINDS, kind):
        raise Mistake(
            f"The pipeline {where} is a {kind}.",
            "It has the folders of a Stable Diffusion and is none.",
            "docs/weights.md lists what is read.",
        )
    unet, vae, text = (
        part_settings(where / name / "config.json") for name in ("unet", "vae", "text_encoder")
    )
    second = (where / "text_encoder_2").is_dir()
    text_2 = part_settings(where / "text_encoder_2" / "config.json") if second else JsonSettings(where)
    scheduler = part_settings(where / "scheduler" / "scheduler_config.json")
    tokens = Tokens.load(where / "tokenizer")
    side = _side(unet, where)
    config = Config(
        vocabulary=text.whole("vocab_size"), length=text.whole("max_position_embeddings"),
        pad=padding_of(where / "tokenizer", tokens), cls=tokens.cls, sep=tokens.sep,
        pad_2=padding_of(where / "tokenizer_2", tokens) if second else 0,
        zero_empty=second and index.flag("force_zeros_for_empty_prompt", True), image_size=side * _downscale(vae),
        unet={name: value for name, value in own_settings(unet).items() if name not in DERIVED}, vae=own_settings(vae),
        text=_text(text), text_2=_text(text_2) if second else {},
        scheduler={"_class_name": scheduler.text("_class_name"), **own_settings(scheduler)},
    )  # fmt: skip
    width = sum(one["hidden_size"] for one in (config.text, config.text_2) if one)
    _check(where, config, unet, width, tokens)
    return config


def _side(unet: JsonSettings, where: Path) -> int:
    """Of the latents of a network."""
    if not isinstance(unet.values.get("sample_size"), int):
        why = f"sample_size is {unet.values.get('sample_size')}: pictures are square here, and their side must be named."
        what = f"The size of the pictures of {where} is not known."
        raise Mistake(what, why, "Write a number there (64 for 512 px).")
    return unet.whole("sample_size", most=1 << 12)


def _downscale(vae: JsonSettings) -> int:
    """Pixels of a picture along a side of a latent."""
    scales = len(vae.numbers("block_out_channels"))
    if scales > 8:
        vae.refuse("block_out_channels", "a list of at most 8 numbers")
    return 1 << (scales - 1)


def _text(text: JsonSettings) -> dict[str, Any]:
    """The settings of a text encoder that its network is built from."""
    sizes = ("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads")
    checked = {name: text.whole(name) for name in sizes}
    return {name: text.values[name] for name in TEXT if name in text.values} | checked


def own_settings(settings: JsonSettings) -> dict[str, Any]:
    """Settings without the library's notes about their file."""
    return {name: value for name, value in settings.values.items() if not name.startswith("_")}


def _check(where: Path, config: Config, unet: JsonSettings, width: int, tokens: Tokens) -> None:
    channels, reads, writes = (
        config.vae.get("latent_channels", 4),
        unet.whole("in_channels"),
        unet.whole("out_channels"),
    )
    context = unet.values.get("cross_attention_dim")
    kind = config.scheduler.get("prediction_type", "epsilon")
    wrong = [
        why
        for fits, why in (
            (kind in ("epsilon", "v_prediction"), f"the scheduler predicts '{kind}'; epsilon and v_prediction are built"),
            (reads == channels, f"the network reads {reads} channels, the latents have {channels}"),
            (writes == channels, f"the network predicts {writes} channels, the latents have {channels}"),
            (context == width, f"the network reads texts {context} wide, they are {width}"),
            (tokens.size == config.vocabulary, f"the tokenizer has {tokens.size} ids, the text encoder {config.vocabulary}"),
            (not config.vae.get("shift_factor") and not config.vae.get("latents_mean"), "the latents are shifted"),
        )
        if not fits
    ]  # fmt: skip
    if wrong:
        raise Mistake(
            f"The parts of {where} do not fit together.",
            "; ".join(wrong) + ".",
            "Copy the folder as published.",
        )


def part_settings(file: Path) -> JsonSettings:
    """The settings in a part's config. Mistake where there are none."""
    settings = JsonSettings.read(file)
    if not settings.values:
        raise Mistake(f"{file} is missing or no JSON.", "", "Copy the whole folder.")
    return settings


def padding_of(where: Path, tokens: Tokens) -> int:
    """The padding id of a tokenizer."""
    document = {**read_json(where / "special_tokens_map.json"), **read_json(where / "tokenizer_config.json")}
    word = document.get("pad_token", END)
    pad = tokens.tokenizer.token_to_id(str(word.get("content") if isinstance(word, Mapping) else word))
    return tokens.pad if pad is None else int(pad)


def weights_file(folder: Path) -> Path:
    """The weights file of a part. Mistake where there is none."""
    names = [entry.name for entry in folder.iterdir()] if folder.is_dir() else []
    chosen = weights_in(names)
    if chosen is None:
        why = "There is no diffusion_pytorch_model.safetensors or similar."
        raise Mistake(f"{folder} has no weights.", why, "Copy the whole folder.")
    return folder / chosen


def _places(part: str, mine: Mapping[str, Tensor]) -> dict[str, Place]:
    """The places of a part's tensors, without its adapters."""
    places = {}
    for name in mine:
        there = name.removeprefix(PARTS[part])
        names: tuple[str, ...] = (there,)
        if part == "text_encoder":
            names = (f"text_model.{there}", there)
        if part == "vae" and ".attentions." in there:
            names = (there, _spelt(there))
        if not re.search(r"\.attn[12]\.to_\w+(\.0)?\.(down|up)\.weight$", name):
            places[name] = Place(names)
    return places


def _spelt(name: str) -> str:
    for new, old in OLD.items():
        name = name.replace(new, old)
    return name


def adapter_bytes(model: Model) -> bytes:
    """The adapters of a model as the bytes of a file, by their released names. Mistake where there are none."""
    learned = {there: tensor.cpu().contiguous() for _, there, tensor in halves_of(model.system)}
    if not learned:
        raise Mistake(f"{model.name} has no adapters to write.", "", "Train it with model.rank=4.")
    return to_bytes(learned, {"format": "pt"})


def beside(model: Model) -> dict[str, bytes]:
    """Further files of a trained model, file name -> bytes: its adapters, where it has any."""
    return {ADAPTERS: adapter_bytes(model)} if model.config.rank else {}


def export(model: Model, out: Path) -> None:
    """Export a folder that StableDiffusionPipeline.from_pretrained loads, with adapters by their released names.

    Mistake for a model of pixels, which has no autoencoder, and for a tokenizer that is not CLIP's.
    """
    c, system = model.config, model.system
    if not c.vae or not model.tokens.byte_pairs:
        why = "It has no autoencoder." if not c.vae else "Its tokenizer is not CLIP's."
        raise Mistake("diffusers has no pipeline for this model.", why, "Keep the model folder.")
    claim_empty(out)
    documents = _documents(model)
    state = system.state_dict()
    files = {name: (json.dumps(value, indent=2) + "\n").encode() for name, value in documents.items()}
    for part, prefix in PARTS.items():
        mine = {name: tensor for name, tensor in state.items() if name.startswith(prefix)}
        places = {name: Place(place.names[:1]) for name, place in _places(part, mine).items()}
        name = "model" if part.startswith("text") else "diffusion_pytorch_model"
        if mine:
            files[f"{part}/{name}.safetensors"] = to_bytes(give(mine, places), {"format": "pt"})
    files |= beside(model)
    for folder in ("tokenizer", "tokenizer_2") if c.text_2 else ("tokenizer",):
        files[f"{folder}/tokenizer.json"] = model.tokens.to_json().encode()
    for name, data in files.items():
        (out / name).parent.mkdir(exist_ok=True)
        with atomic_write(out / name) as file:
            file.write(data)


def _documents(model: Model) -> dict[str, Any]:
    """The JSON files of a pipeline."""
    c, tokens = model.config, model.tokens
    channels, side, _ = latent_shape(c)
    width = c.text["hidden_size"] + c.text_2.get("hidden_size", 0)
    own = {
        "sample_size": side,
        "in_channels": channels,
        "out_channels": channels,
        "cross_attention_dim": width,
    }
    texts = {
        "text_encoder": (c.text, "CLIPTextModel"),
        "text_encoder_2": (c.text_2, "CLIPTextModelWithProjection"),
    }
    index: dict[str, Any] = {
        "_class_name": "StableDiffusionXLPipeline" if c.text_2 else "StableDiffusionPipeline",
        "unet": ["diffusers", "UNet2DConditionModel"], "vae": ["diffusers", "AutoencoderKL"],
        "scheduler": ["diffusers", c.scheduler["_class_name"]], "feature_extractor": [None, None],
    }  # fmt: skip
    index |= {"force_zeros_for_empty_prompt": c.zero_empty} if c.text_2 else {"safety_checker": [None, None]}
    documents: dict[str, Any] = {
        "model_index.json": index,
        "unet/config.json": {"_class_name": "UNet2DConditionModel", **c.unet, **own},
        "vae/config.json": {"_class_name": "AutoencoderKL", **c.vae},
        "scheduler/scheduler_config.json": c.scheduler,
    }
    for number, (part, (words, kind)) in enumerate(texts.items()):
        if not words:
            continue
        sizes = {"vocab_size": c.vocabulary, "max_position_embeddings": c.length}
        documents[f"{part}/config.json"] = {
            "architectures": [kind],
            "model_type": "clip_text_model",
            **words,
            **sizes,
        }
        index[part] = ["transformers", kind]
        suffix = "_2" if number else ""
        index[f"tokenizer{suffix}"] = ["transformers", "CLIPTokenizer"]
        pad = tokens.tokenizer.id_to_token(c.pad_2 if number else c.pad)
        ends = {"bos_token": START, "eos_token": END, "unk_token": END, "pad_token": pad}
        tokenizer = {"tokenizer_class": "CLIPTokenizer", "model_max_length": c.length, **ends}
        documents[f"tokenizer{suffix}/tokenizer_config.json"] = tokenizer
    return documents
