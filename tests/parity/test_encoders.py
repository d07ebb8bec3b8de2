"""Encoders beside the networks whose weights they carry: random weights, moved through torchvision's names."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from pairloom.blocks.encoder import NETWORKS, Encoder
from pairloom.data.batch import Batch
from pairloom.data.tokens import Tokens
from pairloom.model import Model, build
from pairloom.weights import torchvision

NEAR = dict(atol=1e-5, rtol=1e-5)


def captioner(encoder: str) -> Model:
    return build(
        "show_and_tell",
        Tokens.train(["a red square"] * 3, 64),
        "base",
        [f"encoder={encoder}", "width=8", "image_size=64"],
    )


def shake(network: torch.nn.Module) -> None:
    """Norms that do something, and still keep a deep network's numbers near one."""
    generator = torch.Generator().manual_seed(1)
    for part in network.modules():
        if isinstance(part, torch.nn.BatchNorm2d):
            for tensor, low, high in (
                (part.weight, 0.2, 0.6), (part.bias, -0.1, 0.1), (part.running_mean, -0.1, 0.1), (part.running_var, 0.7, 1.3),
            ):  # fmt: skip
                with torch.no_grad():
                    tensor.uniform_(low, high, generator=generator)


# trainable numbers of the published networks up to their last map: all told, less classifiers and auxiliary heads
@pytest.mark.parametrize(
    ("name", "numbers"),
    [("vgg16", 14_714_688), ("vgg19", 20_024_384), ("vgg16-fc7", 138_357_544 - 4_097_000), ("resnet50", 25_557_032 - 2_049_000),
     ("resnet101", 44_549_160 - 2_049_000), ("resnet152", 60_192_808 - 2_049_000),
     ("googlenet", 6_624_904 - 1_025_000), ("inception_v3", 23_834_568 - 2_049_000)],
)  # fmt: skip
def test_sizes(name: str, numbers: int) -> None:
    with torch.device("meta"):
        made = Encoder(name, frozen=False)
    assert sum(value.numel() for value in made.parameters()) == numbers
    assert name in NETWORKS


@pytest.mark.parametrize(
    ("name", "pixels", "side", "channels"),
    [("vgg19", 224, 14, 512), ("vgg16", 224, 14, 512), ("vgg19-fc7", 224, 1, 4096), ("resnet50", 224, 7, 2048), ("googlenet", 224, 7, 1024),
     ("inception_v3", 299, 8, 2048)],
)  # fmt: skip
def test_maps(name: str, pixels: int, side: int, channels: int) -> None:
    """conv5 of VGG before its pooling is the 14 x 14 x 512 of Show, Attend and Tell."""
    with torch.device("meta"):
        made = Encoder(name, frozen=True)
        assert made(torch.zeros(1, 3, pixels, pixels)).shape == (1, channels, side, side)
    assert made.width == channels


@torch.no_grad()
@pytest.mark.slow
def test_fc7_is_the_second_linear_layer(tmp_path: Path) -> None:
    """A VGG as torchvision writes it: conv5 pooled to 7 x 7, classifier.0 and classifier.3 over the flat map, each with a
    ReLU; and the picture vector of Show and Tell is that. The layers are drawn sparse: they hold 119 M numbers."""
    network = captioner("vgg16").system.encoder.network
    told = {f"features.{key}": tensor for key, tensor in network.state_dict().items()}
    generator = torch.Generator().manual_seed(3)
    for key, width in (("classifier.0", 25088), ("classifier.3", 4096)):
        told[f"{key}.weight"] = torch.zeros(4096, width)
        at = torch.randint(width, (4096, 50), generator=generator)
        told[f"{key}.weight"].scatter_(1, at, torch.randn(4096, 50, generator=generator) / 5)
        told[f"{key}.bias"] = torch.randn(4096, generator=generator) / 10
    told["classifier.6.weight"] = torch.zeros(1000, 4096)
    torch.save(told, tmp_path / "vgg16.pth")
    ours = torchvision.start(captioner("vgg16-fc7"), tmp_path / "vgg16.pth").system
    images = torch.randn(2, 3, 64, 64, generator=generator)
    x = F.adaptive_avg_pool2d(F.max_pool2d(network(images), 2), 7).flatten(1)
    for key in ("classifier.0", "classifier.3"):
        x = F.linear(x, told[f"{key}.weight"], told[f"{key}.bias"]).relu()
    assert 0.01 < float(x.mean())
    torch.testing.assert_close(ours.encode_image(Batch(images=images[:, None])).encoded, x, **NEAR)


