"""OpenAI's CLIP files: a TorchScript archive is read as data, its code never runs; open_clip's folders go round."""

from __future__ import annotations

import json
import pickle
import warnings
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest
import torch

pytest.importorskip("transformers")

from published import TEXTS, clip_tokens, scatter  # noqa: E402

import pairloom  # noqa: E402
from pairloom.checkpoints.script import is_script, read_script  # noqa: E402
from pairloom.data.tokens import Tokens  # noqa: E402
from pairloom.errors import Mistake  # noqa: E402
from pairloom.model import Model, build  # noqa: E402
from pairloom.weights import open_clip  # noqa: E402
from pairloom.weights.openai_clip import to_openai  # noqa: E402

# widths of 64 to a head, as all of OpenAI's models have
VIT = ["width=64", "heads=1", "image_width=64", "image_heads=1", "length=20"]
RESNET = [
    "width=64",
    "heads=1",
    "stages=1,2,1,1",
    "image_width=16",
    "image_heads=8",
    "image_size=64",
    "length=20",
]
IDLE = dict(patch=32, image_depth=12)  # what a ResNet does not use stays as it is


class Tree(torch.nn.Module):
    """Tensors under dotted names, in half precision as OpenAI's are."""

    def __init__(self, tensors: dict[str, torch.Tensor]) -> None:
        super().__init__()
        for name, tensor in tensors.items():
            first, _, rest = name.partition(".")
            if not rest:
                half = tensor.half() if tensor.is_floating_point() else tensor
                self.register_buffer(first, half)
            elif first not in self._modules:
                inner = {key: value for key, value in tensors.items() if key.startswith(f"{first}.")}
                self.add_module(first, Tree({key.partition(".")[2]: value for key, value in inner.items()}))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x


