"""DALL-E mini in min-dalle's files: every name of the layout at a small size, read back.

The expected numbers are what the package's own modules gave, run once on the same tensors (docs/log.md); they are no part of the project.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from released import Shapes, drawn, filled, norm

pytest.importorskip("diffusers")

from pairloom.errors import Mistake
from pairloom.weights import load

WIDTH, HIDDEN, CODES, CELLS, LENGTH = 128, 48, 12, 16, 8
VOCABULARY = {
    name: at for at, name in enumerate(["<s>", "<pad>", "</s>", "<unk>", *"Ġaderog", "re", "Ġre", "Ġred"])
}
MERGES = ["r e", "Ġ re", "Ġre d"]


def attention(name: str) -> Shapes:
    maps = {f"{name}.{one}_proj.weight": (WIDTH, WIDTH) for one in ("q", "k", "v", "out")}
    stem, _, last = name.rpartition(".")
    return maps | norm(f"{stem}.pre_{last}_layer_norm", WIDTH) | norm(f"{name}_layer_norm", WIDTH)


def layer(name: str, kinds: tuple[str, ...]) -> Shapes:
    shapes: Shapes = norm(f"{name}.glu.ln0", WIDTH) | norm(f"{name}.glu.ln1", HIDDEN)
    shapes |= {f"{name}.glu.fc{at}.weight": (HIDDEN, WIDTH) for at in (0, 1)}
    shapes |= {f"{name}.glu.fc2.weight": (WIDTH, HIDDEN)}
    for kind in kinds:
        shapes |= attention(f"{name}.{kind}")
    return shapes


def half(rows: int, places: int, kinds: tuple[str, ...]) -> Shapes:
    """encoder.pt or decoder.pt, of one layer."""
    tables = {"embed_tokens.weight": (rows, WIDTH), "embed_positions.weight": (places, WIDTH)}
    return tables | norm("layernorm_embedding", WIDTH) | norm("final_ln", WIDTH) | layer("layers.0", kinds)


def convolution(name: str, out: int, inside: int, side: int = 3) -> Shapes:
    return {f"{name}.weight": (out, inside, side, side), f"{name}.bias": (out,)}


def resnet(name: str, inside: int, out: int) -> Shapes:
    shapes = norm(f"{name}.norm1", inside) | convolution(f"{name}.conv1", out, inside)
    shapes |= norm(f"{name}.norm2", out) | convolution(f"{name}.conv2", out, out)
    return shapes if inside == out else shapes | convolution(f"{name}.nin_shortcut", out, inside, 1)


def image_attention(name: str, width: int) -> Shapes:
    shapes = norm(f"{name}.norm", width)
    for one in ("q", "k", "v", "proj_out"):
        shapes |= convolution(f"{name}.{one}", width, width, 1)
    return shapes


def detoker() -> Shapes:
    """detoker.pt of two stages, 32 and 64 wide, and latents of 8."""
    shapes: Shapes = {"embedding.weight": (CODES, 8), **convolution("post_quant_conv", 8, 8, 1)}
    shapes |= convolution("decoder.conv_in", 64, 8) | resnet("decoder.mid.block_1", 64, 64)
    shapes |= image_attention("decoder.mid.attn_1", 64) | resnet("decoder.mid.block_2", 64, 64)
    for at in range(3):
        shapes |= resnet(f"decoder.up.1.block.{at}", 64, 64) | image_attention(f"decoder.up.1.attn.{at}", 64)
        shapes |= resnet(f"decoder.up.0.block.{at}", 32 if at else 64, 32)
    shapes |= convolution("decoder.up.1.upsample.conv", 64, 64)
    return shapes | norm("decoder.norm_out", 32) | convolution("decoder.conv_out", 3, 32)


def files() -> dict[str, Shapes]:
    return {
        "encoder": half(len(VOCABULARY), LENGTH, ("self_attn",)),
        "decoder": half(CODES + 1, CELLS, ("self_attn", "encoder_attn"))
        | {"lm_head.weight": (CODES + 1, WIDTH)},
        "detoker": detoker(),
    }


def publish(where: Path, suffix: str = "", beside: str = "") -> Path:
    """Write the files, those of one model in the hub's way, or in the package's, in a folder `beside`."""
    for part, shapes in files().items():
        folder = where / ("vqgan" if part == "detoker" and beside else beside)
        folder.mkdir(parents=True, exist_ok=True)
        name = part if part == "detoker" else part + suffix
        torch.save(filled(shapes), folder / f"{name}.pt")
    (where / beside / f"vocab{suffix}.json").write_text(json.dumps(VOCABULARY), "utf-8")
    (where / beside / f"merges{suffix}.txt").write_text("\n".join(["#version: 0.2", *MERGES, ""]), "utf-8")
    return where


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return publish(tmp_path_factory.mktemp("min-dalle"))


@pytest.fixture(scope="module")
def model(folder: Path):
    return load(folder)


CODE_ROW = torch.arange(CELLS).mul(5).remainder(CODES)[None]


@torch.no_grad()
def test_logits_are_those_of_the_package(model):
    system = model.system
    ids, mask = model.batch(texts=["red dog"]).text()
    assert ids.tolist() == [[0, 13, 4, 6, 9, 10, 2]]
    empty = torch.tensor([[0, 2]])
    stated = system.writer(CODE_ROW, system.writer.read(ids, mask))[0]
    free = system.writer(CODE_ROW, system.writer.read(empty, torch.ones_like(empty, dtype=torch.bool)))[0]
    assert stated.shape == (CELLS, CODES)  # the decoder's last row is no code
    expected = torch.tensor(
        [[-1.562978, -1.637785, -1.277839, 0.664474], [-1.931644, -1.285009, -1.007957, 0.744856]]
    )
    torch.testing.assert_close(stated[[0, 2], :4], expected, atol=1e-5, rtol=1e-5)
    expected = torch.tensor([[0.454125, -1.396013], [-0.169519, -1.247944]])
    torch.testing.assert_close(free[[0, 2], :2], expected, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_pictures_are_those_of_the_package(model):
    pixels = model.system.vqgan.decode(CODE_ROW)
    assert pixels.shape == (1, 3, 8, 8)
    expected = torch.tensor([-1.161894, -0.375364, -1.011943])
    torch.testing.assert_close(pixels[0, :, 1, 2], expected, atol=1e-5, rtol=1e-5)
    expected = torch.tensor([1.182113, 1.559963, 1.200631])
    torch.testing.assert_close(pixels[0, 0, 5, :3], expected, atol=1e-5, rtol=1e-5)
    pictures = model.system.decode_codes(CODE_ROW)  # [0, 1] becomes [-1, 1]
    torch.testing.assert_close(pictures[0, :, 1, 2], -torch.ones(3))
    torch.testing.assert_close(pictures[0, 0, 5, :3], torch.ones(3))


def test_texts_are_lower_case_ascii(model):
    """Every word begins with a blank, however many stand between; what is no word of the vocabulary is unknown, letter by letter."""
    rows = model.tokens.rows(["  RED  é red", "red?", ""], LENGTH)
    assert rows == [[0, 13, 13, 2], [0, 13, 3, 2], [0, 2]]


def test_a_published_model_draws_and_does_not_train(model):
    assert model.system.trains_on == () and not hasattr(model.system.vqgan.model, "encoder")
    assert {one.name for one in model.system.abilities} == {"draw", "write_codes"}
    pictures = model.system.draw(model.batch(texts=["red dog", "red"]), seeds=[0, 1])
    assert pictures.shape == (2, 3, 8, 8) and bool(pictures.isfinite().all())


@pytest.mark.parametrize("suffix, beside", [("_mini", ""), ("", "dalle_bart_mega"), ("", "dalle_bart_mini")])
def test_every_way_the_files_are_laid_out(tmp_path, model, suffix, beside):
    again = load(publish(tmp_path, suffix, beside)).system.state_dict()
    assert all(torch.equal(value, again[name]) for name, value in model.system.state_dict().items())


@pytest.mark.parametrize(
    "name, content, reason",
    [
        ("vocab.json", "{", "no vocabulary that can be read"),
        ("merges.txt", "#\na b c\n", "no vocabulary that can be read"),
        ("vocab.json", json.dumps({f"w{at}": at for at in range(40)} | VOCABULARY), "another model's"),
    ],
)
def test_a_broken_vocabulary(tmp_path, name, content, reason):
    (publish(tmp_path) / name).write_text(content, "utf-8")
    with pytest.raises(Mistake, match=reason):
        load(tmp_path)


def test_missing_and_unknown_tensors_are_named(tmp_path):
    publish(tmp_path)
    torch.save(filled(half(CODES + 1, CELLS, ("self_attn", "encoder_attn"))), tmp_path / "decoder.pt")
    with pytest.raises(Mistake, match="writer.to_code.weight"):
        load(tmp_path)
    tensors = filled(files()["decoder"]) | {"more": drawn("more", (2,))}
    torch.save(tensors, tmp_path / "decoder.pt")
    with pytest.raises(Mistake, match="decoder.more"):
        load(tmp_path)
