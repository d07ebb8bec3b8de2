"""ALIGN beside transformers' own class and image processor: random weights, read from their folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import AlignConfig, AlignModel
from transformers.models.efficientnet.image_processing_pil_efficientnet import EfficientNetImageProcessorPil

import pairloom
from experiments.open_clip_configs import lively
from pairloom.errors import Mistake
from pairloom.model import save
from tests.weights.published import bert_tokens

TEXTS = ["a red square", "two cats and a dog", "a photo of a cat"]
PUBLISHED = {
    "image_processor_type": "EfficientNetImageProcessor", "size": {"height": 38, "width": 38},
    "crop_size": {"height": 33, "width": 33}, "do_center_crop": True, "rescale_factor": 1 / 127.5, "rescale_offset": True,
    "do_normalize": False, "include_top": False, "resample": 2,
}  # fmt: skip


def align(where: Path) -> AlignModel:
    """A folder of AlignModel with its tokenizer and image processor."""
    tokens = bert_tokens()
    text = dict(
        hidden_size=32, intermediate_size=72, num_hidden_layers=2, num_attention_heads=2, vocab_size=tokens.size,
        max_position_embeddings=20, pad_token_id=tokens.pad,
    )  # fmt: skip
    image = dict(
        width_coefficient=0.5, depth_coefficient=0.3, image_size=33, hidden_dim=160, out_channels=[16, 24, 48],
        in_channels=[32, 16, 24], kernel_sizes=[3, 5, 3], strides=[1, 2, 2], num_block_repeats=[1, 2, 4],
        expand_ratios=[1, 6, 4],
    )  # fmt: skip
    model = AlignModel(AlignConfig(text_config=text, vision_config=image, projection_dim=24))
    lively(model)
    with torch.no_grad():
        model.temperature.fill_(0.3)
    model.eval().save_pretrained(where)
    (where / "preprocessor_config.json").write_text(json.dumps(PUBLISHED))
    tokens.save(where)
    (where / "tokenizer_config.json").write_text(json.dumps({"pad_token": "[PAD]"}))
    return model


@torch.no_grad()
def test_the_numbers_are_transformers(tmp_path: Path) -> None:
    reference = align(tmp_path / "published")
    model = pairloom.load(tmp_path / "published")
    save(model, tmp_path / "ours")
    images = torch.randn(3, 3, 33, 33, generator=torch.Generator().manual_seed(0))
    for one in (model, pairloom.load(tmp_path / "ours")):
        texts = one.batch(texts=TEXTS).texts
        ids = texts.ids.masked_fill(~texts.mask, one.config.pad)
        output = reference(pixel_values=images, input_ids=ids, attention_mask=texts.mask.long())
        text = one.system.embed_text(one.batch(texts=TEXTS))
        torch.testing.assert_close(text, output.text_embeds, atol=1e-6, rtol=1e-5)
        image = one.system.embed_image(one.batch(images=images))
        torch.testing.assert_close(image, output.image_embeds, atol=1e-6, rtol=1e-5)
        scores = image @ text.T / one.system.temperature
        torch.testing.assert_close(scores, output.logits_per_image, atol=1e-5, rtol=1e-5)
        assert float(text.std(0).mean()) > 0.01 and float(image.std(0).mean()) > 1e-3  # they differ
    assert model.abilities == {"embed"} and model.config.length == 20


def photo(width: int, height: int) -> Image.Image:
    rng = np.random.default_rng(0)
    return Image.fromarray(rng.integers(0, 256, (height, width, 3), np.uint8))


@pytest.mark.parametrize(
    "settings",
    [
        PUBLISHED,
        PUBLISHED | {"include_top": True},
        {name: PUBLISHED[name] for name in ("image_processor_type", "size", "crop_size", "do_center_crop")},
        {"image_processor_type": "EfficientNetImageProcessor", "size": {"height": 33, "width": 33}},
        PUBLISHED
        | {"size": {"height": 41, "width": 41}, "do_normalize": True, "image_mean": [0.1, 0.2, 0.3]},
    ],
    ids=["published", "divided again", "of its class", "not cut", "normalised"],
)
def test_the_pixels_are_those_of_its_processor(tmp_path: Path, settings: dict[str, Any]) -> None:
    """Squashed, then cut, then scaled to -1..1 and whatever else its file says. As in the published 346 and 289, half of what is cut
    off rounds down."""
    align(tmp_path)
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(settings))
    pixels = pairloom.load(tmp_path).pixels
    library = EfficientNetImageProcessorPil(
        **{key: value for key, value in settings.items() if "type" not in key}
    )
    for sides in ((50, 37), (33, 60), (40, 40), (90, 20)):
        picture = photo(*sides)
        expected = library(picture, return_tensors="pt").pixel_values[0]
        torch.testing.assert_close(
            torch.from_numpy(pixels.normalise(pixels.to_uint8(picture))),
            expected.float(),
            atol=1e-5,
            rtol=1e-5,
        )


def test_without_a_processor_pictures_are_prepared_as_published(tmp_path: Path) -> None:
    align(tmp_path)
    (tmp_path / "preprocessor_config.json").unlink()
    pixels = pairloom.load(tmp_path).pixels
    assert (pixels.size, pixels.resized, pixels.fit, pixels.mean) == (33, 40, "square", (0.5, 0.5, 0.5))


@pytest.mark.parametrize(
    ("name", "value", "why"),
    [
        ("pooling_type", "sum", "mean"),
        ("num_channels", 1, "should be 3"),
        ("kernel_sizes", [3], "network"),
        ("strides", "many", "network"),
        ("out_channels", [16, 24, 80], "should be 40"),
    ],
)
def test_what_does_not_fit_is_named(tmp_path: Path, name: str, value: object, why: str) -> None:
    align(tmp_path)
    document = json.loads((tmp_path / "config.json").read_text())
    document["vision_config"][name] = value
    (tmp_path / "config.json").write_text(json.dumps(document))
    with pytest.raises(Mistake, match=why):
        pairloom.load(tmp_path)


@torch.no_grad()
def test_a_temperature_that_nothing_can_be_divided_by(tmp_path: Path) -> None:
    model = align(tmp_path)
    model.temperature.fill_(0.0)
    model.save_pretrained(tmp_path)
    with pytest.raises(Mistake, match="temperature"):
        pairloom.load(tmp_path)
