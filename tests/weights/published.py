"""Small folders as the published libraries write them, with random weights: what the tests of the layouts read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from transformers import (
    BlipConfig,
    BlipForConditionalGeneration,
    BlipForImageTextRetrieval,
    CLIPConfig,
    CLIPModel,
)

from pairloom.data import byte_pairs
from pairloom.data.roles import END, START, WORD_END
from pairloom.data.tokens import Tokens

TEXTS = [
    "a red square",
    "a blue circle left of a dog",
    "two cats and a dog",
    "a photo of a cat",
    "red and blue",
] * 4
HEADS = dict(num_attention_heads=2, num_hidden_layers=2)


def clip_tokens() -> Tokens:
    """Byte pairs learnt from a few texts, assembled as CLIP's are."""
    learner = Tokenizer(models.BPE(end_of_word_suffix=WORD_END))
    learner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    letters = byte_pairs._letters()
    trainer = trainers.BpeTrainer(
        vocab_size=300, initial_alphabet=letters, end_of_word_suffix=WORD_END, show_progress=False
    )
    learner.train_from_iterator([text.replace(" ", "") for text in TEXTS], trainer)
    merges = [tuple(pair) for pair in json.loads(learner.to_str())["model"]["merges"]]
    kept = [pair for pair in merges if "".join(pair).isascii()][:40]
    words = [*letters, *(letter + WORD_END for letter in letters)]
    words += list(dict.fromkeys("".join(pair) for pair in kept))
    words += [START, END]
    return Tokens(byte_pairs.assemble({word: row for row, word in enumerate(words)}, kept))


def bert_tokens() -> Tokens:
    return Tokens.train(TEXTS, 120)


def scatter(module: torch.nn.Module, seed: int) -> None:
    """Weights large enough that every part matters, and different for every name."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            draw = torch.randn(parameter.shape, generator=generator)
            norm = any(word in name.lower() for word in ("norm", "ln_", "bn"))
            parameter.copy_(1 + 0.1 * draw if norm and name.endswith("weight") else 0.1 * draw)
        for name, buffer in module.named_buffers():
            if name.endswith("running_mean"):
                buffer.copy_(0.1 * torch.randn(buffer.shape, generator=generator))
            if name.endswith("running_var"):
                buffer.copy_(1 + torch.rand(buffer.shape, generator=generator))


def processor(where: Path, size: int, kind: str) -> None:
    crop = {
        "size": {"shortest_edge": size},
        "crop_size": {"height": size, "width": size},
        "do_center_crop": True,
    }
    square = {"size": {"height": size, "width": size}}
    (where / "preprocessor_config.json").write_text(
        json.dumps({"image_processor_type": f"{kind}ImageProcessor", **(crop if kind == "CLIP" else square)})
    )


def clip_config(tokens: Tokens, activation: str = "quick_gelu", **changes: Any) -> CLIPConfig:
    text = dict(
        vocab_size=tokens.size, hidden_size=32, intermediate_size=96, max_position_embeddings=20, hidden_act=activation,
        eos_token_id=tokens.sep, bos_token_id=tokens.cls, pad_token_id=tokens.pad, **HEADS,
    )  # fmt: skip
    image = dict(
        hidden_size=48, intermediate_size=160, image_size=32, patch_size=8, hidden_act=activation, **HEADS
    )
    return CLIPConfig(text_config=text | changes, vision_config=image, projection_dim=24)


def clip_folder(where: Path, activation: str = "quick_gelu", **changes: Any) -> CLIPModel:
    """A folder of CLIPModel with its tokenizer and image processor."""
    tokens = clip_tokens()
    model = CLIPModel(clip_config(tokens, activation, **changes)).eval()
    scatter(model, 1)
    with torch.no_grad():
        model.logit_scale.fill_(3.0)
    model.save_pretrained(where)
    tokens.save(where)
    processor(where, 32, "CLIP")
    return model


def blip_folder(where: Path, task: str, seed: int = 1) -> Any:
    """A folder of BLIP that captions or matches ("caption", "match")."""
    tokens = bert_tokens()
    text = dict(
        vocab_size=tokens.size, hidden_size=64, encoder_hidden_size=48, intermediate_size=256, num_hidden_layers=2,
        num_attention_heads=4, max_position_embeddings=40, bos_token_id=tokens.dec, pad_token_id=tokens.pad,
        sep_token_id=tokens.sep, eos_token_id=tokens.sep, label_smoothing=0.1,
    )  # fmt: skip
    image = dict(
        hidden_size=48, intermediate_size=192, image_size=32, patch_size=8, layer_norm_eps=1e-6, **HEADS
    )
    kind = {"caption": BlipForConditionalGeneration, "match": BlipForImageTextRetrieval}[task]
    model = kind(BlipConfig(text_config=text, vision_config=image, image_text_hidden_size=24)).eval()
    scatter(model, seed)
    model.save_pretrained(where)
    tokens.save(where)
    processor(where, 32, "Blip")
    return model
