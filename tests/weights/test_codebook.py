"""Codebooks as parts of new models: every name of their layouts at small sizes, and the codes that they give."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from published import bert_tokens
from released import Shapes, filled, linear, norm
from torch import Tensor

import pairloom
from pairloom.blocks.codebook_configs import DiscreteVaeConfig
from pairloom.errors import Mistake
from pairloom.model import Model, build, save
from pairloom.systems import beit3
from pairloom.train.log import read_log
from pairloom.weights import load
from pairloom.weights.exchange import with_part

TOKENS = bert_tokens()


def vq_kd() -> Shapes:
    """128 wide, 2 layers, 4 x 4 patches of 16, 24 codes of 8 numbers, a decoder of 1 layer."""
    shapes: Shapes = {"quantize.embedding.weight": (24, 8), "quantize.embedding.embed_avg": (24, 8)}
    shapes |= {f"quantize.{name}cluster_size": (24,) for name in ("", "embedding.")}
    shapes |= {"quantize.embedding.initted": (1,)}
    for stack, channels, patch, depth in (("encoder", 3, 16, 2), ("decoder", 8, 1, 1)):
        shapes |= {f"{stack}.cls_token": (1, 1, 128), f"{stack}.pos_embed": (1, 17, 128)}
        shapes |= {f"{stack}.patch_embed.proj.weight": (128, channels, patch, patch)}
        shapes |= {f"{stack}.patch_embed.proj.bias": (128,)} | norm(f"{stack}.fc_norm", 128)
        for layer in range(depth):
            name = f"{stack}.blocks.{layer}"
            shapes |= norm(f"{name}.norm1", 128) | norm(f"{name}.norm2", 128)
            shapes |= {f"{name}.attn.{one}_bias": (128,) for one in "qv"}
            shapes |= {f"{name}.attn.qkv.weight": (384, 128)} | linear(f"{name}.attn.proj", 128, 128)
            shapes |= linear(f"{name}.mlp.fc1", 512, 128) | linear(f"{name}.mlp.fc2", 128, 512)
    shapes |= linear("encode_task_layer.0", 128, 128) | linear("encode_task_layer.2", 8, 128)
    return shapes | linear("decode_task_layer.0", 128, 128) | linear("decode_task_layer.2", 32, 128)


CODES = [
    [1, 1, 11, 7, 11, 11, 11, 8, 6, 9, 7, 6, 11, 6, 6, 11],
    [4, 11, 6, 6, 1, 11, 6, 6, 11, 1, 1, 11, 6, 4, 1, 6],
]  # of BEiT v2's own module, with these tensors and pictures (docs/log.md)


def pictures(side: int = 64) -> Tensor:
    """Two random pictures in [-1, 1]."""
    draw = np.random.RandomState(8).uniform(0, 1, (2, 3, side, side))
    return 2 * torch.tensor(draw, dtype=torch.float32) - 1


def new(system: str = "beit3", *settings: str) -> Model:
    return build(system, TOKENS, "tiny", settings)


@pytest.fixture
def vq_kd_file(tmp_path: Path) -> Path:
    torch.save({"model": filled(vq_kd())}, tmp_path / "vqkd.pth")
    return tmp_path / "vqkd.pth"


@pytest.fixture(scope="module")
def painter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A DALL-E whose codebook counts as trained."""
    model = build("dalle", TOKENS, "tiny")
    save(replace(model, about={"parts": ["codebook"]}), folder := tmp_path_factory.mktemp("dalle") / "model")
    return folder


def test_the_tokenizer_of_beit_v2_gives_its_authors_codes(vq_kd_file: Path) -> None:
    model = with_part(new("beit3", "image_size=64", "patch=16"), "codebook", vq_kd_file)
    assert model.config.codes == 24 and model.system.codes.out_features == 24
    assert model.system.codebook(pictures()).tolist() == CODES
    assert model.about["codebook"] == "vqkd.pth"


def test_its_positions_are_interpolated_for_another_number_of_patches(vq_kd_file: Path) -> None:
    model = with_part(new("beit3", "image_size=48", "patch=8"), "codebook", vq_kd_file)
    assert model.system.codebook(pictures(48)).shape == (2, 36)


