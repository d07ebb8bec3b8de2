"""DALL-E mini and mega in the files of min-dalle (kuprel/min-dalle): encoder.pt, decoder.pt, detoker.pt, vocab.json and merges.txt in one
folder, those of the smaller model called encoder_mini.pt and so on; or as the package lays them out, dalle_bart_mega (or dalle_bart_mini) beside vqgan.

Facts: of the VQGAN there is only what turns codes into pictures, in [0, 1]. An attention of it is made of convolutions of one pixel. The
stages of the decoder are numbered from the last. The files say nothing of heads: one for 64 columns. The decoder begins with code
16,383, and the empty text is a start and an end. Words are lower-cased, and what is not ASCII is left out; the package names emoji first.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, processors
from torch import Tensor

from pairloom.checkpoints.building import build_for
from pairloom.checkpoints.layout import Place, read, shape_of, take
from pairloom.data.tokens import Tokens
from pairloom.data.transform import Transform
from pairloom.errors import Mistake
from pairloom.model import Model
from pairloom.systems.dalle_mini import PIXELS, Config, System
from pairloom.weights._bert_names import count_layers

PARTS = ("encoder", "decoder", "detoker")
WORD_BEGIN = "\u0120"
HEAD = 64  # columns
TABLES = {
    "writer.words.weight": "encoder.embed_tokens.weight",
    "writer.places.weight": "encoder.embed_positions.weight",
    "writer.codes.weight": "decoder.embed_tokens.weight",
    "writer.cells.weight": "decoder.embed_positions.weight",
    "writer.to_code.weight": "decoder.lm_head.weight",
    "vqgan.model.quantize.embedding.weight": "detoker.embedding.weight",
}
NORMS = {
    "words_norm": "encoder.layernorm_embedding",
    "text_norm": "encoder.final_ln",
    "codes_norm": "decoder.layernorm_embedding",
    "norm": "decoder.final_ln",
}
ATTENTIONS = {"attend": "self_attn", "cross": "encoder_attn"}
MAPS = {"query": "q_proj", "key": "k_proj", "value": "v_proj", "out.0": "out_proj"}
FEED = {"norm": "ln0", "fn.gate": "fc0", "fn.up": "fc1", "fn.norm": "ln1", "fn.down": "fc2"}
IMAGE_MAPS = {"group_norm": "norm", "to_q": "q", "to_k": "k", "to_v": "v", "to_out.0": "proj_out"}


def files_in(where: Path) -> dict[str, Path]:
    """Files of a folder by part, and "vocab" and "merges"; empty where one of the parts is missing."""
    for suffix, beside in (("", ""), ("_mini", ""), ("", "dalle_bart_mega"), ("", "dalle_bart_mini")):
        names = {**{part: f"{part}{suffix}.pt" for part in PARTS[:2]}, "vocab": f"vocab{suffix}.json", "merges": f"merges{suffix}.txt"}  # fmt: skip
        files = {part: where / beside / name for part, name in names.items()}
        files["detoker"] = where / ("vqgan" if beside else "") / "detoker.pt"
        if all(files[part].is_file() for part in PARTS):
            return files
    return {}


def sniff(where: Path) -> bool:
    """Whether a path is a folder with the three files of weights."""
    return bool(files_in(where))


def load(where: Path) -> Model:
    """Load a folder. Mistake for a missing vocabulary, and for missing or unknown tensors."""
    files = files_in(where)
    theirs = {f"{part}.{name}": tensor for part in PARTS for name, tensor in read(files[part]).items()}
    theirs = {name: _matrix(name, tensor) for name, tensor in theirs.items()}
    config, tokens = config_of(theirs, where), _tokens(files, where)
    if tokens.size > config.vocabulary:
        raise Mistake(
            f"The vocabulary in {where} is another model's.",
            f"It has {tokens.size} tokens, the weights have {config.vocabulary}.",
            "Put back the files that were published with the weights.",
        )
    system = build_for(theirs, lambda: System(config), where)
    take(theirs, places(system), system.state_dict()).whole(where).into(system)
    pixels = Transform(config.image_size, **PIXELS)
    return Model("dalle_mini", system.eval(), tokens, pixels, {"source": f"min-dalle ({where.name})"})


def _tokens(files: Mapping[str, Path], where: Path) -> Tokens:
    """Byte pairs of whole words, each of which begins with a blank."""
    try:
        vocabulary = json.loads(files["vocab"].read_text("utf-8"))
        lines = files["merges"].read_text("utf-8").split("\n")[1:]
        merges = [(first, second) for first, second in (line.split() for line in lines if line.strip())]
        bpe = models.BPE(vocabulary, merges, unk_token="<unk>")
        ends = [(name, vocabulary[name]) for name in ("<s>", "</s>")]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise Mistake(
            f"{where} has no vocabulary that can be read.",
            f"{type(error).__name__}: {error}",
            "Put vocab.json and merges.txt beside the weights, as they were published.",
        ) from error
    tokenizer = Tokenizer(bpe)
    tokenizer.normalizer = normalizers.Sequence(
        [
            normalizers.Replace(Regex(r"[^\x00-\x7f]"), ""),
            normalizers.Lowercase(),
            normalizers.Replace(Regex(" +"), " "),
            normalizers.Strip(),
        ]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(WORD_BEGIN, "always", True)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> $B </s>", special_tokens=ends
    )
    tokenizer.add_special_tokens([name for name in ("<s>", "<pad>", "</s>", "<unk>") if name in vocabulary])
    return Tokens(tokenizer)


def config_of(theirs: Mapping[str, Tensor], where: Path) -> Config:
    """The Config that follows from the shapes."""

    def shape(name: str, axes: int = 2) -> tuple[int, ...]:
        return shape_of(theirs, name, axes, where, "a DALL-E mini in min-dalle's files")

    words, width = shape("encoder.embed_tokens.weight")
    codes, latent = shape("detoker.embedding.weight")
    stages = count_layers(theirs, "detoker.decoder.up.")
    channels = [shape(f"detoker.decoder.up.{index}.block.2.conv2.weight", 4)[0] for index in range(stages)]
    cells = shape("decoder.embed_positions.weight")[0]
    side = round(cells**0.5) * 2 ** (stages - 1)
    vqgan: dict[str, Any] = Config().vqgan | {"block_out_channels": channels, "latent_channels": latent}
    deep = stages - 1
    vqgan |= {
        "down_block_types": ["DownEncoderBlock2D"] * deep + ["AttnDownEncoderBlock2D"],
        "up_block_types": ["AttnUpDecoderBlock2D"] + ["UpDecoderBlock2D"] * deep,
    }
    return Config(
        image_size=side, codebook=codes, vocabulary=words, length=shape("encoder.embed_positions.weight")[0], width=width,
        depth=count_layers(theirs, "encoder.layers."), heads=max(1, width // HEAD),
        hidden=shape("encoder.layers.0.glu.fc0.weight")[0], rows=shape("decoder.embed_tokens.weight")[0], start=codes - 1,
        vqgan=vqgan, encodes=False,
    )  # fmt: skip


def _matrix(name: str, tensor: Tensor) -> Tensor:
    """A convolution of one pixel as a matrix, in the VQGAN's attention."""
    attention = re.search(r"\.attn(_1)?\.(\d+\.)?(q|k|v|proj_out)\.weight$", name)
    return tensor[:, :, 0, 0] if attention and tensor.ndim == 4 else tensor


