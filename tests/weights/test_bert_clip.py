"""Chinese CLIP and AltCLIP beside transformers' own classes: random weights, read from their folders."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import AltCLIPConfig, AltCLIPModel, ChineseCLIPConfig, ChineseCLIPModel

import pairloom
from experiments.open_clip_configs import lively
from pairloom.data.tokens import Tokens
from pairloom.errors import Mistake
from pairloom.model import save
from tests.weights.published import bert_tokens

SIZES = dict(hidden_size=32, intermediate_size=72, num_hidden_layers=2, num_attention_heads=2)
IMAGE = dict(SIZES, hidden_size=24, image_size=32, patch_size=8)
TEXTS = ["a red square", "two cats and a dog", "a photo of a cat", "狗"]


def xlm_tokens() -> Tokens:
    """Whole words with XLM-R's ids: <s> 0, <pad> 1, </s> 2, <unk> 3."""
    words = ["<s>", "<pad>", "</s>", "<unk>", *"a red square two cats and dog photo of cat".split()]
    tokenizer = Tokenizer(models.WordLevel({word: row for row, word in enumerate(words)}, "<unk>"))
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.add_special_tokens(words[:4])
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    return Tokens(tokenizer)


def chinese(where: Path, **text: Any) -> ChineseCLIPModel:
    tokens = bert_tokens()
    settings = dict(SIZES, vocab_size=tokens.size + 3, max_position_embeddings=20, pad_token_id=tokens.pad)
    model = ChineseCLIPModel(
        ChineseCLIPConfig(text_config=settings | text, vision_config=IMAGE, projection_dim=16)
    )
    return written(model, tokens, where, {"pad_token": "[PAD]"})


def alt(where: Path, **text: Any) -> AltCLIPModel:
    tokens = xlm_tokens()
    settings = dict(SIZES, vocab_size=tokens.size, max_position_embeddings=20, pad_token_id=1, project_dim=20)
    model = AltCLIPModel(AltCLIPConfig(text_config=settings | text, vision_config=IMAGE, projection_dim=16))
    return written(model, tokens, where, {"pad_token": "<pad>"})


def written(model: Any, tokens: Tokens, where: Path, names: dict[str, str]) -> Any:
    lively(model)
    model.eval().save_pretrained(where)
    (where / "preprocessor_config.json").write_text(
        json.dumps({"image_processor_type": "ChineseCLIPImageProcessor", "size": {"height": 32, "width": 32}})
    )
    tokens.save(where)
    (where / "tokenizer_config.json").write_text(json.dumps(names))
    return model


@pytest.mark.parametrize("folder", [chinese, alt])
@torch.no_grad()
def test_the_numbers_are_transformers(folder: Any, tmp_path: Path) -> None:
    reference = folder(tmp_path / "published")
    model = pairloom.load(tmp_path / "published")
    save(model, tmp_path / "ours")
    images = torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    for one in (model, pairloom.load(tmp_path / "ours")):
        texts = one.batch(texts=TEXTS).texts
        ids = texts.ids.masked_fill(~texts.mask, one.config.pad)
        output = reference(pixel_values=images, input_ids=ids, attention_mask=texts.mask.long())
        text = one.system.embed_text(one.batch(texts=TEXTS))
        torch.testing.assert_close(text, output.text_embeds, atol=1e-6, rtol=1e-5)
        image = one.system.embed_image(one.batch(images=images))
        torch.testing.assert_close(image, output.image_embeds, atol=1e-6, rtol=1e-5)
        torch.testing.assert_close(1 / one.system.temperature, reference.logit_scale.exp())
        assert float(text.std(0).min()) > 0.01  # texts differ
    assert model.abilities == {"embed"} and model.pixels.fit == "square"


def test_texts_as_long_as_the_positions_are_read(tmp_path: Path) -> None:
    """XLM-R counts positions from the padding's id, so that two of them are never read."""
    for folder, length in ((chinese, 20), (alt, 18)):
        folder(tmp_path / folder.__name__)
        model = pairloom.load(tmp_path / folder.__name__)
        batch = model.batch(texts=["a cat and " * 20])
        assert batch.texts.ids.shape[1] == model.config.length == length
        assert model.system.embed_text(batch).isfinite().all()


@pytest.mark.parametrize(
    ("part", "change", "why"),
    [
        ("vision_config", {"hidden_act": "silu"}, "silu"),
        ("text_config", {"num_hidden_layers": 3}, "Missing"),
        ("text_config", {"layer_norm_eps": 1e-3}, "1e-05"),
        ("text_config", {"vocab_size": 5}, "another model's"),
        ("text_config", {"hidden_size": "wide"}, "hidden_size|network"),
        ("text_config", {"project_dim": 7}, ""),
    ],
)
def test_what_is_not_supported_is_named(tmp_path: Path, part: str, change: dict[str, Any], why: str) -> None:
    alt(tmp_path / "alt")
    file = tmp_path / "alt" / "config.json"
    document = json.loads(file.read_text())
    document[part] |= change
    file.write_text(json.dumps(document))
    if not why:  # the file's own tensors say how wide it is
        pairloom.load(tmp_path / "alt")
        return
    with pytest.raises(Mistake, match=why):
        pairloom.load(tmp_path / "alt")
