"""One network in every layout: the same tensors under the names of timm, torchvision, the authors and transformers give the same
features. The names are those of layouts.py, which are held to the released ones."""

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from transformers import (
    ConvNextConfig,
    ConvNextModel,
    DeiTConfig,
    DeiTModel,
    Dinov2Config,
    Dinov2WithRegistersConfig,
    Dinov2WithRegistersModel,
    EfficientNetConfig,
    EfficientNetModel,
    ResNetConfig,
    ResNetModel,
    ViTConfig,
    ViTModel,
)

from pairloom import registry
from pairloom.towers import ImageTower, load_image_tower
from tests.towers import layouts
from tests.towers.test_image_towers import assert_near, drawn, randomise

Tensors = dict[str, torch.Tensor]
B0 = (1, 2, 2, 3, 3, 4, 1)
VIT = {
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 1,
    "image_size": 56,
    "layer_norm_eps": 1e-6,
}


def names_of(name: str, layout: str) -> list[str]:
    """The names of a published network in a layout."""
    if name.startswith("efficientnet"):
        return layouts.efficientnet_names(B0, layout, "lite" in name)
    if name.startswith("convnext"):
        return layouts.convnext_names(layouts.CONVNEXT[layout], (3, 3, 9, 3))
    if name.startswith("resnet"):
        return layouts.resnet_names(*(((3, 4, 6, 3), 3) if "50" in name else ((2, 2, 2, 2), 2)), layout)
    return layouts.transformer_names((layouts.DINOV2 if "dino" in name else layouts.VIT)[layout], 12)


@pytest.mark.parametrize(("name", "layout"), layouts.FACTS)
def test_the_names_are_the_released_ones(name: str, layout: str) -> None:
    assert layouts.digest(names_of(name, layout)) == layouts.FACTS[name, layout]


def tensors_of(model: torch.nn.Module, folder: Path) -> Tensors:
    """The tensors of a randomised model as transformers saves them, fused projections in one."""
    from safetensors.torch import load_file

    model.save_pretrained(folder)
    tensors = load_file(folder / "model.safetensors")
    for name in [name for name in tensors if ".attention.query." in name]:
        parts = [tensors.pop(name.replace("query", part)) for part in ("query", "key", "value")]
        tensors[name.replace("query", "qkv")] = torch.cat(parts)
    return tensors


def load(tensors: Tensors, file: Path) -> ImageTower:
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, file)
    return load_image_tower(file)


