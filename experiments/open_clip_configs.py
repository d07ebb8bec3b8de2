"""Every model config that open_clip ships, beside open_clip itself: which of them are read, and that the numbers are its own.

    python -m experiments.open_clip_configs            # names and shapes of all, at full size and without memory
    python -m experiments.open_clip_configs --numbers  # embeddings of one config of every family too, with random weights

Needs open_clip_torch with timm, and transformers. Configs of transformers' text towers, which open_clip fetches, are those of
`weights/_open_clip_texts.py` on both sides.
"""

from __future__ import annotations

import argparse
import copy
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pairloom.checkpoints.layout import take
from pairloom.checkpoints.settings import JsonSettings
from pairloom.data.batch import Batch, Texts
from pairloom.errors import Mistake
from pairloom.systems import clip, coca
from pairloom.weights import _open_clip_encoders as encoders
from pairloom.weights import open_clip, open_clip_coca
from pairloom.weights._open_clip_texts import LIBRARY

Sizes = dict[str, Any]
SMALL_TEXT = {"vocab_size": 300, "width": 64, "heads": 4, "layers": 2}
SMALL = {"vision_cfg": {"width": 64, "head_width": 16, "layers": 2}, "text_cfg": SMALL_TEXT}
OF_TIMM = {"text_cfg": SMALL_TEXT}
SIGLIP = {"text_cfg": {**SMALL_TEXT, "width": 768, "heads": 12}}
OF_LIBRARY = {"vision_cfg": SMALL["vision_cfg"]}
# one config of every family -> what is made smaller, on both sides
FAMILIES: dict[str, Mapping[str, Mapping[str, Any]]] = {
    "ViT-B-32-quickgelu": SMALL,
    "ViT-B-32": SMALL,
    "RN50": OF_TIMM,
    "ViT-H-14-worldwide": SMALL,
    "ViT-L-14-worldwide-quickgelu": SMALL,
    "ViT-H-14-CLIPA": SMALL,
    "ViT-M-16-alt": SMALL,
    "ViT-B-16-SigLIP": SIGLIP,
    "ViT-B-16-SigLIP2": SIGLIP,
    "ViT-B-32-SigLIP2-256": SIGLIP,
    "roberta-ViT-B-32": OF_LIBRARY,
    "xlm-roberta-base-ViT-B-32": OF_LIBRARY,
    "mt5-base-ViT-B-32": OF_LIBRARY,
    "nllb-clip-base": OF_LIBRARY,
    "nllb-clip-base-siglip": {},
    "convnext_tiny": OF_TIMM,
    "convnext_large_d": OF_TIMM,
    "vit_medium_patch16_gap_256": OF_TIMM,
    "vit_relpos_medium_patch16_cls_224": OF_TIMM,
    "swin_base_patch4_window7_224": OF_TIMM,
    "EVA02-B-16": OF_TIMM,
    "ViTamin-S": OF_TIMM,
    "MobileCLIP-B": OF_TIMM,
    "MobileCLIP-S1": OF_TIMM,
    "MobileCLIP2-S0": OF_TIMM,
    "MobileCLIP2-S3": OF_TIMM,
    "MobileCLIP2-L-14": OF_TIMM,
    "PE-Core-T-16-384": OF_TIMM,
}


@dataclass(frozen=True)
class Verdict:
    """About one config. why: the reason of a refusal, or "". kind: what reads it. error: of embeddings, where they were
    compared."""

    name: str
    kind: str = ""
    why: str = ""
    error: float | None = None


def main() -> None:
    """Print a line for every config, and the counts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--numbers", action="store_true", help="compare embeddings of one config of every family"
    )
    parser.add_argument("names", nargs="*", help="these configs alone")
    arguments = parser.parse_args()
    verdicts = []
    for name, sizes in shipped().items():
        if arguments.names and name not in arguments.names:
            continue
        numbers = arguments.numbers and name in FAMILIES
        verdicts.append(examine(name, sizes, numbers))
        one = verdicts[-1]
        print(
            name, one.kind or "REFUSED", one.why, "" if one.error is None else f"{one.error:.1e}", flush=True
        )
    loaded = [one for one in verdicts if not one.why]
    print(f"{len(loaded)} of {len(verdicts)} are read, with all names and shapes; refused: "
          f"{', '.join(one.name for one in verdicts if one.why) or 'none'}")  # fmt: skip


def shipped() -> dict[str, Sizes]:
    """The model configs of the installed open_clip, by name."""
    import open_clip as library

    return {name: library.get_model_config(name) for name in sorted(library.list_models())}


def examine(name: str, sizes: Sizes, numbers: bool = False) -> Verdict:
    """Names and shapes at full size, and where asked for the embeddings of a smaller one."""
    where = Path(name)
    try:
        with torch.device("meta"):
            kind = _fill(sizes, original(sizes).state_dict(), where)[0]
    except Mistake as mistake:
        return Verdict(name, why=f"{mistake.what} {mistake.why}")
    if not numbers:
        return Verdict(name, kind)
    return Verdict(name, kind, error=difference(smaller(sizes, FAMILIES[name])))


def original(sizes: Sizes) -> nn.Module:
    """open_clip's own model of a config, with random weights; no network is used."""
    import open_clip as library
    import transformers
    from open_clip.coca_model import CoCa

    sizes = copy.deepcopy(sizes)
    text = sizes["text_cfg"]
    custom = sizes.pop("custom_text", False) or "hf_model_name" in text
    if "hf_model_name" in text:
        text["hf_model_pretrained"] = False
        transformers.AutoConfig.from_pretrained = lambda name, **_: transformers.AutoConfig.for_model(
            **library_config(name)
        )  # type: ignore[method-assign]
    kind = CoCa if "multimodal_cfg" in sizes else library.CustomTextCLIP if custom else library.CLIP
    model: nn.Module = kind(**sizes)
    return model.eval()


