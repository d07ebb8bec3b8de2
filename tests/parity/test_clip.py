"""CLIP beside transformers' CLIPModel and open_clip's CLIP: random weights, moved through the published layouts."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

pytest.importorskip("transformers")

from published import clip_folder, clip_tokens, scatter  # noqa: E402

import pairloom  # noqa: E402
from pairloom.data.batch import Batch  # noqa: E402
from pairloom.model import at_size  # noqa: E402

TEXTS = ["a red square", "two cats", "a photo of a blue dog and a cat", ""]
NEAR = dict(atol=1e-5, rtol=1e-5)


def pictures(size: int = 32) -> torch.Tensor:
    return torch.randn(4, 1, 3, size, size, generator=torch.Generator().manual_seed(2))


@torch.no_grad()
@pytest.mark.parametrize("activation", ["quick_gelu", "gelu"])
def test_transformers(tmp_path: Path, activation: str) -> None:
    theirs = clip_folder(tmp_path, activation)
    ours = pairloom.load(tmp_path)
    assert ours.config.activation == activation
    batch = replace(ours.batch(texts=TEXTS), images=pictures())
    said = theirs(
        input_ids=batch.texts.ids, attention_mask=batch.texts.mask.long(), pixel_values=batch.images[:, 0]
    )
    torch.testing.assert_close(ours.system.embed_image(batch), said.image_embeds, **NEAR)
    torch.testing.assert_close(ours.system.embed_text(batch), said.text_embeds, **NEAR)
    told = theirs(
        input_ids=batch.texts.ids,
        attention_mask=batch.texts.mask.long(),
        pixel_values=batch.images[:, 0],
        return_loss=True,
    )
    loss = ours.system.losses(batch)["contrast"]
    torch.testing.assert_close(loss, told.loss, **NEAR)


@torch.no_grad()
def test_the_old_end_token(tmp_path: Path) -> None:
    """eos_token_id 2 means: the row of the highest id."""
    theirs = clip_folder(tmp_path, eos_token_id=2)
    ours = pairloom.load(tmp_path)
    batch = ours.batch(texts=TEXTS)
    found = theirs.text_model(input_ids=batch.texts.ids).pooler_output
    expected = torch.nn.functional.normalize(theirs.text_projection(found), dim=-1)
    torch.testing.assert_close(ours.system.embed_text(batch), expected, **NEAR)
    assert ours.config.sep == ours.tokens.sep == ours.tokens.size - 1


@torch.no_grad()
def test_pictures_of_another_size(tmp_path: Path) -> None:
    theirs = clip_folder(tmp_path)
    ours = at_size(pairloom.load(tmp_path), 48)
    images = pictures(48)
    rows = theirs.vision_model(pixel_values=images[:, 0], interpolate_pos_encoding=True).pooler_output
    expected = torch.nn.functional.normalize(theirs.visual_projection(rows), dim=-1)
    torch.testing.assert_close(ours.system.embed_image(Batch(images=images)), expected, **NEAR)


@torch.no_grad()
@pytest.mark.parametrize("kind", ["vit", "resnet"])
def test_open_clip(tmp_path: Path, kind: str) -> None:
    open_clip = pytest.importorskip("open_clip", reason="open_clip is not installed here")
    tokens = clip_tokens()
    image = {"image_size": 32, "width": 48, "layers": 2, "patch_size": 8, "head_width": 24, "mlp_ratio": 3.0}
    if kind == "resnet":
        image = {"image_size": 64, "width": 16, "layers": [1, 2, 1, 1], "patch_size": None, "head_width": 64}
    text = {"context_length": 20, "vocab_size": tokens.size, "width": 32, "heads": 2, "layers": 2}
    config = {"embed_dim": 24, "quick_gelu": kind == "vit", "vision_cfg": image, "text_cfg": text}
    theirs = open_clip.CLIP(
        24, open_clip.CLIPVisionCfg(**image), open_clip.CLIPTextCfg(**text), quick_gelu=kind == "vit"
    ).eval()
    scatter(theirs, 3)
    state = {name: tensor.contiguous() for name, tensor in theirs.state_dict().items()}
    save_file(state, tmp_path / "open_clip_model.safetensors")
    (tmp_path / "open_clip_config.json").write_text(json.dumps({"model_cfg": config}))
    tokens.save(tmp_path)
    ours = pairloom.load(tmp_path)
    batch = replace(ours.batch(texts=TEXTS), images=pictures(ours.config.image_size))
    ids = torch.nn.functional.pad(
        batch.texts.ids.masked_fill(~batch.texts.mask, 0), (0, 20 - batch.texts.ids.shape[1])
    )
    expected = theirs.encode_image(batch.images[:, 0], normalize=True)
    torch.testing.assert_close(ours.system.embed_image(batch), expected, **NEAR)
    torch.testing.assert_close(ours.system.embed_text(batch), theirs.encode_text(ids, normalize=True), **NEAR)
