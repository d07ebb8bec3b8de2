"""Folders of transformers: config.json, weights, an image processor, a tokenizer.

Does not know: the layout of any one model.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from safetensors.torch import save as to_bytes
from tokenizers import AddedToken
from torch import Tensor

from pairloom.checkpoints.layout import FILES, read
from pairloom.checkpoints.settings import JsonSettings
from pairloom.data.disk import atomic_write
from pairloom.data.roles import END, ROLES, START
from pairloom.data.tokens import Tokens
from pairloom.data.transform import OPENAI_MEAN, OPENAI_STD, Transform
from pairloom.errors import Mistake
from pairloom.model import Model, read_json
from pairloom.model.saving import claim_empty
from pairloom.weights._low_rank import is_peft, merged, read_peft

BILINEAR, BICUBIC = 2, 3  # Pillow's numbers


def holds(where: Path, kind: str) -> bool:
    """Whether a folder has a config of this model type, and weights."""
    config = read_json(where / "config.json") if where.is_dir() else {}
    return config.get("model_type") == kind and any((where / name).is_file() for name in FILES)


def tokens_of(where: Path, clean: str = "") -> Tokens:
    """The tokenizer of a folder, with the words that a user added: those of added_tokens.json too, and those that were added as
    special tokens are read in a text. clean: as in `Tokens.load`. Only what a role is spelt by stays text where a text has it."""
    tokens = Tokens.load(where, clean)
    base = tokens.tokenizer.get_vocab_size(with_added_tokens=False)
    beside = JsonSettings.read(where / "added_tokens.json")
    numbers = {word: beside.whole(word, least=0) for word in beside.values}
    lacking = [
        word
        for word in sorted(numbers, key=numbers.__getitem__)
        if tokens.tokenizer.token_to_id(word) is None
    ]
    tokens.tokenizer.add_tokens([AddedToken(word, normalized=False) for word in lacking])
    spelt = {name for names in ROLES.values() for name in names}
    document = json.loads(tokens.tokenizer.to_str())
    own = [
        one
        for one in document["added_tokens"]
        if one["special"] and one["id"] >= base and one["content"] not in spelt
    ]
    if not own and not lacking:
        return tokens
    for one in own:
        one["special"] = False
    return Tokens.from_json(json.dumps(document))


def weights_of(where: Path, adapters: Path | None = None) -> dict[str, Tensor]:
    """The tensors of a folder, with peft's adapters added to them: those of the folder `adapters`, else those beside them."""
    tensors = read(where)
    folder = adapters or where
    return merged(tensors, read_peft(folder), folder) if is_peft(folder) else tensors


def part(config: JsonSettings, name: str, defaults: Mapping[str, Any]) -> JsonSettings:
    """The config of a part, merged as transformers does: defaults of the class, then the file, then its old `*_dict`."""
    old = config.inner(f"{name}_dict")
    return (
        old.over(config.inner(name).over(defaults).values)
        if old.values
        else config.inner(name).over(defaults)
    )


def sides(settings: JsonSettings, name: str) -> tuple[int, ...]:
    """The sides of a size in any of its forms: 224, {"height": 224, "width": 224}, {"shortest_edge": 224}; none where it is not
    there."""
    if name not in settings:
        return ()
    if isinstance(settings.values[name], Mapping):
        inner = settings.inner(name)
        return tuple(inner.whole(side) for side in inner.values if side in inner)
    return (settings.whole(name),)


@dataclass(frozen=True)
class ProcessorDefaults:
    """What an image processor of transformers does where its file says nothing. crop: the centre is cut out; shortest: a size that
    is one number is that of the shortest side; resized: the side before the cut, over the side after it. scaled: as EfficientNet's
    processor has it, values may be shifted by -1 after they are scaled, and are divided by the deviations a second time."""

    crop: bool = False
    shortest: bool = False
    resample: int = BICUBIC
    mean: tuple[float, ...] = OPENAI_MEAN
    std: tuple[float, ...] = OPENAI_STD
    resized: float = 1.0
    scaled: bool = False


HALVES = (0.5, 0.5, 0.5)
PROCESSORS = {
    "CLIP": ProcessorDefaults(crop=True, shortest=True),
    "ChineseCLIP": ProcessorDefaults(crop=True, shortest=True),
    "Blip": ProcessorDefaults(),
    "Siglip": ProcessorDefaults(mean=HALVES, std=HALVES),
    "ViT": ProcessorDefaults(resample=BILINEAR, mean=HALVES, std=HALVES),
    "EfficientNet": ProcessorDefaults(False, False, BICUBIC, HALVES, HALVES, 346 / 289, True),
    "Align": ProcessorDefaults(
        True, False, BILINEAR, HALVES, HALVES, 346 / 289
    ),  # where there is no file: as published
}


def pixels_of(where: Path, size: int, kind: str) -> Transform:
    """The image processor of a folder as a Transform. kind: "CLIP" or "Blip", of the model, for a folder that names no class.
    Mistake where it does what a Transform cannot do."""
    settings = JsonSettings.read(where / "preprocessor_config.json")
    if not settings.values:
        settings = JsonSettings.read(where / "processor_config.json").inner("image_processor")
    name = settings.text("image_processor_type", settings.text("feature_extractor_type", kind))
    defaults = next((one for begin, one in PROCESSORS.items() if name.startswith(begin)), None)
    if defaults is None:
        raise _unlike(where, f"It is a {name}.", size)
    fit, resized, known = _sides_of(settings, defaults, size)
    resample = settings.whole("resample", defaults.resample, 0)
    fits = {
        "size": known,
        "resample": resample in (BILINEAR, BICUBIC),
        "do_resize": settings.flag("do_resize", True),
        "do_rescale": settings.flag("do_rescale", True),
        "do_normalize": settings.flag("do_normalize", True) or defaults.scaled,
        "rescale_factor": abs(settings.number("rescale_factor", 1 / 255) * 255 - 1) < 1e-6 or defaults.scaled,
    }
    odd = [key for key, good in fits.items() if not good]
    if odd:
        values = ", ".join(str(settings.values.get(key) or "that of its class") for key in odd)
        raise _unlike(where, f"{', '.join(odd)}: {values}.", size)
    mean = settings.numbers("image_mean", defaults.mean, 3)
    std = settings.numbers("image_std", defaults.std, 3)
    if defaults.scaled:
        mean, std = _scaled(settings, mean, std)
    way: Literal["bilinear", "bicubic"] = "bilinear" if resample == BILINEAR else "bicubic"
    return Transform(size, mean, std, fit, way, resized)