def library_config(name: str) -> Sizes:
    """The config of a text tower of transformers, by its name."""
    return dict(LIBRARY[name.rpartition("/")[2]])


def _fill(
    sizes: Sizes, theirs: dict[str, Tensor], where: Path, ids: Mapping[str, int] = {}
) -> tuple[str, Any]:
    """Our system of a config with these tensors, every one of which has a place, and what it is called. ids: of padding and end."""
    if "multimodal_cfg" in sizes:
        upper = coca.System(open_clip_coca.config_of(JsonSettings(where, sizes), where))
        take(theirs, open_clip_coca.places(upper), upper.state_dict()).whole(where)
        return "coca", upper
    config = replace(open_clip.config_of(JsonSettings(where, sizes), where), **ids)
    system = clip.System(config)
    moved = take(encoders.prepared(theirs, system), encoders.places(system), system.state_dict()).whole(where)
    kinds = [
        type(one).__name__.removesuffix("Config") for one in (config.vision, config.text) if one is not None
    ]
    if theirs["logit_scale"].device.type != "meta":
        moved.into(system)
    return " ".join(["clip", *kinds]), system.eval()


def smaller(sizes: Sizes, less: Mapping[str, Mapping[str, Any]]) -> Sizes:
    """A config with some of its numbers changed."""
    sizes = copy.deepcopy(sizes)
    for part, values in less.items():
        sizes[part].update(values)
    if "timm_model_name" in sizes["vision_cfg"]:
        for name in ("width", "head_width", "layers"):
            sizes["vision_cfg"].pop(name, None)
    return sizes


def lively(model: nn.Module, seed: int = 0) -> None:
    """Random weights with which every part matters: matrices keep the size of what they map, vectors are near 1 or 0."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, value in model.state_dict().items():
            if not value.is_floating_point() or name.endswith(("logit_scale", "logit_bias")):
                continue
            noise = torch.randn(value.shape, generator=generator)
            if name.endswith("running_var"):
                value.copy_(0.75 + 0.25 * noise.tanh())
            elif "gamma" in name:
                value.copy_(0.5 + 0.1 * noise)
            elif value.ndim >= 2:
                fan = value[0].numel() if value.ndim > 2 or "embed" not in name else 1
                value.copy_(noise * fan**-0.5)
            else:
                value.copy_(0.1 * noise + (1.0 if value.mean() > 0.5 else 0.0))


def texts_of(sizes: Sizes, model: Any) -> tuple[Tensor, Tensor, dict[str, int]]:
    """Random texts [B T] filled up to the full length, their mask, and the ids of padding and end."""
    text = sizes["text_cfg"]
    words = text.get("vocab_size", 49408)
    ids = {"pad": 0, "sep": words - 1}
    length = text.get("context_length", 77)
    if "hf_model_name" in text:
        settings = library_config(text["hf_model_name"])
        words, length, ids = 250, 20, {"pad": settings["pad_token_id"], "sep": 2}
    elif text.get("pool_type") == "eos":
        ids = {"pad": 0, "sep": text["eos_id"]}
    elif text.get("pool_type") == "last":
        ids = {"pad": 1, "sep": 1}
    generator = torch.Generator().manual_seed(3)
    tokens = torch.randint(3, words - 2, (4, length), generator=generator)
    lengths = torch.tensor([length, length // 2, 5, 9])[:, None]
    at = torch.arange(length)
    tokens = tokens.masked_fill(at == lengths - 1, ids["sep"])
    return tokens.masked_fill(at >= lengths, ids["pad"]), at < lengths, ids


@torch.no_grad()
def difference(sizes: Sizes) -> float:
    """The largest difference of the embeddings of random pictures and texts, and of the scaled and shifted cosines, by their own
    size."""
    torch.manual_seed(0)
    theirs = original(sizes)
    lively(theirs)
    tokens, mask, ids = texts_of(sizes, theirs)
    _, system = _fill(sizes, theirs.state_dict(), Path("random weights"), ids)
    size = sizes["vision_cfg"].get("image_size", 224)
    images = torch.randn(3, 3, size, size, generator=torch.Generator().manual_seed(4))
    batch = Batch(images=images[:, None], texts=Texts(tokens, mask))
    pairs = (
        (F.normalize(theirs.encode_image(images), dim=-1), system.embed_image(batch)),
        (F.normalize(theirs.encode_text(tokens), dim=-1), system.embed_text(batch)),
    )
    logits = [
        image @ text.T / system.temperature + (system.bias if system.config.loss == "sigmoid" else 0.0)
        for image, text in zip(*pairs)
    ]
    own = theirs.get_logits(images, tokens)[0] - logits[1]
    spread = [float((one - one.mean(0)).abs().max()) for one, _ in pairs]
    assert min(spread) > 1e-4, f"the embeddings of different inputs are alike: {spread}"
    assert all(one.isfinite().all() for one, _ in pairs), "the weights overflow"
    errors = [float((one - other).abs().max()) for one, other in pairs]
    return max(*errors, float(own.abs().max() / logits[0].abs().max()))


if __name__ == "__main__":
    main()
