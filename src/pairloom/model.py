"""Model: a system with its tokens and pixels. What one loads, asks, and saves as a folder.

A folder is `config.json`, `model.safetensors`, `tokenizer.json` and the model card `README.md`. Nothing is unpickled,
nothing is downloaded. Does not know: how a system was trained, or what it is asked for.

B rows, T tokens, H = W sides of a picture.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy
import torch
from PIL import Image
from safetensors import SafetensorError
from safetensors.torch import load_file
from safetensors.torch import save as to_bytes
from torch import Tensor, nn

import pairloom
from pairloom import registry
from pairloom.blocks.embed import resize_positions
from pairloom.blocks.engine import Speed, engine
from pairloom.blocks.tensors import put_tensors, tensors_of
from pairloom.config import from_dict, override, to_dict
from pairloom.data.batch import Batch
from pairloom.data.disk import atomic_write, unwritable
from pairloom.data.pixels import Transform, open_image
from pairloom.data.tokens import Tokens
from pairloom.errors import Mistake, nearest

FROM_TOKENS = {
    "vocabulary": "size",
    **{name: name for name in ("pad", "cls", "sep", "dec", "enc", "image_mark", "chunk_end")},
}
MARK = "pairloom"  # the key by which config.json says whose it is
FOREIGN = dict.fromkeys((".pth", ".pt", ".ckpt", ".bin"), "a torch checkpoint")
FOREIGN[".safetensors"] = "bare weights, without a config"


@dataclass
class Model:
    """name: of the system. about: what the model card tells, by topic (preset, recipe, data, steps, metrics ...)."""

    name: str
    system: Any
    tokens: Tokens
    pixels: Transform
    about: dict[str, Any] = field(default_factory=dict)

    @property
    def config(self) -> Any:
        """The system's own Config."""
        return self.system.config

    @property
    def device(self) -> torch.device:
        return next(iter(self.system.parameters())).device

    def to(self, device: torch.device | str) -> Model:
        """Move the system; batches follow it."""
        self.system.to(device)
        return self

    def eval(self) -> Model:
        """No dropout from here on."""
        self.system.eval()
        return self

    def at_speed(self, speed: Speed = "fast") -> Model:
        """The same model, only to be asked, by an engine of this machine: "exact" (fp32, the same tokens) or "fast" (what
        that may change: docs/speed.md). Raises ValueError for another speed."""
        return dataclasses.replace(self, system=engine(self.system, speed))

    def texts(self, texts: Sequence[str]) -> tuple[Tensor, Tensor]:
        """ids [B T] and keep [B T], at most config.length tokens each."""
        ids, keep = self.tokens.encode(texts, self.config.length)
        return ids.to(self.device), keep.to(self.device)

    def pictures(self, images: Sequence[Image.Image | bytes | Path | str]) -> Tensor:
        """Normalised floats [B 3 H W] from PIL images, encoded bytes or files. Raises Unreadable where one is none."""
        pixels = numpy.stack([self.pixels.to_uint8(_open(one)) for one in images])
        return torch.from_numpy(self.pixels.normalise(pixels)).to(self.device)

    def batch(
        self,
        images: Sequence[Image.Image | bytes | Path | str] | None = None,
        texts: Sequence[str] | None = None,
        image_of: Sequence[int] | None = None,
    ) -> Batch:
        """What every verb takes. image_of: which picture each text belongs to; text i belongs to picture i without it."""
        if images is not None and texts is not None and image_of is None and len(images) != len(texts):
            raise ValueError(
                f"{len(images)} pictures and {len(texts)} texts: say which belong together by image_of"
            )
        tokens, keep = self.texts(texts) if texts is not None else (None, None)
        return Batch(
            images=None if images is None else self.pictures(images)[:, None],
            tokens=tokens,
            keep=keep,
            image_of=None if image_of is None else torch.tensor(image_of, device=self.device),
        )