@pytest.mark.parametrize("name", ["encode_task_layer.2.bias", "encoder.blocks.1.attn.v_bias"])
def test_a_tokenizer_that_lacks_a_tensor_is_refused(name: str, tmp_path: Path) -> None:
    torch.save({key: one for key, one in filled(vq_kd()).items() if key != name}, tmp_path / "vqkd.pth")
    with pytest.raises(Mistake, match="Missing: "):
        with_part(new(), "codebook", tmp_path / "vqkd.pth")


def test_a_trained_dalle_gives_the_codes_of_the_patches(painter: Path) -> None:
    """Pictures of 4 x 4 patches are read at 32 px, where each code stands for 8 x 8 of these."""
    dalle, model = load(painter).system, with_part(new("beit3", "patch=8"), "codebook", painter)
    assert model.config.codes == 32 and model.pixels.mean == model.pixels.std == (0.5, 0.5, 0.5)
    assert torch.equal(model.system.codebook(pictures(32)), dalle.codebook.encode(pictures(32)))
    half = with_part(new("beit3", "patch=16"), "codebook", painter).system.codebook
    small = F.interpolate(pictures(32), (16, 16), mode="bicubic", antialias=True)
    assert torch.equal(half(pictures(32)), dalle.codebook.encode(small.clamp(-1, 1)))


def test_base_reads_beits_14_by_14_codes_from_112_pixels() -> None:
    """BEiT (section 2.1): 224 px are 14 x 14 patches, and the tokenizer reads 112 px."""
    with torch.device("meta"):
        config = replace(beit3.BASE, depth=1, codebook=DiscreteVaeConfig())
        assert beit3.System(config).codebook.pixels == 112


def test_what_is_no_codebook_is_refused(painter: Path, vq_kd_file: Path, tmp_path: Path) -> None:
    save(new("dalle"), tmp_path / "untrained")
    torch.save({"one": torch.zeros(2)}, tmp_path / "other.pth")
    for model, where, words in (
        (new(), tmp_path / "untrained", "was not trained"),
        (new(), tmp_path / "other.pth", "not a codebook"),
        (new("beit3", "data=0"), painter, "no use for a codebook"),
        (new("dalle"), vq_kd_file, "no discrete VAE"),
        (new("clip"), painter, "clip has no codebook"),
    ):
        with pytest.raises(Mistake, match=words):
            with_part(model, "codebook", where)


def test_what_the_batch_says_comes_first(painter: Path) -> None:
    system = with_part(new(), "codebook", painter).system
    batch = beit3.example(system.config, torch.Generator().manual_seed(1))
    assert torch.equal(system.patch_codes(batch), batch.codes.ids)
    own = replace(batch, codes=None, images=pictures(32)[torch.tensor([0, 1, 0, 1, 0, 1])][:, None])
    assert torch.equal(system.patch_codes(own)[:2], system.codebook(pictures(32)))
    with pytest.raises(ValueError, match="no codebook"):
        beit3.System(beit3.TINY).patch_codes(own)


def test_training_predicts_the_codes_of_hidden_patches(painter: Path, tmp_path: Path) -> None:
    """From Python; docs/papers/beit3.md has the words of the command line. The codebook travels in the model, and stays as it is."""
    pairs = tmp_path / "pairs"
    pairs.mkdir()
    for number in range(16):
        Image.new("RGB", (40, 40), (16 * number, 99, 0)).save(pairs / f"{number}.png")
        (pairs / f"{number}.txt").write_text(f"a picture number {number}")
    fast = dict(steps=2, batch=8, log_every=1, held_out=0.0, device="cpu")
    out = tmp_path / "out"
    pairloom.train("beit3", pairs, out, preset="tiny", init=f"codebook={painter}", **fast)
    assert all(0 < line["image"] < 5 for line in read_log(out))
    fresh, trained = load(painter).system.codebook.encoder, load(out).system.codebook.encoder
    assert all(torch.equal(one, trained.state_dict()[name]) for name, one in fresh.state_dict().items())
    more = pairloom.train("beit3", pairs, tmp_path / "more", init=out, preset="tiny", **fast)
    assert torch.equal(more.system.codebook(pictures(32)), load(painter).system.codebook.encode(pictures(32)))
