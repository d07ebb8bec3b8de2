"""Text-to-image pipelines as diffusers saves them: Stable Diffusion 1.x, 2.x and XL, with low-rank adapters where there are
any.

Facts: a folder for each part, named in model_index.json; the text encoder's names begin with `text_model.` or not; old
autoencoders have the names query, key, value, proj_attn; 2.x pads texts with "!". Adapters are in pytorch_lora_weights.*,
under names of three kinds. Nothing is unpickled. Not read: safety checkers, feature extractors, adapters of text encoders.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from safetensors import safe_open
from safetensors.torch import save as to_bytes
from torch import Tensor

from pairloom.blocks.lora import adapters
from pairloom.checkpoints.layout import Place, give, read, take
from pairloom.checkpoints.names import weights_in
from pairloom.data.disk import atomic_write
from pairloom.data.roles import END, START
from pairloom.data.tokens import Tokens
from pairloom.data.transform import Transform
from pairloom.errors import Mistake
from pairloom.model import Model, read_json
from pairloom.model.saving import claim_empty
from pairloom.systems.latent_diffusion import PIXELS, Config, System, latent_shape

WRITES, SYSTEM = "diffusers", "latent_diffusion"
PARTS = {"unet": "unet.", "vae": "vae.", "text_encoder": "text.first.", "text_encoder_2": "text.second."}
ADAPTERS = "pytorch_lora_weights.safetensors"  # the file of adapters, as diffusers calls it
TEXT = (
    "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "hidden_act", "layer_norm_eps",
    "projection_dim", "eos_token_id", "bos_token_id", "pad_token_id",
)  # fmt: skip
OLD = {".to_q.": ".query.", ".to_k.": ".key.", ".to_v.": ".value.", ".to_out.0.": ".proj_attn."}
DERIVED = ("in_channels", "out_channels", "sample_size", "cross_attention_dim")
MAP = r"(?:unet\.)?(.+\.attn[12])\."
SPELLINGS = [  # a name in a file of adapters -> attention, map, which half
    (MAP + r"processor\.to_(q|k|v|out)_lora\.(down|up)\.weight", {"down": "down", "up": "up"}),
    (MAP + r"to_(q|k|v|out)(?:\.0)?\.lora_([AB])\.weight", {"A": "down", "B": "up"}),
    (MAP + r"to_(q|k|v|out)(?:\.0)?\.lora\.(down|up)\.weight", {"down": "down", "up": "up"}),
]


def sniff(where: Path) -> bool:
    """Whether a path is a folder with a model_index.json."""
    return where.is_dir() and "_class_name" in read_json(where / "model_index.json")


def load(where: Path) -> Model:
    """Load a pipeline's folder. Mistake for a part that is missing, left over, or of another kind or size."""
    config = config_of(where)
    files = [where / ADAPTERS, (where / ADAPTERS).with_suffix(".bin")]
    file = next((file for file in files if file.is_file()), None)
    halves = {} if file is None else adapters_in(read(file), where)
    if halves:
        ranks = {tensor.shape[0] for name, tensor in halves.items() if ".down." in name}
        if len(ranks) != 1:
            raise Mistake(f"The adapters in {where} have several ranks.", f"{sorted(ranks)}.")
        cross = all(".attn2." in name for name in halves)
        config = replace(config, rank=ranks.pop(), adapted="cross" if cross else "both")
        scale = adapter_scale(file, config.rank) if file is not None else 1.0
        halves = {name: tensor * scale if ".up." in name else tensor for name, tensor in halves.items()}
    try:
        system = System(config)
    except (TypeError, ValueError, KeyError) as error:
        raise Mistake(
            f"No network can be built from the settings in {where}.",
            str(error),
            "Install a newer diffusers: this one may be older than the folder.",
        ) from error
    ours = system.state_dict()
    for part, prefix in PARTS.items():
        mine = {name: tensor for name, tensor in ours.items() if name.startswith(prefix)}
        if mine:
            documents = {
                name: tensor
                for name, tensor in read(_file(where / part)).items()
                if not name.endswith("position_ids")
            }
            take(documents, _places(system, part, mine), mine).whole(where / part).into(system)
    if halves:
        put_adapters(system, halves, where)
    tokens = Tokens.load(where / "tokenizer")
    about = {"source": f"diffusers {read_json(where / 'model_index.json')['_class_name']} ({where.name})"}
    pixels = Transform(config.image_size, **PIXELS)
    return Model(SYSTEM, system.eval(), tokens, pixels, about)