def _sides_of(
    settings: JsonSettings, defaults: ProcessorDefaults, size: int
) -> tuple[Literal["crop", "square"], int, bool]:
    """The fit and the side before the cut (0: that after it) of an image processor, and whether a Transform can do so."""
    shape, crops = sides(settings, "size"), settings.flag("do_center_crop", defaults.crop)
    square = len(shape) == 2 or (
        not isinstance(settings.values.get("size"), Mapping) and not defaults.shortest
    )
    cut = (sides(settings, "crop_size") if crops else shape) or (size,)
    resized = shape[0] if shape else round(size * defaults.resized) if crops else size
    named = settings.inner("size").values if isinstance(settings.values.get("size"), Mapping) else {}
    known = {*cut} == {size} and len({*shape}) < 2 and resized >= size and (square or crops)
    known &= {name for name in named if named[name] is not None} <= {"height", "width", "shortest_edge"}
    return "square" if square else "crop", resized if resized != size else 0, known


def _scaled(
    settings: JsonSettings, mean: tuple[float, ...], std: tuple[float, ...]
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and deviation of values in 0..1 that do all that EfficientNet's processor does to them."""
    scale = 255 * settings.number("rescale_factor", 1 / 255, least=1e-9)
    shift = float(settings.flag("rescale_offset"))
    again = std if settings.flag("include_top", True) else (1.0,) * 3
    if not settings.flag("do_normalize", True):
        mean, std = (0.0,) * 3, (1.0,) * 3
    return (
        tuple((one + shift) / scale for one in mean),
        tuple(one * twice / scale for one, twice in zip(std, again)),
    )


def _unlike(where: Path, why: str, size: int) -> Mistake:
    what = f"The image processor in {where} prepares pictures in a way that is not supported here."
    return Mistake(what, f"{why} The model reads {size} px.", "Give the folder as it was published.")


def processor(pixels: Transform, kind: str) -> dict[str, Any]:
    """The preprocessor_config.json of a Transform."""
    if pixels.fit == "pad":
        raise Mistake(f"{kind}ImageProcessor cannot pad pictures to a square.", "This model's are.")
    size: dict[str, int] = {"height": pixels.size, "width": pixels.size}
    crop, side = pixels.fit == "crop", pixels.resized or pixels.size
    return {
        "image_processor_type": f"{kind}ImageProcessor", "do_resize": True, "do_rescale": True, "do_normalize": True,
        "do_convert_rgb": True, "do_center_crop": crop or side != pixels.size, "crop_size": size,
        "resample": BICUBIC if pixels.resample == "bicubic" else BILINEAR,
        "size": {"shortest_edge": side} if crop else {"height": side, "width": side}, "rescale_factor": 1 / 255,
        "image_mean": list(pixels.mean), "image_std": list(pixels.std),
    }  # fmt: skip


def write(
    model: Model,
    out: Path,
    config: Mapping[str, Any],
    tensors: Mapping[str, Tensor],
    kind: str,
    beside: Mapping[str, Any] | None = None,
) -> None:
    """Write a folder of transformers. kind: "CLIP", "Blip" or "Siglip", the prefix of the class names of its processor; "": it reads
    no pixels. beside: further JSON files by name. Mistake where `out` is not empty."""
    names = _token_names(model, kind)
    maker = "CLIPTokenizer" if model.tokens.byte_pairs else "BertTokenizer"
    framed: dict[str, Any] = {"tokenizer_class": maker, "model_max_length": model.config.length, **names}
    if kind == "Siglip":  # its texts have no mask
        framed |= {"tokenizer_class": "PreTrainedTokenizerFast", "model_input_names": ["input_ids"]}
    documents = {
        **({"preprocessor_config.json": processor(model.pixels, kind)} if kind else {}),
        "tokenizer_config.json": framed,
        "special_tokens_map.json": names,
        "config.json": dict(config),
        **(beside or {}),
    }
    claim_empty(out)
    files = {"tokenizer.json": model.tokens.to_json().encode()}
    files["model.safetensors"] = to_bytes(dict(tensors), {"format": "pt"})
    files |= {name: (json.dumps(value, indent=2) + "\n").encode() for name, value in documents.items()}
    for name, data in files.items():
        with atomic_write(out / name) as file:
            file.write(data)


def _token_names(model: Model, kind: str) -> dict[str, str]:
    """How the special tokens of a model are spelt."""
    if kind == "Siglip":
        ids = {"pad_token": model.config.pad, "eos_token": model.tokens.sep, "unk_token": model.tokens.unk}
        return {name: str(model.tokens.tokenizer.id_to_token(number)) for name, number in ids.items()}
    if model.tokens.byte_pairs:
        return {"bos_token": START, "eos_token": END, "unk_token": END, "pad_token": END}
    return {f"{name}_token": f"[{name.upper()}]" for name in ("pad", "unk", "cls", "sep", "mask")}
