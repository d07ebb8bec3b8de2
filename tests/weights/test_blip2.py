"""BLIP-2's first stage beside transformers' own class: random weights, read from their folder."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from transformers import Blip2Config, Blip2ForConditionalGeneration, Blip2ForImageTextRetrieval

import pairloom
from experiments.open_clip_configs import lively
from pairloom.errors import Mistake
from pairloom.model import save
from pairloom.tasks.judge import judge
from tests.weights.published import bert_tokens, processor

TEXTS = ["a red square", "two cats and a dog", "a photo of a cat"]
HEADS = dict(num_attention_heads=2, num_hidden_layers=3)


def blip2(where: Path, kind: type = Blip2ForImageTextRetrieval, spare: int = 1) -> Blip2ForImageTextRetrieval:
    """A folder with its tokenizer and image processor. spare: words of the tokenizer beyond the word table."""
    tokens = bert_tokens()
    config = Blip2Config(
        vision_config=dict(hidden_size=48, intermediate_size=160, image_size=32, patch_size=8, **HEADS),
        qformer_config=dict(
            hidden_size=32, intermediate_size=72, max_position_embeddings=20, vocab_size=tokens.size - spare,
            use_qformer_text_input=True, **HEADS,
        ),
        text_config=dict(
            model_type="opt", hidden_size=32, ffn_dim=40, num_hidden_layers=1, num_attention_heads=2, vocab_size=60,
            word_embed_proj_dim=32, max_position_embeddings=30,
        ),
        num_query_tokens=5, image_text_hidden_size=24,
    )  # fmt: skip
    model = kind(config)
    lively(model)
    model.eval().save_pretrained(where)
    tokens.save(where)
    processor(where, 32, "Blip")
    return model


@torch.no_grad()
def test_the_numbers_are_transformers(tmp_path: Path) -> None:
    """Both scores of every picture with every text: the match head's two classes, and the best cosine."""
    reference = blip2(tmp_path / "published")
    model = pairloom.load(tmp_path / "published")
    assert model.abilities == {"match", "similarity"}
    save(model, tmp_path / "ours")
    images = torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    for one in (model, pairloom.load(tmp_path / "ours"), model.at_speed("exact")):
        batch = one.batch(images=images, texts=TEXTS * 3, image_of=[0, 0, 0, 1, 1, 1, 2, 2, 2])
        ids, mask = batch.texts.ids[:3], batch.texts.mask[:3].long()
        cosines = reference(images, ids, mask).logits_per_image
        scores = judge(one.system, batch, "best cosine")[0].view(3, 3)
        torch.testing.assert_close(scores, cosines, atol=1e-5, rtol=1e-5)
        assert float(cosines.std()) > 1e-3  # they differ
        logits = one.system.match_logits(batch).view(3, 3, 2)
        for row, image in enumerate(images):
            expected = reference(image.expand(3, -1, -1, -1), ids, mask, use_image_text_matching_head=True)
            torch.testing.assert_close(logits[row], expected.logits_per_image, atol=1e-5, rtol=1e-5)
        odds = judge(one.system, batch)[0].view(3, 3)
        torch.testing.assert_close(odds, logits[..., 1] - logits[..., 0], atol=1e-5, rtol=1e-5)


def test_texts_are_cleaned_and_counted_as_in_the_released_code(tmp_path: Path) -> None:
    blip2(tmp_path)
    model = pairloom.load(tmp_path)
    assert model.tokens.rows(['A "red" square.'], 20) == model.tokens.rows(["a red square"], 20)
    assert model.config.length == 20 and model.batch(texts=["a cat " * 30]).texts.ids.shape[1] == 20
    assert model.pixels.fit == "square"


def test_a_captioner_is_refused_by_name(tmp_path: Path) -> None:
    blip2(tmp_path, Blip2ForConditionalGeneration)
    with pytest.raises(Mistake, match="Blip2ForConditionalGeneration: it writes through a language model"):
        pairloom.load(tmp_path)


@pytest.mark.parametrize(
    ("part", "change", "why"),
    [
        ("vision_config", {"hidden_act": "silu"}, "silu"),
        ("vision_config", {"layer_norm_eps": 1e-5}, "1e-06"),
        ("vision_config", {"qkv_bias": False}, "should be true"),
        ("qformer_config", {"num_hidden_layers": 4}, "Missing"),
        ("qformer_config", {"vocab_size": 5}, "another model's"),
        ("qformer_config", {"cross_attention_frequency": 1}, "Missing"),
    ],
)
def test_what_is_not_supported_is_named(
    tmp_path: Path, part: str, change: dict[str, object], why: str
) -> None:
    blip2(tmp_path)
    document = json.loads((tmp_path / "config.json").read_text())
    document[part] |= change
    (tmp_path / "config.json").write_text(json.dumps(document))
    with pytest.raises(Mistake, match=why):
        pairloom.load(tmp_path)