def config_of(where: Path) -> Config:
    """The Config of a pipeline's folder. Mistake where files are missing or do not fit together."""
    try:
        return _config_of(where)
    except KeyError as error:
        raise Mistake(f"A config in {where} has no {error}.", "", "Copy the whole folder.") from error


def _config_of(where: Path) -> Config:
    index = read_json(where / "model_index.json")
    lacking = [
        name
        for name in ("unet", "vae", "text_encoder", "scheduler", "tokenizer")
        if not (where / name).is_dir()
    ]
    if lacking:
        kind = f"It is a {index.get('_class_name')}." if index else ""
        raise Mistake(
            f"The pipeline {where} has no {' and no '.join(lacking)}.",
            kind,
            "Copy the whole folder of a Stable Diffusion.",
        )
    unet, vae, text = (_words(where / name / "config.json") for name in ("unet", "vae", "text_encoder"))
    second = _words(where / "text_encoder_2" / "config.json") if (where / "text_encoder_2").is_dir() else {}
    scheduler = _words(where / "scheduler" / "scheduler_config.json", besides="_class_name")
    if not isinstance(unet.get("sample_size"), int):
        why = f"sample_size is {unet.get('sample_size')}: pictures are square here, and their side must be named."
        raise Mistake(
            f"The size of the pictures of {where} is not known.", why, "Write a number there (64 for 512 px)."
        )
    tokens = Tokens.load(where / "tokenizer")
    config = Config(
        vocabulary=text["vocab_size"], length=text["max_position_embeddings"], pad=_pad(where / "tokenizer", tokens),
        cls=tokens.cls, sep=tokens.sep, pad_2=_pad(where / "tokenizer_2", tokens) if second else 0,
        zero_empty=bool(second) and bool(index.get("force_zeros_for_empty_prompt", True)),
        image_size=unet["sample_size"] * 2 ** (len(vae["block_out_channels"]) - 1),
        unet={name: value for name, value in unet.items() if name not in DERIVED}, vae=vae,
        text={name: text[name] for name in TEXT if name in text},
        text_2={name: second[name] for name in TEXT if name in second}, scheduler=scheduler,
    )  # fmt: skip
    width = text["hidden_size"] + second.get("hidden_size", 0)
    _check(where, config, unet, width, tokens)
    return config