def build(
    name: str, tokens: Tokens, preset: str = "base", settings: Iterable[str] = (), seed: int = 0
) -> Model:
    """A fresh model: a preset of a system, `key=value` settings over it, fitted to the tokens, initialised by seed.

    Raises Mistake for a system, preset or setting that there is not, and for numbers that do not go together.
    """
    module = registry.find("systems", name)
    if preset not in module.PRESETS:
        raise Mistake(f"{name} has no preset '{preset}'.", "", nearest(preset, module.PRESETS))
    settings = list(settings)
    config = override(module.PRESETS[preset], settings)
    known = {entry.name for entry in dataclasses.fields(config)}
    tokens = tokens.marked() if "image_mark" in known else tokens
    fitted = {key: getattr(tokens, value) for key, value in FROM_TOKENS.items() if key in known}
    lacking = [key for key, value in fitted.items() if value is None]
    if lacking:
        raise Mistake(
            f"{name} needs tokens that the tokenizer has not: {', '.join(lacking)}.",
            "CLIP's byte pairs have a start and an end alone.",
            "Give a tokenizer like BERT's, or leave it out.",
        )
    config = dataclasses.replace(config, **fitted)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        try:
            system = module.System(config)
        except (ValueError, ZeroDivisionError) as error:
            raise Mistake(
                f"{name} cannot be built of these numbers.",
                str(error),
                f"Given: {' '.join(settings) or preset}.",
            ) from error
    own = getattr(module, "PIXELS", {})  # systems that draw want their own range
    pixels = Transform(config.image_size, **own)
    return Model(name, system, tokens, pixels, {"preset": preset})


def save(model: Model, where: Path | str) -> Path:
    """Write a model folder; training state (momentum copies, queues) stays out. Each file appears whole.

    Raises Mistake where the folder holds something that is not a model of ours, or the disk refuses; ValueError for an
    engine (`at_speed`), which has no weights to save.
    """
    if hasattr(model.system, "speed"):
        raise ValueError("an engine cannot be saved: save the model that at_speed was asked of")
    where = Path(where)
    claim(where)
    drop = tuple(getattr(model.system, "training_state", ()))
    tensors = {name: tensor.cpu() for name, tensor in tensors_of(model.system, drop).items()}
    config = {
        MARK: pairloom.__version__,
        "system": model.name,
        "config": to_dict(model.config),
        "pixels": to_dict(model.pixels),
        "about": model.about,
    }
    files = {
        "model.safetensors": to_bytes(tensors, {"format": "pt"}),
        "tokenizer.json": model.tokens.to_json().encode(),
        "README.md": card(model).encode(),
        "config.json": (json.dumps(config, indent=1, ensure_ascii=False) + "\n").encode(),
    }
    for name, data in files.items():
        with atomic_write(where / name, replace=True) as file:
            file.write(data)
    return where


def claim(where: Path) -> None:
    """Make a folder, or take one that is empty or ours already. Mistake where it is someone else's."""
    try:
        where.mkdir(parents=True, exist_ok=True)
        found = sorted(entry.name for entry in where.iterdir() if not entry.name.startswith("."))
    except OSError as error:
        raise unwritable(where, error) from error
    if found and not any(MARK in read_json(where / name) for name in ("config.json", "run.json")):
        seen = ", ".join(found[:3])
        raise Mistake(
            f"{where} is not a folder of pairloom's.", f"It holds {seen}.", "Name an empty or a new folder."
        )


def load(where: Path | str) -> Model:
    """A model ready to be asked: from its folder, from published weights (docs/weights.md), or from a hub id in the local
    cache. Raises Mistake that says what was found instead."""
    from pairloom.weights import _hub
    from pairloom.weights import _layout as tensors_file

    where = Path(where)
    if not where.exists():
        where = _hub.cached(str(where)) or where
    if not where.exists():
        raise Mistake(
            f"There is no model at {where}.",
            "It is no path, and no hub id in the local cache; names are not looked up on the network.",
            "Give the path of a model folder, or: pairloom import NAME --download --out DIR",
        )
    told = read_json(where / "config.json")
    if MARK in told:
        return _load(where, told)
    for layout in map(_layout, registry.names("weights")):
        if hasattr(layout, "sniff") and layout.sniff(where):
            model: Model = layout.load(where)
            return model
    if where.suffix in FOREIGN and where.is_file():
        raise tensors_file.unknown(where, FOREIGN[where.suffix])
    raise Mistake(
        f"{where} is not a model folder.",
        f"It is {_describe(where, told)}.",
        "A model folder has config.json, model.safetensors and tokenizer.json, as `pairloom train` writes them.",
    )


def with_part(model: Model, part: str, where: Path) -> Model:
    """A fresh model with one part of it, such as "encoder", filled from published weights.

    Raises Mistake where no layout knows that part, or the file does not fit it.
    """
    layouts = {getattr(one, "PART", ""): one for one in map(_layout, registry.names("weights"))}
    if part not in layouts or not part:
        raise Mistake(
            f"There are no published weights for a part '{part}'.", "", nearest(part, filter(None, layouts))
        )
    made: Model = layouts[part].start(model, where)
    return made


