"""DALL-E 2 beside diffusers' unCLIP pipeline with random weights: prior, decoder, both steps of super-resolution, a sampled picture."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

pytest.importorskip("diffusers")
pytest.importorskip("transformers")

from fuzzing import changes_of, faults, sample, tensor_changes  # noqa: E402
from unclip_folder import image_encoder, unclip_folder  # noqa: E402

import pairloom  # noqa: E402
from pairloom.errors import Mistake  # noqa: E402
from pairloom.weights.diffusers import sniff as sniffs_stable_diffusion  # noqa: E402

# diffusers' own, of a pipeline that it no longer develops
pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")
TEXTS = ["a red square", "two cats and a dog"]
CLOSE = {"atol": 1e-5, "rtol": 1e-4}


@pytest.fixture(scope="module")
def where(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("unclip") / "karlo"


@pytest.fixture(scope="module")
def pipe(where) -> Any:
    return unclip_folder(where, images=True)


@pytest.fixture(scope="module")
def model(pipe, where) -> Any:
    return pairloom.load(where, device="cpu")


@pytest.fixture(scope="module")
def texts(pipe, model) -> Any:
    """(projected, rows, mask) of diffusers, and our conditioning."""
    theirs = pipe._encode_prompt(TEXTS, "cpu", 1, False)
    batch = model.batch(texts=TEXTS)
    with torch.no_grad():
        return theirs, model.system.encode_text(*batch.text())


@torch.no_grad()
def test_the_text_encoder(texts) -> None:
    (projected, rows, mask), ours = texts
    torch.testing.assert_close(ours.pooled, projected, **CLOSE)
    torch.testing.assert_close(ours.context, rows.masked_fill(~mask[..., None], 0), **CLOSE)
    assert ours.mask.equal(mask)


@torch.no_grad()
def test_the_prior(pipe, model, texts) -> None:
    (projected, rows, mask), ours = texts
    noisy = torch.randn(2, 32, generator=torch.Generator().manual_seed(1))
    for t in (0, 400, 999):
        theirs = pipe.prior(noisy, t, projected, rows, mask).predicted_image_embedding
        torch.testing.assert_close(model.system.prior(noisy, torch.full((2,), t), *ours), theirs, **CLOSE)
    restored = pipe.prior.post_process_latents(noisy)
    torch.testing.assert_close(model.system._unscaled(noisy), restored, **CLOSE)
    torch.testing.assert_close(model.system._scaled(restored), noisy, **CLOSE)


@torch.no_grad()
def test_the_decoder(pipe, model, texts) -> None:
    (projected, rows, mask), ours = texts
    generator = torch.Generator().manual_seed(2)
    image, noisy = torch.randn(2, 32, generator=generator), torch.randn(2, 3, 8, 8, generator=generator)
    context, added = pipe.text_proj(
        image_embeddings=image, prompt_embeds=projected, text_encoder_hidden_states=rows, do_classifier_free_guidance=False
    )  # fmt: skip
    masked = torch.nn.functional.pad(mask, (4, 0), value=True)
    theirs = pipe.decoder(noisy, 300, context, class_labels=added, attention_mask=masked).sample
    read = model.system.decoder.conditioning(image, ours)
    torch.testing.assert_close(model.system.decoder(noisy, torch.full((2,), 300), read), theirs, **CLOSE)


@torch.no_grad()
def test_both_steps_of_super_resolution(pipe, model) -> None:
    generator = torch.Generator().manual_seed(3)
    small, noisy = (
        torch.randn(2, 3, 8, 8, generator=generator),
        torch.randn(2, 3, 16, 16, generator=generator),
    )
    large = torch.nn.functional.interpolate(
        small, size=[16, 16], mode="bicubic", align_corners=False, antialias=True
    )
    enlarger = model.system.up_256
    predict = enlarger.beside(enlarger.enlarge(small))
    for network, t in ((pipe.super_res_first, 500), (pipe.super_res_last, 0)):
        theirs = network(torch.cat([noisy, large], 1), t).sample
        torch.testing.assert_close(predict(noisy, torch.full((2,), t)), theirs, **CLOSE)


@pytest.mark.parametrize(("prior", "decoder"), [(1.0, 1.0), (4.0, 8.0)])
def test_a_sampled_picture(pipe, model, prior: float, decoder: float) -> None:
    steps = {name: 3 for name in ("prior", "decoder", "super_res")}
    theirs = pipe(
        TEXTS, generator=[torch.Generator().manual_seed(seed) for seed in (5, 6)], output_type="np",
        prior_guidance_scale=prior, decoder_guidance_scale=decoder,
        **{f"{name}_num_inference_steps": count for name, count in steps.items()},
    ).images  # fmt: skip
    ours = model.system.draw(
        model.batch(texts=TEXTS), seeds=[5, 6], steps=3, guidance=decoder, prior_guidance=prior
    )
    ours = (ours / 2 + 0.5).permute(0, 2, 3, 1)
    torch.testing.assert_close(ours, torch.from_numpy(theirs), atol=1e-5, rtol=1e-4)
    assert ours.std() > 0.05


@torch.no_grad()
def test_embeddings_of_pictures(model) -> None:
    encoder = image_encoder()
    pixels = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(4))
    mean, std = (
        torch.tensor([0.48145466, 0.4578275, 0.40821073]),
        torch.tensor([0.26862954, 0.26130258, 0.27577711]),
    )
    normal = (pixels - mean[:, None, None]) / std[:, None, None]
    theirs = encoder(normal).image_embeds
    torch.testing.assert_close(model.system.image_embedding(pixels * 2 - 1), theirs, **CLOSE)


def test_what_it_can_be_asked(pipe, model, where, tmp_path) -> None:
    assert [one.name for one in model.system.abilities] == ["embed", "denoise", "draw"]
    copy = tmp_path / "without"
    shutil.copytree(where, copy)
    shutil.rmtree(copy / "image_encoder")
    without = pairloom.load(copy, device="cpu")
    assert [one.name for one in without.system.abilities] == ["denoise", "draw"]
    assert without.config.judge == "decoder"
    assert without.draw("a red square", seed=1, steps=2) is not None


def test_a_part_that_it_lacks_is_not_trained(model) -> None:
    batch = model.batch(texts=TEXTS)
    with pytest.raises(Mistake, match="no part up_1024"):
        model.system.losses(replace(batch, images=torch.zeros(2, 1, 3, 16, 16)), "up_1024")


def test_other_pipelines_are_named(where, pipe, tmp_path) -> None:
    assert not sniffs_stable_diffusion(where)
    copy = tmp_path / "other"
    shutil.copytree(where, copy)
    index = json.loads((copy / "model_index.json").read_text())
    (copy / "model_index.json").write_text(json.dumps({**index, "_class_name": "KandinskyV22PriorPipeline"}))
    with pytest.raises(Mistake, match="KandinskyV22PriorPipeline"):
        pairloom.load(copy, device="cpu")
    shutil.rmtree(copy / "prior")
    (copy / "model_index.json").write_text(json.dumps(index))
    with pytest.raises(Mistake, match="has no prior"):
        pairloom.load(copy, device="cpu")


def test_whatever_stands_in_its_files(where, pipe) -> None:
    files = [
        f"{part}/config.json" for part in ("prior", "decoder", "text_proj", "text_encoder", "super_res_last")
    ]
    files += ["decoder_scheduler/scheduler_config.json", "model_index.json"]
    changes = [change for file in files for change in sample(changes_of(where, file), 2)]
    changes += sample(tensor_changes(where, "prior/diffusion_pytorch_model.safetensors"), 2)
    assert faults(where, lambda folder: pairloom.load(folder, device="cpu"), changes) == []