def features(tower: ImageTower, size: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Cells and pooled features of the same tensors, whatever the preparation of the layout is."""
    with torch.no_grad():
        return tower.network(torch.from_numpy(drawn(3, size)).permute(0, 3, 1, 2) / 64.0 - 2)


def assert_same(tower: ImageTower, other: ImageTower, size: int) -> None:
    assert tower.width == other.width
    for ours, theirs in zip(features(tower, size), features(other, size)):
        assert_near(ours, theirs)


def test_vision_transformers(tmp_path: Path) -> None:
    model = randomise(ViTModel(ViTConfig(**VIT, patch_size=14), add_pooling_layer=False), 56)
    tensors = tensors_of(model, tmp_path / "transformers")
    reference = load_image_tower(tmp_path / "transformers")
    theirs = layouts.transformer_names(layouts.VIT["transformers"], 2)
    assert set(theirs) == set(tensors)
    for layout in ("timm", "torchvision"):
        names = layouts.transformer_names(layouts.VIT[layout], 2)
        tower = load(
            {name: tensors[there] for name, there in zip(names, theirs)}, tmp_path / f"{layout}.safetensors"
        )
        assert_same(tower, reference, 56)


def test_a_mean_of_patches(tmp_path: Path) -> None:
    """timm's networks with `fc_norm` pool the patches and norm the mean in place of every row."""
    model = randomise(ViTModel(ViTConfig(**VIT, patch_size=14), add_pooling_layer=False), 56)
    tensors = tensors_of(model, tmp_path / "transformers")
    names = layouts.transformer_names(layouts.VIT["timm"], 2)
    theirs = layouts.transformer_names(layouts.VIT["transformers"], 2)
    renamed = {name.replace("norm.", "fc_norm.") if name.startswith("norm.") else name: tensors[there]
               for name, there in zip(names, theirs)}  # fmt: skip
    cells, pooled = features(load(renamed, tmp_path / "mean.safetensors"), 56)
    norm = torch.nn.functional.layer_norm(
        cells.mean(1), (64,), renamed["fc_norm.weight"], renamed["fc_norm.bias"], 1e-6
    )
    assert_near(pooled, norm)


def test_distillation_and_register_tokens(tmp_path: Path) -> None:
    deit = randomise(DeiTModel(DeiTConfig(**VIT, patch_size=14), add_pooling_layer=False), 56)
    tensors = tensors_of(deit, tmp_path / "deit")
    names = [*layouts.transformer_names(layouts.VIT["timm"], 2), "dist_token"]
    theirs = [*layouts.transformer_names(layouts.VIT["transformers"], 2), "embeddings.distillation_token"]
    tower = load(
        {name: tensors[there] for name, there in zip(names, theirs)}, tmp_path / "deit_tiny.safetensors"
    )
    assert_same(tower, load_image_tower(tmp_path / "deit"), 56)
    # timm adds the class row's position to the row itself, and calls the registers by another name
    config = Dinov2WithRegistersConfig(**VIT, patch_size=14, num_register_tokens=2)
    tensors = tensors_of(randomise(Dinov2WithRegistersModel(config), 56), tmp_path / "dinov2")
    names = [*layouts.transformer_names(layouts.DINOV2["timm"], 2), "reg_token"]
    theirs = [*layouts.transformer_names(layouts.DINOV2["transformers"], 2), "embeddings.register_tokens"]
    renamed = {name: tensors[there] for name, there in zip(names, theirs)}
    renamed["cls_token"] = renamed["cls_token"] + renamed["pos_embed"][:, :1]
    renamed["pos_embed"] = renamed["pos_embed"][:, 1:]
    tower = load(renamed, tmp_path / "dinov2.safetensors")
    assert (
        tower.name == "dinov2-registers" and tower.size == 224
    )  # the family reads 224 pixels, 16 patches a side
    assert_same(tower, load_image_tower(tmp_path / "dinov2"), 224)


@pytest.mark.parametrize("registers", [0, 2])
def test_positions_are_interpolated(registers: int, tmp_path: Path) -> None:
    """Of a grid of 8 x 8 for pictures of 4 x 4 patches: as transformers' classes do, with antialias where there are registers."""
    from transformers import Dinov2Model

    sizes = {**VIT, "image_size": 112, "patch_size": 14}
    model = (
        Dinov2WithRegistersModel(Dinov2WithRegistersConfig(**sizes, num_register_tokens=registers))
        if registers
        else Dinov2Model(Dinov2Config(**sizes))
    )
    randomise(model, 112).save_pretrained(tmp_path)
    (tmp_path / "preprocessor_config.json").write_text(
        '{"size": {"shortest_edge": 64}, "do_center_crop": true, "crop_size": {"height": 56, "width": 56}}'
    )
    tower = load_image_tower(tmp_path)
    assert tower.size == 56
    pixels = np.random.default_rng(0).integers(0, 256, (2, 56, 56, 3), dtype=np.uint8)
    images = tower.preparation.normalise(torch.from_numpy(pixels)).contiguous()
    with torch.no_grad():
        theirs = model(images).last_hidden_state
    assert_near(tower.grid(pixels), theirs[:, 1 + registers :])
    assert_near(torch.from_numpy(tower.pooled(pixels)), theirs[:, 0])


def test_convnext(tmp_path: Path) -> None:
    depths = [1, 2, 1, 1]
    config = ConvNextConfig(depths=depths, hidden_sizes=[8, 12, 16, 20], layer_norm_eps=1e-6)
    tensors = tensors_of(randomise(ConvNextModel(config)), tmp_path / "transformers")
    reference = load_image_tower(tmp_path / "transformers")
    theirs = layouts.convnext_names(layouts.CONVNEXT["transformers"], depths)
    assert set(theirs) == set(tensors)
    for layout in ("timm", "authors", "torchvision"):
        names = layouts.convnext_names(layouts.CONVNEXT[layout], depths)
        renamed = {name: tensors[there] for name, there in zip(names, theirs)}
        if layout == "torchvision":
            renamed = {
                name: tensor[:, None, None] if name.endswith("scale") else tensor
                for name, tensor in renamed.items()
            }
        assert_same(load(renamed, tmp_path / f"{layout}.safetensors"), reference, 64)


@pytest.mark.parametrize("kind", ["basic", "bottleneck"])
def test_resnet(kind: str, tmp_path: Path) -> None:
    sizes = [8, 16, 32, 64] if kind == "basic" else [32, 64, 128, 256]
    config = ResNetConfig(embedding_size=8, depths=[2, 1, 2, 1], hidden_sizes=sizes, layer_type=kind)
    tensors = tensors_of(randomise(ResNetModel(config)), tmp_path / "transformers")
    convolutions = 2 if kind == "basic" else 3
    theirs = layouts.resnet_names([2, 1, 2, 1], convolutions, "transformers")
    assert set(theirs) == set(tensors)
    names = layouts.resnet_names([2, 1, 2, 1], convolutions, "timm")
    tower = load({name: tensors[there] for name, there in zip(names, theirs)}, tmp_path / "timm.safetensors")
    assert_same(tower, load_image_tower(tmp_path / "transformers"), 64)


def test_efficientnet(tmp_path: Path) -> None:
    config = EfficientNetConfig(width_coefficient=1.0, depth_coefficient=1.0, hidden_dim=1280, image_size=64)
    tensors = tensors_of(randomise(EfficientNetModel(config)), tmp_path / "transformers")
    reference = load_image_tower(tmp_path / "transformers")
    assert reference.name == "efficientnet-b0"
    theirs = layouts.efficientnet_names(B0, "transformers", False)
    assert set(theirs) == set(tensors)
    towers = {}
    for layout, file in (
        ("timm", "tf_efficientnet_b0"),
        ("google", "google"),
        ("transformers", "bare"),
        ("timm", "timm"),
        ("torchvision", "torchvision"),
    ):
        names = layouts.efficientnet_names(B0, layout, False)
        renamed = {name: tensors[there] for name, there in zip(names, theirs)}
        towers[file] = load(renamed, tmp_path / f"{file}.safetensors")
    for file in ("tf_efficientnet_b0", "google", "bare"):  # TensorFlow's padding, and its eps
        assert_same(towers[file], reference, 64)
    assert_same(towers["timm"], towers["torchvision"], 64)  # symmetric padding
    assert not torch.allclose(
        features(towers["timm"], 64)[1], features(reference, 64)[1], rtol=1e-2, atol=1e-2
    )
    assert (towers["timm"].size, towers["google"].size) == (224, 224)


@pytest.mark.parametrize(("name", "layout"), layouts.FACTS)
def test_one_family_claims_a_file(name: str, layout: str) -> None:
    claims = [
        family
        for family in registry.names("towers.networks")
        if registry.find("towers.networks", family).sniff(names_of(name, layout))
    ]
    assert len(claims) == 1
