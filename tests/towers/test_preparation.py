"""Preparation of pictures: the same pixels as transformers' image processors, and what timm's configs say."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from transformers.models.bit.image_processing_pil_bit import BitImageProcessorPil
from transformers.models.convnext.image_processing_pil_convnext import ConvNextImageProcessorPil
from transformers.models.deit.image_processing_pil_deit import DeiTImageProcessorPil
from transformers.models.efficientnet.image_processing_pil_efficientnet import EfficientNetImageProcessorPil
from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil

from pairloom.towers.preparation import Preparation, from_timm, from_transformers

DEFAULT = Preparation(32, resize=36)
SQUARE = {"height": 32, "width": 32}
PROCESSORS: list[tuple[Any, dict[str, Any]]] = [
    (ViTImageProcessorPil, {"size": SQUARE}),
    (ConvNextImageProcessorPil, {"size": {"shortest_edge": 32}}),
    (ConvNextImageProcessorPil, {"size": {"shortest_edge": 384}}),  # squashed from this size on
    (DeiTImageProcessorPil, {"size": {"height": 40, "width": 40}, "crop_size": SQUARE}),
    (BitImageProcessorPil, {"size": {"shortest_edge": 40}, "crop_size": SQUARE}),
    (EfficientNetImageProcessorPil, {"size": SQUARE, "rescale_factor": 1 / 255, "include_top": True}),
    (EfficientNetImageProcessorPil, {"size": SQUARE, "rescale_factor": 1 / 127.5, "rescale_offset": True}),
]


def picture(width: int, height: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(width).integers(0, 256, (height, width, 3), dtype=np.uint8))


@pytest.mark.parametrize(("kind", "settings"), PROCESSORS)
def test_pixels_equal_those_of_transformers(kind: Any, settings: dict[str, Any], tmp_path: Path) -> None:
    processor = kind(**settings)
    processor.save_pretrained(tmp_path)
    preparation = from_transformers(json.loads((tmp_path / "preprocessor_config.json").read_text()), DEFAULT)
    for image in (picture(64, 48), picture(48, 96), picture(20, 12)):  # the last is smaller than what is read
        theirs = torch.as_tensor(np.asarray(processor(image)["pixel_values"][0]))
        ours = preparation.normalise(torch.from_numpy(preparation.to_uint8(image))[None])[0]
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=2e-6)  # values up to 5, in float32


def test_what_timm_says() -> None:
    stated = {
        "input_size": [3, 288, 288], "crop_pct": 0.95, "interpolation": "bilinear", "mean": [0.5, 0.5, 0.5], "std": [1, 1, 1],
    }  # fmt: skip
    preparation = from_timm(stated, DEFAULT)
    assert preparation == Preparation(
        288, (0.5, 0.5, 0.5), (1.0, 1.0, 1.0), "crop", 303, 2
    )  # 288 / .95 = 303.2
    assert from_timm({**stated, "crop_mode": "squash"}, DEFAULT).fit == "square"
    assert from_timm({}, DEFAULT) == DEFAULT


def test_a_very_long_picture_is_read() -> None:
    assert Preparation(32, resize=36).to_uint8(Image.new("RGB", (30_000, 2))).shape == (32, 32, 3)
