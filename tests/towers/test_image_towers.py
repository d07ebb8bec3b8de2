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

from pairloom.blocks.convnet import recalibrate_batch_norm
from pairloom.towers import ImageTower, load_image_tower

VIT = {
    "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "image_size": 32, "patch_size": 8,
}  # fmt: skip
LAYERS = {"embedding_size": 8, "depths": [2, 1, 2, 1]}
WITH_REGISTERS = Dinov2WithRegistersConfig(**VIT, num_register_tokens=3)
# name -> the model of transformers with random weights, rows before the patches (None: the model gives a map)
MODELS: dict[str, tuple[Callable[[], nn.Module], int | None]] = {
    "efficientnet": (
        lambda: EfficientNetModel(
            EfficientNetConfig(width_coefficient=0.5, depth_coefficient=0.4, image_size=64, hidden_dim=640)
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


def randomise(model: nn.Module, size: int = 64) -> nn.Module:
    """Every parameter away from its default, batch norms with the statistics of some pictures, without which a deep random
    network gives the same features for every picture; in evaluation mode."""
    generator = torch.Generator().manual_seed(1)
    for name, tensor in model.state_dict().items():
        if tensor.is_floating_point() and not name.endswith(("running_mean", "running_var")):
            scale = tensor.shape[1:].numel() ** -0.5 if tensor.ndim > 1 and tensor.shape[0] > 1 else 0.2
            centre = float(tensor.ndim == 1 and name.endswith("weight"))
            tensor.copy_(torch.randn(tensor.shape, generator=generator) * scale + centre)
    images = torch.from_numpy(drawn(16, size)).permute(0, 3, 1, 2) / 64.0 - 2
    recalibrate_batch_norm(model, (model(images) for _ in range(1)))
    return model.eval()


def drawn(count: int, size: int) -> np.ndarray:
    """Pictures [I S S 3] of coloured patches, each with a colour and a contrast of its own."""
    random = np.random.default_rng(0)
    patches = random.normal(0, 40, (count, -(-size // 8), -(-size // 8), 3)) * random.uniform(
        0.5, 2, (count, 1, 1, 1)
    )
    patches = np.repeat(np.repeat(patches, 8, 1), 8, 2)[:, :size, :size]
    return (patches + random.uniform(60, 200, (count, 1, 1, 3))).clip(0, 255).astype(np.uint8)


def pictures(tower: ImageTower, count: int = 3) -> np.ndarray:
    return drawn(count, tower.size)


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


def assert_near(ours: torch.Tensor, theirs: torch.Tensor) -> None:
    """Equal but for rounding: about 1e-7 for each of some tens of layers, of the largest value."""
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5 * theirs.abs().max().item())


@pytest.mark.parametrize("name", MODELS)
def test_features_equal_transformers(name: str, tmp_path: Path) -> None:
    build, rows = MODELS[name]
    model = randomise(build(), 32 if rows else 64)
    model.save_pretrained(tmp_path)
    tower = load_image_tower(tmp_path)
    pixels = pictures(tower)
    cells, pooled = tower.both(pixels)
    expected_cells, expected = outputs(model, tower, pixels, rows)
    assert pooled.shape == (3, tower.width) and pooled.dtype == np.float32
    assert expected.std(0).mean() > 0.05 * expected.abs().mean()  # pictures differ
    assert_near(cells, expected_cells)
    assert_near(torch.from_numpy(pooled), expected)


@pytest.mark.parametrize("name", ["efficientnet", "convnext", "dinov2"])
def test_features_are_a_pictures_own(name: str, tmp_path: Path) -> None:
    """The same bytes alone and among others, in any order, and with any number of threads."""
    randomise(MODELS[name][0](), 32 if MODELS[name][1] else 64).save_pretrained(tmp_path)
    tower = load_image_tower(tmp_path)
    pixels = pictures(tower, 11)  # a full pass and a part of one
    cells, pooled = tower.both(pixels)
    order = np.random.default_rng(1).permutation(11)
    np.testing.assert_array_equal(tower.pooled(pixels[order]), pooled[order])
    assert torch.equal(tower.grid(pixels[3:4])[0], cells[3])
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        np.testing.assert_array_equal(tower.pooled(pixels), pooled)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(threads)
    assert tower.pooled(pixels[:0]).shape == (0, tower.width)


def test_what_the_pixels_must_be(tmp_path: Path) -> None:
    randomise(MODELS["resnet"][0]()).save_pretrained(tmp_path)
    tower = load_image_tower(tmp_path)
    with pytest.raises(ValueError, match=r"the tower reads uint8 \[I 224 224 3\]"):
        tower.pooled(np.zeros((1, 32, 32, 3), np.uint8))


def test_identity_is_that_of_all_that_features_depend_on(tmp_path: Path) -> None:
    model = randomise(MODELS["resnet"][0]())
    model.save_pretrained(tmp_path)
    tower, again = load_image_tower(tmp_path), load_image_tower(tmp_path)
    assert tower.identity == again.identity
    (tmp_path / "preprocessor_config.json").write_text('{"size": {"shortest_edge": 64}}')
    smaller = load_image_tower(tmp_path)
    assert smaller.checksum == tower.checksum and smaller.identity != tower.identity
