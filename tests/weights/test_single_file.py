"""A Stable Diffusion in one file: converted by diffusers' own loader, with the settings of a pipeline's folder, without network."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

pytest.importorskip("diffusers")
pytest.importorskip("transformers")

from diffused import pipeline_folder  # noqa: E402
from safetensors.torch import save_file  # noqa: E402

import pairloom  # noqa: E402
from pairloom.api import import_weights  # noqa: E402
from pairloom.errors import Mistake  # noqa: E402
from pairloom.weights import load, single_file  # noqa: E402

RESNET = {
    "norm1": "in_layers.0", "conv1": "in_layers.2", "time_emb_proj": "emb_layers.1", "norm2": "out_layers.0",
    "conv2": "out_layers.3", "conv_shortcut": "skip_connection",
}  # fmt: skip
OUTER = {
    "conv_in": "input_blocks.0.0", "time_embedding.linear_1": "time_embed.0", "time_embedding.linear_2": "time_embed.2",
    "conv_norm_out": "out.0", "conv_out": "out.2",
}  # fmt: skip
ATTENTION = {"group_norm": "norm", "to_q": "q", "to_k": "k", "to_v": "v", "to_out.0": "proj_out"}


def of_network(name: str, layers: int) -> str:
    """The name of a tensor of the network in the first release. layers: of a block."""
    stem, _, kind = name.rpartition(".")
    if stem in OUTER:
        return f"{OUTER[stem]}.{kind}"
    side, at, *rest = name.split(".")
    if side == "mid_block":
        block, inner = (
            ("middle_block", {"resnets": {"0": "0", "1": "2"}, "attentions": {"0": "1"}}[at][rest[0]]),
            rest[1:],
        )
        return ".".join([*block, *renamed(at, inner)])
    part, number, *inner = rest
    place = int(at) * (layers + 1 if side == "down_blocks" else layers)
    if side == "down_blocks":
        place += 1 + (layers if part == "downsamplers" else int(number))
        spelt = {"resnets": "0", "attentions": "1", "downsamplers": "0"}[part]
        return ".".join(
            [
                f"input_blocks.{place}.{spelt}",
                *(["op", kind] if part == "downsamplers" else renamed(part, inner)),
            ]
        )
    place += layers - 1 if part == "upsamplers" else int(number)
    spelt = {"resnets": "0", "attentions": "1", "upsamplers": "1" if at == "0" else "2"}[part]
    return ".".join([f"output_blocks.{place}.{spelt}", *renamed(part, inner)])


def renamed(part: str, inner: list[str]) -> list[str]:
    return [RESNET.get(word, word) for word in inner] if part == "resnets" else inner


def of_autoencoder(name: str, blocks: int) -> str:
    """The name of a tensor of the autoencoder in the first release, whose decoder counts its blocks from the other end."""
    words = name.split(".")
    if len(words) < 4:
        return name.replace("conv_norm_out", "norm_out")
    side, group, *rest = words
    if group == "mid_block":
        part, number, *inner = rest
        inner_name = ".".join(inner)
        for ours, theirs in ATTENTION.items():
            inner_name = inner_name.replace(f"{ours}.", f"{theirs}.") if part == "attentions" else inner_name
        return f"{side}.mid.{'attn' if part == 'attentions' else 'block'}_{int(number) + 1}.{inner_name}"
    at, part, number, *inner = rest
    at = at if side == "encoder" else str(blocks - 1 - int(at))
    here = f"{side}.{'down' if side == 'encoder' else 'up'}.{at}"
    if part == "resnets":
        return f"{here}.block.{number}." + ".".join(inner).replace("conv_shortcut", "nin_shortcut")
    return f"{here}.{part.removesuffix('rs')}." + ".".join(inner)


def first_release(pipe: Any) -> dict[str, torch.Tensor]:
    """The tensors of a pipeline by the names of the first release."""
    layers, blocks = pipe.unet.config.layers_per_block, len(pipe.vae.config.block_out_channels)
    tensors = {}
    for name, tensor in pipe.unet.state_dict().items():
        up = name.startswith("up_blocks")
        tensors["model.diffusion_model." + of_network(name, layers + up)] = tensor
    for name, tensor in pipe.vae.state_dict().items():
        flat = "mid_block.attentions" in name and name.endswith("weight") and "group_norm" not in name
        tensors["first_stage_model." + of_autoencoder(name, blocks)] = (
            tensor[..., None, None] if flat else tensor
        )
    for name, tensor in pipe.text_encoder.state_dict().items():
        whole = name if name.startswith("text_model.") else f"text_model.{name}"
        tensors[f"cond_stage_model.transformer.{whole}"] = tensor
    return {name: tensor.contiguous() for name, tensor in tensors.items()}


@pytest.fixture(scope="module")
def pipe(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Path]:
    where = tmp_path_factory.mktemp("single") / "pipe"
    return pipeline_folder(where), where


def settings_of(where: Path, out: Path) -> Path:
    """The folder of a pipeline without its weights."""
    shutil.copytree(where, out, ignore=shutil.ignore_patterns("*.safetensors", "*.bin"))
    return out


def test_one_file_is_the_pipeline(pipe: tuple[Any, Path], tmp_path: Path) -> None:
    """The same tensors as from the pipeline's own folder; settings beside the file, or in a folder that is named."""
    tensors, expected = first_release(pipe[0]), pairloom.load(pipe[1]).system.state_dict()
    settings = settings_of(pipe[1], tmp_path / "settings")
    (tmp_path / "alone").mkdir()
    save_file(tensors, settings / "model.safetensors")
    torch.save({"state_dict": tensors, "epoch": 3}, tmp_path / "alone" / "model.ckpt")
    for model in (
        pairloom.load(settings / "model.safetensors"),
        load(tmp_path / "alone" / "model.ckpt", config=settings),
    ):
        state = model.system.state_dict()
        assert state.keys() == expected.keys()
        assert all(torch.equal(state[name], tensor) for name, tensor in expected.items())
    facts = import_weights(tmp_path / "alone" / "model.ckpt", tmp_path / "out", config=settings)
    assert "in one file (model.ckpt; settings of settings)" in facts["source"]


def test_what_is_missing_is_named(
    pipe: tuple[Any, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(single_file, "cached", lambda name: None)
    tensors = first_release(pipe[0])
    save_file(tensors, tmp_path / "model.safetensors")
    with pytest.raises(
        Mistake, match="holds weights alone.\n.*stable-diffusion.*\npairloom import .* --config FOLDER"
    ):
        pairloom.load(tmp_path / "model.safetensors")
    with pytest.raises(Mistake, match="has no unet and no vae"):
        load(tmp_path / "model.safetensors", config=tmp_path)
    with pytest.raises(Mistake, match="--config is for a Stable Diffusion in one file"):
        load(pipe[1], config=pipe[1])
    torch.save({"state_dict": tensors, "run": print}, tmp_path / "model.ckpt")
    with pytest.raises(Mistake, match="more than tensors"):
        load(tmp_path / "model.ckpt", config=pipe[1])
