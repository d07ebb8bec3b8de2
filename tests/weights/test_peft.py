"""Adapters of peft for a CLIP or a BLIP of transformers: added to the weights that they were trained for, or refused by name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

pytest.importorskip("transformers")

from published import blip_folder, clip_folder  # noqa: E402
from safetensors.torch import load_file, save_file  # noqa: E402

import pairloom  # noqa: E402
from pairloom.errors import Mistake  # noqa: E402

SETTINGS = {
    "peft_type": "LORA",
    "r": 2,
    "lora_alpha": 6,
    "bias": "none",
    "use_dora": False,
    "modules_to_save": None,
}
RANK = 2


def adapters(where: Path, base: Path, ending: tuple[str, ...], **settings: Any) -> dict[str, torch.Tensor]:
    """A folder of peft's on the layers whose names end so; what up down is for each of them, by the published name."""
    where.mkdir()
    chance, halves, products = torch.Generator().manual_seed(1), {}, {}
    for name, tensor in load_file(base / "model.safetensors").items():
        if not name.endswith(tuple(f"{one}.weight" for one in ending)):
            continue
        down = torch.randn(RANK, tensor.shape[1], generator=chance)
        up = torch.randn(tensor.shape[0], RANK, generator=chance)
        layer = "base_model.model." + name.removesuffix(".weight")
        halves |= {f"{layer}.lora_A.weight": down, f"{layer}.lora_B.weight": up}
        products[name] = up @ down
    save_file(halves, where / "adapter_model.safetensors")
    (where / "adapter_config.json").write_text(
        json.dumps({**SETTINGS, "base_model_name_or_path": str(base), **settings})
    )
    return products


def merged(base: Path, out: Path, products: dict[str, torch.Tensor], scale: dict[str, float]) -> Path:
    """A folder like the base, with the products added to its weights by hand."""
    out.mkdir()
    for file in base.iterdir():
        (out / file.name).write_bytes(file.read_bytes())
    tensors = load_file(base / "model.safetensors")
    for name, product in products.items():
        factor = next(value for sign, value in scale.items() if sign in name)
        tensors[name] = tensors[name] + factor * product
    save_file(tensors, out / "model.safetensors")
    return out


@pytest.mark.parametrize(("settings", "scale"), [
    ({}, {"": 3.0}),
    ({"use_rslora": True}, {"": 6 / 2**0.5}),
    ({"alpha_pattern": {"text_model.*q_proj": 1}}, {"text_model.encoder.layers.0.self_attn.q_proj": 0.5,
     "text_model.encoder.layers.1.self_attn.q_proj": 0.5, "": 3.0}),
])  # fmt: skip
def test_they_are_added_to_a_clip(tmp_path: Path, settings: dict[str, Any], scale: dict[str, float]) -> None:
    """W + alpha / rank * B A, or alpha / sqrt(rank), or an alpha of the layer's own; from a folder by itself and beside the model."""
    clip_folder(tmp_path / "base")
    products = adapters(tmp_path / "own", tmp_path / "base", ("q_proj", "v_proj", "fc1"), **settings)
    expected = pairloom.load(
        merged(tmp_path / "base", tmp_path / "merged", products, scale)
    ).system.state_dict()
    model = pairloom.load(tmp_path / "own")
    assert model.about["adapters"] == "own" and len(products) == 12
    for file in ("adapter_config.json", "adapter_model.safetensors"):
        (tmp_path / "base" / file).write_bytes((tmp_path / "own" / file).read_bytes())
    for state in (model.system.state_dict(), pairloom.load(tmp_path / "base").system.state_dict()):
        for name, tensor in state.items():
            torch.testing.assert_close(tensor, expected[name])


def test_they_are_added_to_a_blip(tmp_path: Path) -> None:
    blip_folder(tmp_path / "base", "caption")
    products = adapters(tmp_path / "own", tmp_path / "base", ("query", "self_attn.qkv"))
    expected = pairloom.load(
        merged(tmp_path / "base", tmp_path / "merged", products, {"": 3.0})
    ).system.state_dict()
    for name, tensor in pairloom.load(tmp_path / "own").system.state_dict().items():
        if name.startswith(("towers.text.", "towers.image.")):  # a captioner's file has nothing for the rest
            torch.testing.assert_close(tensor, expected[name])


@pytest.mark.parametrize(("settings", "said"), [
    ({"use_dora": True}, "use_dora=True"), ({"bias": "all"}, "bias=all"), ({"peft_type": "LOHA"}, "peft_type=LOHA"),
    ({"modules_to_save": ["visual_projection"]}, "modules_to_save"), ({"init_lora_weights": "pissa"}, "pissa"),
    ({"fan_in_fan_out": True}, "fan_in_fan_out"), ({"alpha_pattern": {"(": 3}}, "under a pattern of names"),
    ({"lora_alpha": "many"}, "'lora_alpha' in"), ({"base_model_name_or_path": "acme/no-such-model"}, "neither here nor in the local cache"),
    ({"base_model_name_or_path": None}, "does not say for which model"),
])  # fmt: skip
def test_what_is_not_built_is_named(tmp_path: Path, settings: dict[str, Any], said: str) -> None:
    clip_folder(tmp_path / "base")
    adapters(tmp_path / "own", tmp_path / "base", ("q_proj",), **settings)
    with pytest.raises(Mistake) as caught:
        pairloom.load(tmp_path / "own")
    assert said in str(caught.value)


def test_adapters_of_another_model(tmp_path: Path) -> None:
    clip_folder(tmp_path / "base"), blip_folder(tmp_path / "blip", "match")
    adapters(tmp_path / "own", tmp_path / "blip", ("query",), base_model_name_or_path=str(tmp_path / "base"))
    with pytest.raises(Mistake, match="are for another model.\nIt has no layer 'text_encoder"):
        pairloom.load(tmp_path / "own")