def at_size(model: Model, size: int) -> Model:
    """The same weights for pictures of another side: learned positions are interpolated (bicubic), all else is copied.

    Raises Mistake where the image tower cannot read pictures of that side.
    """
    if size == model.config.image_size:
        return model
    try:
        system = type(model.system)(dataclasses.replace(model.config, image_size=size))
    except ValueError as error:
        raise Mistake(f"{model.name} cannot read pictures of {size} px.", str(error)) from error
    drop = tuple(getattr(system, "training_state", ()))
    tensors, places = tensors_of(model.system, drop), tensors_of(system, drop)
    for name, tensor in tensors.items():
        if tensor.shape != places[name].shape:
            tensors[name] = resize_positions(tensor, places[name].shape[1])
    put_tensors(system, tensors, drop)
    about = {**model.about, "interpolated": f"positions from {model.config.image_size} px"}
    return Model(model.name, system.eval(), model.tokens, dataclasses.replace(model.pixels, size=size), about)


def _layout(name: str) -> Any:
    return registry.find("weights", name)


def _load(where: Path, told: Mapping[str, Any]) -> Model:
    missing = [name for name in ("model.safetensors", "tokenizer.json") if not (where / name).is_file()]
    if missing:
        why = f"{' and '.join(missing)} is missing."
        raise Mistake(f"The model {where} is not whole.", why, "Copy the whole folder.")
    module = registry.find("systems", str(told.get("system", "")))
    try:
        config = from_dict(module.Config, told["config"])
        system: nn.Module = module.System(config)
        pixels = from_dict(Transform, told["pixels"])
        tensors = load_file(where / "model.safetensors")
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise Mistake(
            f"{where / 'config.json'} does not describe a model.", f"{type(error).__name__}: {error}"
        ) from error
    except (SafetensorError, OSError) as error:
        raise Mistake(
            f"{where / 'model.safetensors'} cannot be read.", str(error), "Copy the file again."
        ) from error
    tokens = Tokens.load(where)
    if getattr(config, "vocabulary", tokens.size) != tokens.size:
        raise Mistake(
            f"The tokenizer in {where} is another model's.",
            f"It has {tokens.size} tokens, the config says {config.vocabulary}.",
            "Put back the tokenizer.json that was saved with the weights.",
        )
    put_tensors(system, tensors, tuple(getattr(system, "training_state", ())))
    return Model(str(told["system"]), system.eval(), tokens, pixels, dict(told.get("about", {})))


def _describe(where: Path, told: Mapping[str, Any]) -> str:
    """What lies there instead of a model, in words."""
    if where.is_file():
        return "a file"
    if "model_type" in told or "architectures" in told:
        kind = ", ".join(told.get("architectures") or [str(told.get("model_type"))])
        return f"a transformers folder ({kind})"
    if (where / "model_index.json").is_file():
        return "a diffusers folder"
    if MARK in read_json(where / "run.json"):
        return "a training run that has not finished; run the same `pairloom train` again"
    found = sorted(entry.name for entry in where.iterdir())
    if not found:
        return "an empty folder"
    spoilt = "; its config.json does not tell of a model" * ("config.json" in found)
    return f"a folder with {', '.join(found[:5])}{' ...' * (len(found) > 5)}{spoilt}"


def read_json(file: Path) -> dict[str, Any]:
    """The object in a JSON file; empty where there is none."""
    try:
        made = json.loads(file.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return made if isinstance(made, dict) else {}


def _open(image: Image.Image | bytes | Path | str) -> Image.Image:
    if isinstance(image, Image.Image):
        return image
    return open_image(Path(image).read_bytes() if isinstance(image, (Path, str)) else image)


def card(model: Model) -> str:
    """The model card: a YAML header that the hub reads, then what is known, by topic."""
    module = registry.find("systems", model.name)
    count = sum(value.numel() for value in model.system.parameters() if value.requires_grad)
    rows = {
        "system": model.name,
        "parameters": f"{count:,}",
        "tokens": f"{model.tokens.size:,}",
        **model.about,
    }
    lines = [f"| {topic} | {_cell(value)} |" for topic, value in rows.items()]
    paper = " ".join((module.__doc__ or model.name).split("\n\n")[0].split())
    return "\n".join(
        ["---", "library_name: pairloom", f"tags: [image-text, {json.dumps(model.name)}]", "---"]
        + [f"# {model.name}", "", paper, "", "| | |", "|---|---|", *lines, ""]
        + ["```python", "import pairloom", 'model = pairloom.load("this folder")', "```", ""]
    )


def _cell(value: Any) -> str:
    if isinstance(value, Mapping):
        value = ", ".join(f"{key} {_cell(inner)}" for key, inner in value.items())
    return (f"{value:.4g}" if isinstance(value, float) else str(value)).replace("|", "\\|").replace("\n", " ")