def _check(where: Path, config: Config, unet: Mapping[str, Any], width: int, tokens: Tokens) -> None:
    channels = latent_shape(config)[0]
    kind = config.scheduler.get("prediction_type", "epsilon")
    wrong = [
        why
        for fits, why in (
            (kind in ("epsilon", "v_prediction"), f"the scheduler predicts '{kind}'; epsilon and v_prediction are built"),
            (unet["in_channels"] == channels, f"the network reads {unet['in_channels']} channels, the latents have {channels}"),
            (unet["out_channels"] == channels, f"the network predicts {unet['out_channels']} channels, the latents have {channels}"),
            (unet["cross_attention_dim"] == width, f"the network reads texts {unet['cross_attention_dim']} wide, they are {width}"),
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


def _words(file: Path, besides: str = "") -> dict[str, Any]:
    """The settings in a part's config. Mistake where there are none."""
    document = read_json(file)
    if not document:
        raise Mistake(f"{file} is missing or no JSON.", "", "Copy the whole folder.")
    return {name: value for name, value in document.items() if not name.startswith("_") or name == besides}


def _pad(where: Path, tokens: Tokens) -> int:
    """The padding id of a tokenizer."""
    document = {**read_json(where / "special_tokens_map.json"), **read_json(where / "tokenizer_config.json")}
    word = document.get("pad_token", END)
    pad = tokens.tokenizer.token_to_id(word["content"] if isinstance(word, Mapping) else str(word))
    return tokens.pad if pad is None else int(pad)


def _file(folder: Path) -> Path:
    """The weights file of a part. Mistake where there is none."""
    names = [entry.name for entry in folder.iterdir()] if folder.is_dir() else []
    chosen = weights_in(names)
    if chosen is None:
        why = "There is no diffusion_pytorch_model.safetensors or similar."
        raise Mistake(f"{folder} has no weights.", why, "Copy the whole folder.")
    return folder / chosen


def _places(system: System, part: str, mine: Mapping[str, Tensor]) -> dict[str, Place]:
    """The places of a part's tensors, without its adapters."""
    halves = {name for name, _, _ in _halves(system)}
    places = {}
    for name in mine:
        there = name.removeprefix(PARTS[part])
        names: tuple[str, ...] = (there,)
        if part == "text_encoder":
            names = (f"text_model.{there}", there)
        if part == "vae" and ".attentions." in there:
            names = (there, _spelt(there))
        if name not in halves:
            places[name] = Place(names)
    return places


def _spelt(name: str) -> str:
    for new, old in OLD.items():
        name = name.replace(new, old)
    return name


def _halves(system: System) -> Iterator[tuple[str, str, Tensor]]:
    """The down and up matrices of all adapters: our name, the released name, the tensor."""
    for name, part in adapters(system.unet):
        owner, which = re.fullmatch(r"(.+\.attn[12])\.to_(q|k|v|out)(?:\.0)?", name).groups()  # type: ignore[union-attr]
        for half in ("down", "up"):
            tensor = getattr(part, half).weight.detach()
            yield f"unet.{name}.{half}.weight", f"{owner}.processor.to_{which}_lora.{half}.weight", tensor


def adapters_in(tensors: Mapping[str, Tensor], where: Path) -> dict[str, Tensor]:
    """Adapters of a file: released name -> tensor, from names of any of the three kinds. Mistake for a name of no kind."""
    adapters = {}
    for name, tensor in tensors.items():
        for pattern, halves in SPELLINGS:
            match = re.fullmatch(pattern, name)
            if match:
                adapters[f"{match[1]}.processor.to_{match[2]}_lora.{halves[match[3]]}.weight"] = tensor
                break
        else:
            raise Mistake(
                f"'{name}' in {where} is no adapter of the network's attention.",
                "Others are not built.",
                "Leave it out.",
            )
    return adapters


def adapter_scale(file: Path, rank: int) -> float:
    """What a file's adapters are multiplied by: alpha / rank, or alpha / sqrt(rank), as its header says; 1 where it says nothing.
    Mistake for a header that gives single layers their own."""
    if file.suffix != ".safetensors":
        return 1.0
    with safe_open(file, "pt") as opened:
        header = json.loads((opened.metadata() or {}).get("lora_adapter_metadata", "{}"))
    known = {name.removeprefix("unet."): value for name, value in header.items()}
    own = [name for name in ("alpha_pattern", "rank_pattern", "use_dora") if known.get(name)]
    if own:
        what = f"The adapters in {file} are of a kind that is not built."
        raise Mistake(
            what,
            f"Its header has {' and '.join(own)}.",
            "Merge them into the weights first (diffusers: fuse_lora).",
        )
    alpha = float(known.get("lora_alpha", rank))
    return alpha / (rank**0.5 if known.get("use_rslora") else rank)


def put_adapters(system: System, halves: Mapping[str, Tensor], where: Path) -> None:
    """Copy adapters (by their released names) into a system. Mistake where any is missing or left over."""
    mine = {ours: tensor for ours, _, tensor in _halves(system)}
    places = {ours: Place((there,)) for ours, there, _ in _halves(system)}
    take(halves, places, mine).whole(where).into(system)


def adapter_bytes(model: Model) -> bytes:
    """The adapters of a model as the bytes of a file, by their released names. Mistake where there are none."""
    learned = {there: tensor.cpu().contiguous() for _, there, tensor in _halves(model.system)}
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
        places = {name: Place(place.names[:1]) for name, place in _places(system, part, mine).items()}
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
