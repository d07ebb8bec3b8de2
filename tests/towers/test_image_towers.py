"""Image towers: parity with transformers' classes under random weights, preparation, and what is refused."""

from pathlib import Path

import numpy as np
import torch
from transformers import EfficientNetConfig, EfficientNetModel

from pairloom.towers import ImageTower, load_image_tower

NEAR = {"rtol": 1e-5, "atol": 1e-5}


def randomise(model: torch.nn.Module) -> None:
    """Every parameter and every statistic of a batch norm away from its default."""
    generator = torch.Generator().manual_seed(1)
    for name, tensor in model.state_dict().items():
        if name.endswith("running_var"):
            tensor.uniform_(0.5, 2.0, generator=generator)
        elif name.endswith("running_mean") or tensor.ndim == 1:
            tensor.copy_(
                torch.randn(tensor.shape, generator=generator) * 0.1 + ("norm" in name or "bn" in name)
            )


def pictures(tower: ImageTower, count: int = 3) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, tower.size, tower.size, 3), dtype=np.uint8)


def test_efficientnet_equals_transformers(tmp_path: Path) -> None:
    torch.manual_seed(0)
    config = EfficientNetConfig(width_coefficient=0.25, depth_coefficient=0.4, image_size=64, hidden_dim=320)
    model = EfficientNetModel(config).eval()
    randomise(model)
    model.save_pretrained(tmp_path)
    tower = load_image_tower(tmp_path)
    pixels = pictures(tower)
    cells, pooled = tower.both(pixels)
    with torch.no_grad():
        theirs = model(tower.preparation.normalise(torch.from_numpy(pixels)).contiguous())
    torch.testing.assert_close(cells, theirs.last_hidden_state.flatten(2).transpose(1, 2), **NEAR)
    np.testing.assert_allclose(pooled, theirs.pooler_output, **NEAR)
