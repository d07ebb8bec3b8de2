"""Encoders from published files: what fits, what is left behind, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from pairloom.blocks.encoder import Encoder
from pairloom.data.tokens import Tokens
from pairloom.errors import Mistake
from pairloom.model import Model, build
from pairloom.weights import torchvision
from pairloom.weights.exchange import with_part

TOKENS = Tokens.train(["a red square"] * 3, 64)


def captioner(encoder: str, system: str = "show_and_tell") -> Model:
    return build(system, TOKENS, "base", [f"encoder={encoder}", "width=8", "image_size=64"])


def published(name: str, seed: int = 1) -> dict[str, torch.Tensor]:
    """A file as torchvision writes it: an encoder of other weights under its names, and a classifier."""
    torch.manual_seed(seed)
    network = Encoder(name, frozen=False).network
    state = network.state_dict()
    told = {place.names[0]: state[ours] for ours, place in torchvision.places(name, network)}
    assert len(told) == len(state)
    head = "classifier.0" if name.startswith("vgg") else "fc"
    return told | {f"{head}.weight": torch.zeros(3, 4), f"{head}.bias": torch.zeros(3)}


@pytest.mark.parametrize("name", ["vgg16", "googlenet", "resnet50"])
def test_every_tensor_arrives(tmp_path: Path, name: str) -> None:
    told = published(name)
    torch.save(told, tmp_path / "file.pth")
    model = with_part(captioner(name), "encoder", tmp_path / "file.pth")
    network = model.system.encoder.network
    for ours, place in torchvision.places(name, network):
        assert torch.equal(network.state_dict()[ours], told[place.names[0]]), ours
    halves = name == "googlenet"
    assert model.pixels.mean == ((0.5, 0.5, 0.5) if halves else (0.485, 0.456, 0.406))
    assert model.about["encoder"] == "file.pth"


def test_names_are_torchvisions() -> None:
    """Names and shapes as they stand in the published files, a few of each network."""
    known = {
        "vgg16": {"features.0.weight": (64, 3, 3, 3), "features.28.bias": (512,)},
        "vgg19": {"features.34.weight": (512, 512, 3, 3)},
        "resnet101": {"conv1.weight": (64, 3, 7, 7), "layer3.22.bn3.running_var": (1024,),
                      "layer4.0.downsample.0.weight": (2048, 1024, 1, 1)},
        "googlenet": {"conv3.conv.weight": (192, 64, 3, 3), "inception4e.branch2.1.conv.weight": (320, 160, 3, 3),
                      "inception5b.branch4.1.bn.bias": (128,)},
        "inception_v3": {"Conv2d_4a_3x3.conv.weight": (192, 80, 3, 3), "Mixed_6e.branch7x7dbl_5.conv.weight": (192, 192, 1, 7),
                         "Mixed_6c.branch7x7_3.conv.weight": (192, 160, 7, 1), "Mixed_7a.branch7x7x3_4.bn.weight": (192,),
                         "Mixed_7c.branch3x3dbl_3b.conv.weight": (384, 384, 3, 1)},
    }  # fmt: skip
    for name, wanted in known.items():
        with torch.device("meta"):
            network = Encoder(name, frozen=False).network
        found = {
            place.names[0]: tuple(network.state_dict()[key].shape)
            for key, place in torchvision.places(name, network)
        }
        assert {key: found[key] for key in wanted} == wanted
        assert (
            torchvision.network_of({key: torch.empty(shape, device="meta") for key, shape in found.items()})
            == name
        )


def test_a_folder_of_timm_says_how_pictures_are_prepared(tmp_path: Path) -> None:
    save_file(published("resnet50"), tmp_path / "model.safetensors")
    told = {"architecture": "resnet50", "pretrained_cfg": {"mean": [0.5, 0.4, 0.3], "std": [0.2, 0.2, 0.1]}}
    (tmp_path / "config.json").write_text(json.dumps(told))
    model = torchvision.start(captioner("resnet50", "show_attend_tell"), tmp_path)
    assert model.pixels.mean == (0.5, 0.4, 0.3) and model.pixels.std == (0.2, 0.2, 0.1)


def test_old_files_count_no_batches(tmp_path: Path) -> None:
    told = {name: tensor for name, tensor in published("resnet50").items() if "num_batches" not in name}
    torch.save(told, tmp_path / "old.pth")
    torchvision.start(captioner("resnet50"), tmp_path / "old.pth")


def test_what_does_not_fit_is_a_mistake(tmp_path: Path) -> None:
    file = tmp_path / "file.pth"
    torch.save(published("resnet50"), file)
    with pytest.raises(Mistake, match="It is a resnet50") as caught:
        torchvision.start(captioner("vgg16"), file)
    assert "model.encoder=resnet50" in caught.value.do
    with pytest.raises(Mistake, match="no encoder that published weights fit"):
        torchvision.start(build("show_and_tell", TOKENS, "tiny"), file)
    with pytest.raises(Mistake, match="no encoder"):
        torchvision.start(build("clip", TOKENS, "tiny"), file)
    with pytest.raises(Mistake, match="a part 'encodr'") as caught:
        with_part(captioner("resnet50"), "encodr", file)
    assert "'encoder'" in caught.value.do
    torch.save({"conv1.weight": torch.zeros(64, 3, 7, 7)}, file)
    with pytest.raises(Mistake, match="none of VGG"):
        torchvision.start(captioner("resnet50"), file)
    lost = published("resnet50")
    del lost["layer2.1.conv2.weight"]
    torch.save(lost, file)
    with pytest.raises(Mistake, match="Missing: 2.1.conv_2.weight"):
        torchvision.start(captioner("resnet50"), file)