def script(tensors: dict[str, torch.Tensor], where: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch has begun to retire TorchScript; the files stay
        torch.jit.script(Tree(tensors)).save(str(where))


def model_of(settings: list[str]) -> Model:
    model = build("clip", clip_tokens(), "tiny", settings).eval()
    scatter(model.system, 4)
    with torch.no_grad():
        for tensor in model.system.state_dict().values():
            tensor.copy_(tensor.half())
    return model


@torch.no_grad()
@pytest.mark.parametrize("settings", [VIT, RESNET], ids=["vit", "resnet"])
def test_an_archive_of_openais(tmp_path: Path, settings: list[str]) -> None:
    model = model_of(settings)
    marks = {name: torch.tensor(7) for name in ("input_resolution", "context_length", "vocab_size")}
    script(to_openai(model.system) | marks, tmp_path / "ViT-B-32.pt")
    model.tokens.save(tmp_path)
    found = pairloom.load(tmp_path / "ViT-B-32.pt")
    assert found.config == replace(
        model.config, pad=model.tokens.sep, **(IDLE if model.config.stages else {})
    )
    for name, tensor in model.system.state_dict().items():
        assert torch.equal(found.system.state_dict()[name], tensor), name
    assert found.pixels.fit == "crop" and found.texts(["two cats"]).ids[0, -1] == found.config.sep


def test_every_kind_of_tensor_in_an_archive(tmp_path: Path) -> None:
    """Views, transposes, shared storages and integers come out as they went in."""
    base = torch.arange(24.0).half()
    tensors = {
        "a.b": base.view(4, 6).T,
        "a.c": base[3:9],
        "d": torch.tensor(5),
        "e.0.f": torch.randn(2, 0).half(),
    }
    script(tensors, tmp_path / "t.pt")
    assert is_script(tmp_path / "t.pt")
    found = read_script(tmp_path / "t.pt")
    assert found.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert found[name].dtype == tensor.dtype and torch.equal(found[name], tensor), name


def forge(where: Path, program: bytes) -> None:
    with zipfile.ZipFile(where, "w") as archive:
        archive.writestr("x/constants.pkl", b"\x80\x02).")
        archive.writestr("x/data.pkl", program)


def test_an_archive_is_not_run(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self):
            return (Path(tmp_path / "sprung").touch, ())

    forge(tmp_path / "trap.pt", pickle.dumps({"model": Trap()}, 2))
    with pytest.raises(Mistake):
        pairloom.load(tmp_path / "trap.pt")
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize(
    "program",
    [
        b"",
        b"\x80\x02",
        b"\x80\x02(.",
        b"garbage",
        b"\x80\x02h\x05.",
        pickle.dumps({1, 2}, 4),
        b"\x80\x02]]a.",
        b"Vx\nQ.",
    ],
)
def test_a_spoilt_archive_is_named(tmp_path: Path, program: bytes) -> None:
    forge(tmp_path / "bad.pt", program)
    try:
        assert read_script(tmp_path / "bad.pt") == {}
    except Mistake as mistake:
        assert "cannot be read as a TorchScript archive" in mistake.what
    with pytest.raises(Mistake):
        pairloom.load(tmp_path / "bad.pt")


def test_a_bare_file_that_does_not_tell_its_activation(tmp_path: Path) -> None:
    model = model_of(VIT)
    torch.save({"state_dict": to_openai(model.system)}, tmp_path / "epoch_32.pt")
    with pytest.raises(Mistake, match="open_clip_config.json"):
        pairloom.load(tmp_path / "epoch_32.pt")


def test_a_bare_file_without_a_tokenizer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from pairloom.weights import _hub

    monkeypatch.setattr(_hub, "_packaged", lambda: [])
    monkeypatch.setattr(_hub, "cached", lambda name: None)
    script(to_openai(model_of(VIT).system) | {"vocab_size": torch.tensor(7)}, tmp_path / "ViT-B-32.pt")
    with pytest.raises(Mistake, match="bpe_simple_vocab_16e6.txt.gz"):
        pairloom.load(tmp_path / "ViT-B-32.pt")


@torch.no_grad()
@pytest.mark.parametrize("settings", [[*VIT, "activation=gelu", "image_heads=4", "growth=3"], RESNET])
def test_open_clips_folder_goes_round(tmp_path: Path, settings: list[str]) -> None:
    model = model_of(settings)
    open_clip.export(model, tmp_path / "out")
    found = pairloom.load(tmp_path / "out")
    assert found.config == replace(
        model.config, pad=model.tokens.sep, **(IDLE if model.config.stages else {})
    )
    assert found.tokens.rows(TEXTS, 20) == model.tokens.rows(TEXTS, 20)
    assert found.pixels == replace(model.pixels, crop_scale=None)  # its folder does not tell how to train
    for name, tensor in model.system.state_dict().items():
        assert torch.equal(found.system.state_dict()[name], tensor), name


@pytest.mark.parametrize(
    ("part", "changes", "said"),
    [
        ("vision_cfg", {"timm_model_name": "vit"}, "timm"),
        ("vision_cfg", {"timm_model_name": "resnet50d", "timm_pool": "abs_attn"}, "timm_pool=abs_attn"),
        ("text_cfg", {"hf_model_name": "roberta"}, "text tower 'roberta' are not known"),
        ("vision_cfg", {"pool_type": "none"}, "pool_type=none"),
        ("vision_cfg", {"qk_norm": True}, "qk_norm=True"),
        ("vision_cfg", {"layers": 3}, "Missing: image.stack.layers.2"),
        ("text_cfg", {"vocab_size": 99}, "another model's|does not fit"),
        ("text_cfg", {"not_yet_invented": True}, "not_yet_invented=True"),
    ],
)
def test_towers_that_are_not_built_are_named(tmp_path: Path, part: str, changes: dict, said: str) -> None:
    open_clip.export(model_of(VIT), tmp_path / "out")
    file = tmp_path / "out" / "open_clip_config.json"
    told = json.loads(file.read_text())
    told["model_cfg"][part] |= changes
    file.write_text(json.dumps(told))
    with pytest.raises(Mistake, match=said):
        pairloom.load(tmp_path / "out")


def test_a_tokenizer_like_berts_cannot_go_to_open_clip(tmp_path: Path) -> None:
    model = build("clip", Tokens.train(TEXTS, 100), "tiny")
    with pytest.raises(Mistake, match="CLIP's own tokenizer"):
        open_clip.export(model, tmp_path / "out")