def places(system: System) -> dict[str, Place]:
    """The places of our tensors in the files."""
    stages = len(system.config.vqgan["block_out_channels"])
    return {name: Place((_theirs(name, stages),)) for name in system.state_dict()}


def _theirs(name: str, stages: int) -> str:
    if name in TABLES:
        return TABLES[name]
    stem, _, kind = name.rpartition(".")
    if stem.startswith("vqgan.model."):
        return f"detoker.{_of_vqgan(stem.removeprefix('vqgan.model.'), stages)}.{kind}"
    stem = stem.removeprefix("writer.")
    if stem in NORMS:
        return f"{NORMS[stem]}.{kind}"
    one = re.fullmatch(r"(encoder|decoder)\.layers\.(\d+)\.(attend|cross|feed)\.0\.(.+)", stem)
    assert one, name
    layer = f"{one[1]}.layers.{one[2]}"
    if one[3] == "feed":
        return f"{layer}.glu.{FEED[one[4]]}.{kind}"
    attention = ATTENTIONS[one[3]]
    norms = {"norm": f"pre_{attention}_layer_norm", "fn.out.1": f"{attention}_layer_norm"}
    return f"{layer}.{norms.get(one[4]) or attention + '.' + MAPS[one[4].removeprefix('fn.')]}.{kind}"


def _of_vqgan(stem: str, stages: int) -> str:
    """diffusers' name of a part of the VQGAN -> the name in detoker.pt."""
    if one := re.fullmatch(r"decoder\.up_blocks\.(\d+)\.(\w+)\.(\d+)\.(.+)", stem):
        stage = f"decoder.up.{stages - 1 - int(one[1])}"
        if one[2] == "resnets":
            return f"{stage}.block.{one[3]}.{_shortcut(one[4])}"
        return f"{stage}.upsample.{one[4]}" if one[2] == "upsamplers" else f"{stage}.attn.{one[3]}.{IMAGE_MAPS[one[4]]}"  # fmt: skip
    if one := re.fullmatch(r"decoder\.mid_block\.resnets\.(\d)\.(.+)", stem):
        return f"decoder.mid.block_{int(one[1]) + 1}.{_shortcut(one[2])}"
    if one := re.fullmatch(r"decoder\.mid_block\.attentions\.0\.(.+)", stem):
        return f"decoder.mid.attn_1.{IMAGE_MAPS[one[1]]}"
    return stem.replace("conv_norm_out", "norm_out")


def _shortcut(part: str) -> str:
    return part.replace("conv_shortcut", "nin_shortcut")