@torch.no_grad()
def test_resnet_beside_transformers(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    theirs = transformers.ResNetModel(transformers.ResNetConfig(depths=[3, 4, 6, 3])).eval()
    shake(theirs)
    told = {}
    for name, tensor in theirs.state_dict().items():
        for pattern, new in (
            (r"embedder\.embedder\.convolution\.", "conv1."),
            (r"embedder\.embedder\.normalization\.", "bn1."),
            (
                r"encoder\.stages\.(\d)\.layers\.(\d+)\.",
                lambda found: f"layer{int(found[1]) + 1}.{found[2]}.",
            ),
            (
                r"(layer\d\.\d+)\.layer\.(\d)\.convolution\.",
                lambda found: f"{found[1]}.conv{int(found[2]) + 1}.",
            ),
            (
                r"(layer\d\.\d+)\.layer\.(\d)\.normalization\.",
                lambda found: f"{found[1]}.bn{int(found[2]) + 1}.",
            ),
            (r"shortcut\.convolution\.", "downsample.0."),
            (r"shortcut\.normalization\.", "downsample.1."),
        ):
            name = re.sub(pattern, new, name)
        told[name] = tensor
    torch.save(told, tmp_path / "resnet50.pth")
    ours = torchvision.start(captioner("resnet50"), tmp_path / "resnet50.pth")
    images = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(2))
    expected = theirs(images).last_hidden_state
    assert 0.01 < float(expected.abs().mean()) < 100
    torch.testing.assert_close(ours.system.encoder(images), expected, **NEAR)


@torch.no_grad()
def test_googlenet_by_its_published_names(tmp_path: Path) -> None:
    """No library beside torchvision has it: its layers by their names there, one after the other."""
    network = Encoder("googlenet", frozen=False).network
    shake(network)
    places = dict(torchvision.places("googlenet", network))
    w = {places[ours].names[0]: tensor for ours, tensor in network.state_dict().items()}
    torch.save(w, tmp_path / "googlenet.pth")

    def unit(x: torch.Tensor, name: str, padding: int = 0, stride: int = 1) -> torch.Tensor:
        y = F.conv2d(x, w[f"{name}.conv.weight"], None, stride, padding)
        mean, var, gain, bias = (
            w[f"{name}.bn.{kind}"] for kind in ("running_mean", "running_var", "weight", "bias")
        )
        return F.batch_norm(y, mean, var, gain, bias, eps=1e-3).relu()

    def mixed(x: torch.Tensor, name: str) -> torch.Tensor:
        name = f"inception{name}"
        three = unit(unit(x, f"{name}.branch2.0"), f"{name}.branch2.1", 1)
        five = unit(unit(x, f"{name}.branch3.0"), f"{name}.branch3.1", 1)
        pooled = unit(F.max_pool2d(x, 3, 1, 1, ceil_mode=True), f"{name}.branch4.1")
        return torch.cat([unit(x, f"{name}.branch1"), three, five, pooled], 1)

    images = torch.randn(2, 3, 96, 96, generator=torch.Generator().manual_seed(2))
    x = F.max_pool2d(unit(images, "conv1", 3, 2), 3, 2, ceil_mode=True)
    x = F.max_pool2d(unit(unit(x, "conv2"), "conv3", 1), 3, 2, ceil_mode=True)
    x = F.max_pool2d(mixed(mixed(x, "3a"), "3b"), 3, 2, ceil_mode=True)
    for name in ("4a", "4b", "4c", "4d", "4e"):
        x = mixed(x, name)
    x = mixed(mixed(F.max_pool2d(x, 2, 2, ceil_mode=True), "5a"), "5b")
    ours = torchvision.start(captioner("googlenet"), tmp_path / "googlenet.pth").system.encoder
    assert float(x.abs().mean()) > 1e-3
    torch.testing.assert_close(ours(images), x, **NEAR)


@torch.no_grad()
@pytest.mark.parametrize("name", ["vgg16", "inception_v3", "resnet101"])
def test_beside_timm(tmp_path: Path, name: str) -> None:
    timm = pytest.importorskip("timm", reason="timm is not installed here: it needs torchvision")
    theirs = timm.create_model(name, pretrained=False).eval()
    shake(theirs)
    torch.save(theirs.state_dict(), tmp_path / "theirs.pth")
    ours = torchvision.start(captioner(name), tmp_path / "theirs.pth").system.encoder
    images = torch.randn(2, 3, 96, 96, generator=torch.Generator().manual_seed(2))
    expected = theirs.features[:-1](images) if name.startswith("vgg") else theirs.forward_features(images)
    torch.testing.assert_close(ours(images), expected, **NEAR)
