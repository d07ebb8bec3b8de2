"""Image towers: parity with transformers' classes under random weights, and that features are a picture's own."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from transformers import (
    ConvNextConfig,
    ConvNextModel,
    DeiTConfig,
    DeiTModel,
    Dinov2Config,
    Dinov2Model,
    Dinov2WithRegistersConfig,
    Dinov2WithRegistersModel,
    EfficientNetConfig,
    EfficientNetModel,
    ResNetConfig,
    ResNetModel,
    ViTConfig,
    ViTModel,
)

from pairloom.towers import ImageTower, load_image_tower

NEAR = {"rtol": 1e-5, "atol": 1e-5}
VIT = {
    "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "image_size": 32, "patch_size": 8,
}  # fmt: skip
LAYERS = {"embedding_size": 8, "depths": [2, 1, 2, 1]}
WITH_REGISTERS = Dinov2WithRegistersConfig(**VIT, num_register_tokens=3)
# name -> the model of transformers with random weights, rows before the patches (None: the model gives a map)
MODELS: dict[str, tuple[Callable[[], nn.Module], int | None]] = {
    "efficientnet": (
        lambda: EfficientNetModel(
            EfficientNetConfig(width_coefficient=0.25, depth_coefficient=0.4, image_size=64, hidden_dim=320)
        ),
        None,
    ),
    "convnext": (
        lambda: ConvNextModel(ConvNextConfig(depths=[1, 2, 1, 1], hidden_sizes=[8, 12, 16, 20], layer_scale_init_value=0.5)),
        None,
    ),
    "resnet": (lambda: ResNetModel(ResNetConfig(**LAYERS, hidden_sizes=[32, 64, 128, 256])), None),
    "resnet-basic": (
        lambda: ResNetModel(ResNetConfig(**LAYERS, hidden_sizes=[8, 16, 32, 64], layer_type="basic")),
        None,
    ),
    "vit": (lambda: ViTModel(ViTConfig(**VIT), add_pooling_layer=False), 1),
    "deit": (lambda: DeiTModel(DeiTConfig(**VIT), add_pooling_layer=False), 2),
    "dinov2": (lambda: Dinov2Model(Dinov2Config(**VIT)), 1),
    "dinov2_with_registers": (lambda: Dinov2WithRegistersModel(WITH_REGISTERS), 4),
}  # fmt: skip


def randomise(model: nn.Module) -> nn.Module:
    """Every parameter and every statistic of a batch norm away from its default; in evaluation mode."""
    generator = torch.Generator().manual_seed(1)
    for name, tensor in model.state_dict().items():
        if name.endswith("running_var"):
            tensor.uniform_(0.5, 2.0, generator=generator)
        elif tensor.is_floating_point():
            scale = tensor.shape[1:].numel() ** -0.5 if tensor.ndim > 1 and tensor.shape[0] > 1 else 0.2
            centre = float(tensor.ndim == 1 and name.endswith("weight"))
            tensor.copy_(torch.randn(tensor.shape, generator=generator) * scale + centre)
    return model.eval()


def pictures(tower: ImageTower, count: int = 3) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, tower.size, tower.size, 3), dtype=np.uint8)


def outputs(
    model: nn.Module, tower: ImageTower, pixels: np.ndarray, rows: int | None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Cells and pooled features as transformers' class computes them."""
    images = tower.preparation.normalise(torch.from_numpy(pixels)).contiguous()
    with torch.no_grad():
        theirs = model(images)
    if rows is None:
        return theirs.last_hidden_state.flatten(2).transpose(1, 2), theirs.pooler_output.flatten(1)
    return theirs.last_hidden_state[:, rows:], theirs.last_hidden_state[:, 0]


@pytest.mark.parametrize("name", MODELS)
def test_features_equal_transformers(name: str, tmp_path: Path) -> None:
    build, rows = MODELS[name]
    model = randomise(build())
    model.save_pretrained(tmp_path)
    tower = load_image_tower(tmp_path)
    pixels = pictures(tower)
    cells, pooled = tower.both(pixels)
    expected_cells, expected = outputs(model, tower, pixels, rows)
    assert pooled.shape == (3, tower.width) and pooled.dtype == np.float32
    torch.testing.assert_close(cells, expected_cells, **NEAR)
    np.testing.assert_allclose(pooled, expected, **NEAR)
