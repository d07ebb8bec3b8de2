"""The discrete VAE of DALL-E beside the one that transformers has for FLAVA, whose folders are read."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import FlavaImageCodebook, FlavaImageCodebookConfig

from pairloom.data.tokens import Tokens
from pairloom.errors import Mistake
from pairloom.model import Model, build
from pairloom.weights.exchange import with_part

TOKENS = Tokens.train(["a red square"] * 3, 64)


@pytest.fixture(scope="module")
def reference() -> FlavaImageCodebook:
    torch.manual_seed(0)
    config = FlavaImageCodebookConfig(hidden_size=8, vocab_size=64, num_blocks_per_group=2)
    return FlavaImageCodebook(config).eval()


@pytest.fixture(scope="module")
def folder(reference: FlavaImageCodebook, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("flava-image-codebook")
    reference.save_pretrained(folder)
    return folder


def with_codebook(system: str, folder: Path) -> Model:
    return with_part(build(system, TOKENS, "tiny"), "codebook", folder)


@torch.no_grad()
def test_the_codes_equal_those_of_flava(reference: FlavaImageCodebook, folder: Path) -> None:
    dalle, beit3 = (with_codebook(name, folder).system for name in ("dalle", "beit3"))
    assert (dalle.config.code_width, dalle.config.code_blocks, dalle.config.codebook) == (8, 2, 64)
    images = torch.rand(3, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    expected = reference(0.8 * images + 0.1)  # transformers maps pixels in its processor
    logits = dalle.codebook.encoder.logits(2 * images - 1)
    torch.testing.assert_close(logits, expected, atol=1e-5, rtol=1e-5)
    codes = reference.get_codebook_indices(0.8 * images + 0.1).flatten(1)
    assert dalle.codebook.encode(2 * images - 1).equal(codes)
    assert beit3.codebook(2 * images - 1).equal(codes)


def test_names_that_are_missing_or_unknown_are_said(folder: Path, tmp_path: Path) -> None:
    tensors = load_file(folder / "model.safetensors")
    save_file(tensors | {"something.else": torch.zeros(2)}, tmp_path / "model.safetensors")
    with pytest.raises(Mistake, match="Not known here: something.else"):
        with_codebook("beit3", tmp_path)
    narrow = "blocks.group_3.group.block_2.res_path.path.conv_4.bias"
    save_file({name: one for name, one in tensors.items() if name != narrow}, tmp_path / "model.safetensors")
    with pytest.raises(Mistake, match="Missing: groups.7.layers.7.bias"):
        with_codebook("beit3", tmp_path)
