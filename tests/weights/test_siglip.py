"""SigLIP beside transformers' SiglipModel: random weights, moved through its folders in both directions."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from transformers import AutoTokenizer, SiglipConfig, SiglipImageProcessor, SiglipModel

import pairloom
from experiments.open_clip_configs import lively
from pairloom.errors import Mistake
from pairloom.model import build
from pairloom.weights.exchange import export
from tests.weights.published import bert_tokens
from tests.weights.test_open_clip_families import sentence_tokens

SIZES = dict(hidden_size=32, intermediate_size=72, num_hidden_layers=2, num_attention_heads=2)
TEXTS = ["A Red, Square!", "two cats and a dog", "a_photo"]


def folder(where: Path, **image: Any) -> SiglipModel:
    """A folder of transformers' with random weights; pictures of 35 px are no whole number of patches."""
    tokens = sentence_tokens()
    ids = dict(pad_token_id=1, bos_token_id=1, eos_token_id=1)
    text = dict(SIZES, vocab_size=tokens.size + 2, max_position_embeddings=10, **ids)
    vision = dict(SIZES, image_size=35, patch_size=16, **image)
    model = SiglipModel(SiglipConfig(text_config=text, vision_config=vision)).eval()
    lively(model)
    with torch.no_grad():
        model.logit_scale.fill_(4.7)  # published ones go beyond 100
        model.logit_bias.fill_(-12.9)
    model.save_pretrained(where)
    SiglipImageProcessor(size={"height": 35, "width": 35}).save_pretrained(where)
    tokens.save(where)
    (where / "tokenizer_config.json").write_text(
        json.dumps({"tokenizer_class": "SiglipTokenizer", "pad_token": "</s>"})
    )
    return model


def theirs(model: SiglipModel, images: torch.Tensor, ids: torch.Tensor, mask: torch.Tensor, pad: int) -> Any:
    """Its output for texts that are filled up to their length."""
    filled = torch.full((len(ids), model.config.text_config.max_position_embeddings), pad)
    filled[:, : ids.shape[1]] = ids.masked_fill(~mask, pad)
    return model(pixel_values=images, input_ids=filled)


@torch.no_grad()
def test_the_numbers_are_transformers(tmp_path: Path) -> None:
    reference = folder(tmp_path / "siglip")
    model = pairloom.load(tmp_path / "siglip")
    batch = model.batch(
        images=torch.randn(3, 3, 35, 35, generator=torch.Generator().manual_seed(0)), texts=TEXTS
    )
    words = [model.tokens.tokenizer.token_to_id(word) for word in ("a", "red", "square", "</s>")]
    assert batch.texts.ids[0, :4].tolist() == words and batch.texts.ids[2, 1] == 1, (
        "the mark is removed, nothing is in its place"
    )
    output = theirs(reference, batch.images[:, 0], batch.texts.ids, batch.texts.mask, 1)
    image, text = model.system.embed_image(batch), model.system.embed_text(batch)
    torch.testing.assert_close(image, output.image_embeds, atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(text, output.text_embeds, atol=1e-6, rtol=1e-5)
    logits = text @ image.T / model.system.temperature + model.system.bias
    torch.testing.assert_close(logits, output.logits_per_text, atol=1e-4, rtol=1e-5)
    assert model.config.vocabulary == model.tokens.size and model.pixels.fit == "square"


@torch.no_grad()
def test_what_is_exported_is_read_by_transformers_and_here(tmp_path: Path) -> None:
    model = build("clip", bert_tokens(), "tiny-SigLIP", ["length=10"])
    lively(model.system)
    export(model, tmp_path / "out")
    reference = SiglipModel.from_pretrained(tmp_path / "out").eval()
    batch = model.batch(
        images=torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0)), texts=TEXTS[1:]
    )
    filled = AutoTokenizer.from_pretrained(tmp_path / "out")(
        TEXTS[1:], padding="max_length", max_length=10, truncation=True, return_tensors="pt"
    )
    assert list(filled) == ["input_ids"]
    output = reference(pixel_values=batch.images[:, 0], **filled)
    torch.testing.assert_close(
        model.system.eval().embed_text(batch), output.text_embeds, atol=1e-6, rtol=1e-5
    )
    torch.testing.assert_close(model.system.embed_image(batch), output.image_embeds, atol=1e-6, rtol=1e-5)
    again = pairloom.load(tmp_path / "out")
    for name, tensor in model.system.state_dict().items():
        assert torch.equal(tensor, again.system.state_dict()[name]), name


def test_a_gemma_tokenizer_is_lower_case(tmp_path: Path) -> None:
    folder(tmp_path / "siglip")
    (tmp_path / "siglip" / "tokenizer_config.json").write_text(
        json.dumps({"tokenizer_class": "GemmaTokenizer"})
    )
    ids = pairloom.load(tmp_path / "siglip").batch(texts=["A RED square!"]).texts.ids[0]
    tokens = sentence_tokens()
    assert (
        ids.tolist()[:3] == [tokens.tokenizer.token_to_id(word) for word in ("a", "red", "square")]
        and len(ids) == 5
    )


@pytest.mark.parametrize(
    ("part", "change", "why"),
    [
        ("", {"model_type": "siglip2"}, "NaFlex"),
        ("vision_config", {"hidden_act": "silu"}, "silu"),
        ("vision_config", {"vision_use_head": False}, "no attention pooling"),
        ("text_config", {"projection_size": 30}, "do(es)? not fit"),
        ("vision_config", {"num_hidden_layers": 3}, "Missing"),
    ],
)
def test_what_is_not_supported_is_named(tmp_path: Path, part: str, change: dict[str, Any], why: str) -> None:
    folder(tmp_path / "siglip")
    file = tmp_path / "siglip" / "config.json"
    document = json.loads(file.read_text())
    (document[part] if part else document).update(change)
    file.write_text(json.dumps(document))
    with pytest.raises(Mistake, match=why):
        pairloom.load(tmp_path / "siglip")


def test_quantised_or_missing_tensors_are_named(tmp_path: Path) -> None:
    model = folder(tmp_path / "siglip")
    state = {name: value for name, value in model.state_dict().items() if name != "logit_bias"}
    save_file(state, tmp_path / "siglip" / "model.safetensors")
    with pytest.raises(Mistake, match="Missing: bias"):
        pairloom.load(tmp_path / "siglip")
