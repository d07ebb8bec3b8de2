"""Latent diffusion beside diffusers: pipelines with random weights, drawn and scored; the released scoring loop restated."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

pytest.importorskip("diffusers")
pytest.importorskip("transformers")

from diffused import pipeline_folder  # noqa: E402
from PIL import Image  # noqa: E402

import pairloom  # noqa: E402
from pairloom.tasks.denoise import PROTOCOLS, DenoisingScorer  # noqa: E402

# diffusers' own, under numpy 2
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy keyword")
TEXTS = ["a red square", "two cats and a dog", "a photo of a blue circle", "red", ""]
EXACT = replace(PROTOCOLS["published"], half=False, sampled=False, brightened=False)
KINDS = [
    ("PNDMScheduler", "epsilon"),
    ("DDIMScheduler", "v_prediction"),
    ("EulerDiscreteScheduler", "epsilon"),
]
# every scheduler at few steps; the released run's 250 with one, since the times do not depend on the scheduler
LOOPS = [
    *((*kind, 4) for kind in KINDS),
    *(pytest.param(*kind, 10, marks=pytest.mark.slow) for kind in KINDS),
    pytest.param(*KINDS[2], 250, marks=pytest.mark.slow),
]


def pictures(count: int = 3) -> list[Image.Image]:
    """Of other sides than the model's, and not square."""
    random = np.random.default_rng(4)
    return [
        Image.fromarray(random.integers(0, 256, (40, 24, 3), dtype=np.uint8), "RGB") for _ in range(count)
    ]


@torch.no_grad()
def literal(
    pipe: Any, bank: torch.Tensor, image: Image.Image, text: str, steps: int, normal: bool
) -> list[float]:
    """The released loop in diffusers' words: at every time the picture is encoded again, noised by the scheduler and scaled
    for the network; the norms of what is left are taken (and, beside them, the mean squares), less those of the empty text.
    The mean latent instead of a draw without a seed, so that there is something to compare."""
    pixels = np.asarray(image.resize((32, 32)), np.float32) / 255
    picture = torch.from_numpy(pixels).permute(2, 0, 1)[None] * 2 - 1
    ids = pipe.tokenizer(
        ["", text], padding="max_length", max_length=20, truncation=True, return_tensors="pt"
    ).input_ids
    context = pipe.text_encoder(ids)[0]
    found = []
    for step, t in enumerate(range(10, 990, int(1000 / steps))):
        latent = pipe.vae.encode(picture).latent_dist.mean * pipe.vae.config.scaling_factor
        noisy = pipe.scheduler.add_noise(latent, bank[step][None], torch.tensor([t]))
        if hasattr(pipe.scheduler, "_step_index"):
            pipe.scheduler._step_index = None  # Euler then looks the time up, as it did at every call in 2023
        noisy = pipe.scheduler.scale_model_input(noisy, torch.tensor(t))
        lengths = []
        for row in (1, 0) if normal else (1,):
            said = pipe.unet(noisy, t, encoder_hidden_states=context[row : row + 1]).sample
            if pipe.scheduler.config.prediction_type == "v_prediction":
                share = pipe.scheduler.alphas_cumprod[t]
                said = share**0.5 * said + (1 - share) ** 0.5 * noisy
            left = bank[step] - said
            lengths.append(torch.stack([left.norm(p=2), left.square().mean()]))
        found.append(lengths[0] - lengths[1] if normal else lengths[0])
    return (-torch.stack(found).mean(0)).tolist()


@pytest.mark.parametrize(("kind", "prediction", "steps"), LOOPS)
def test_the_released_loop(tmp_path: Path, kind: str, prediction: str, steps: int) -> None:
    """Scores under 1e-5 apart for both distances, raw and normalised; the same best of texts and of pictures."""
    pipe = pipeline_folder(tmp_path / "pipe", kind, prediction)
    model = pairloom.load(tmp_path / "pipe")
    images, texts = pictures(2 if steps > 100 else 3), TEXTS[: 2 if steps > 100 else 4]
    bank = torch.randn(245, *model.system.latent, generator=torch.Generator().manual_seed(1))
    pairs = [(i, t) for i in range(len(images)) for t in range(len(texts))]
    told = np.array([literal(pipe, bank, images[i], texts[t], steps, True) for i, t in pairs])
    raw = np.array([literal(pipe, bank, images[0], text, steps, False) for text in texts])
    for column, distance in enumerate(("l2norm", "mse")):
        scorer = DenoisingScorer(model, steps=steps, protocol=EXACT, distance=distance, bank=bank)
        assert len(scorer.denoiser.times) == {4: 4, 10: 10, 250: 245}[steps]
        said = scorer.scores(images, texts, pairs)
        np.testing.assert_allclose(said, told[:, column], atol=1e-5, rtol=0)
        few = scorer.scores(images, texts, pairs[: len(texts)], alpha=0.0)
        np.testing.assert_allclose(few, raw[:, column], atol=1e-5, rtol=0)
        ours, theirs = said.reshape(len(images), -1), told[:, column].reshape(len(images), -1)
        assert (ours.argmax(0) == theirs.argmax(0)).all() and (ours.argmax(1) == theirs.argmax(1)).all()


def calls(model: Any, run: Any) -> dict[str, int]:
    """Rows that went through each network while `run` ran."""
    counts = {"vae": 0, "text": 0, "unet": 0}
    parts = {"vae": model.system.vae.encoder, "text": model.system.text.first, "unet": model.system.unet}

    def counter(name: str) -> Any:
        def count(_: Any, given: tuple[Any, ...], named: dict[str, Any]) -> None:
            counts[name] += len(given[0] if given else named["input_ids"])

        return count

    hooks = [part.register_forward_pre_hook(counter(name), with_kwargs=True) for name, part in parts.items()]
    run()
    for hook in hooks:
        hook.remove()
    return counts


def test_nothing_is_computed_twice(tmp_path: Path) -> None:
    """10 texts, 4 pictures, 10 steps: 4 pictures and 10 (11) texts are encoded, 400 (440) questions asked. The released
    loop encodes 400 pictures and asks 400 (800)."""
    pipeline_folder(tmp_path / "pipe")
    model = pairloom.load(tmp_path / "pipe")
    texts = [f"a red cat and {number} dogs" for number in range(10)]
    pairs = [(i, t) for i in range(4) for t in range(10)]
    for alpha, expected in ((0.0, (4, 10, 400)), (1.0, (4, 11, 440))):
        scorer = DenoisingScorer(model, steps=10, alpha=alpha)
        found = calls(model, lambda scorer=scorer: scorer.scores(pictures(4), texts, pairs + pairs))
        assert tuple(found.values()) == expected
        told = [scorer.cost[name] for name in ("image encodings", "text encodings", "UNet evaluations")]
        assert tuple(told) == expected


@torch.no_grad()
@pytest.mark.parametrize(
    "kind", ["PNDMScheduler", "DDIMScheduler", "EulerDiscreteScheduler", "EulerAncestralDiscreteScheduler"]
)
def test_drawing(tmp_path: Path, kind: str) -> None:
    """The pictures that the pipeline draws from the same first noise, with guidance."""
    pipe = pipeline_folder(tmp_path / "pipe", kind, "v_prediction" if kind.startswith("DDIM") else "epsilon")
    model = pairloom.load(tmp_path / "pipe")
    chances = [torch.Generator().manual_seed(seed) for seed in (3, 4)]
    first = torch.stack([torch.randn(model.system.latent, generator=chance) for chance in chances])
    theirs = pipe(
        TEXTS[:2],
        num_inference_steps=6,
        guidance_scale=5.0,
        latents=first,
        generator=chances,
        output_type="pt",
    ).images
    ours = model.system.draw(model.batch(texts=TEXTS[:2]), steps=6, guidance=5.0, seeds=[3, 4])
    torch.testing.assert_close(ours / 2 + 0.5, theirs, atol=2e-5, rtol=0)
    alone = model.system.draw(model.batch(texts=TEXTS[1:2]), steps=6, guidance=5.0, seeds=[4])
    torch.testing.assert_close(alone[0], ours[1], atol=2e-5, rtol=0)


@torch.no_grad()
@pytest.mark.parametrize("kind, guidance, more", [
    ("DDIMScheduler", 0.0, {}), ("DDIMScheduler", 1.0, {}), ("DDIMScheduler", 0.5, {}),
    ("LCMScheduler", 8.5, {"time_cond_proj_dim": 8}), ("LCMScheduler", 1.0, {"time_cond_proj_dim": 8}),
])  # fmt: skip
def test_drawing_without_a_second_pass(
    tmp_path: Path, kind: str, guidance: float, more: dict[str, int]
) -> None:
    """Guidance up to 1 is none, as turbo models are drawn; a latent consistency model is given the scale."""
    pipe = pipeline_folder(tmp_path / "pipe", kind, **more)
    model = pairloom.load(tmp_path / "pipe")
    assert model.system.reads_guidance == bool(more)
    chances = [torch.Generator().manual_seed(seed) for seed in (3, 4)]
    first = torch.stack([torch.randn(model.system.latent, generator=chance) for chance in chances])
    known = dict(
        num_inference_steps=4, guidance_scale=guidance, latents=first, generator=chances, output_type="pt"
    )
    theirs = pipe(TEXTS[:2], **known).images
    calls = []
    model.system.unet.register_forward_hook(lambda *_: calls.append(1))
    ours = model.system.draw(model.batch(texts=TEXTS[:2]), steps=4, guidance=guidance, seeds=[3, 4])
    torch.testing.assert_close(ours / 2 + 0.5, theirs, atol=2e-5, rtol=0)
    assert len(calls) == 4


@torch.no_grad()
def test_two_text_encoders(tmp_path: Path) -> None:
    """SDXL: the context, the pooled row and the sizes reach the network as in its pipeline."""
    pipe = pipeline_folder(tmp_path / "pipe", "EulerDiscreteScheduler", xl=True)
    model = pairloom.load(tmp_path / "pipe")
    assert model.config.pad == model.tokens.pad != model.config.pad_2
    context, _, pooled, _ = pipe.encode_prompt(TEXTS, do_classifier_free_guidance=False)
    said = model.system.text(*model.batch(texts=TEXTS).text())
    torch.testing.assert_close(said.context, context, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(said.pooled, pooled, atol=1e-5, rtol=1e-5)
    first = torch.randn(model.system.latent, generator=torch.Generator().manual_seed(3))
    theirs = pipe(TEXTS[1], num_inference_steps=4, latents=first[None], output_type="pt").images
    ours = model.system.draw(model.batch(texts=TEXTS[1:2]), steps=4, guidance=5.0, seeds=[3])
    torch.testing.assert_close(ours / 2 + 0.5, theirs, atol=2e-5, rtol=0)


@torch.no_grad()
@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
def test_the_training_loss(tmp_path: Path, prediction: str) -> None:
    """The loss of the official fine-tuning recipe at the times and noise that evaluation draws."""
    pipe = pipeline_folder(tmp_path / "pipe", "DDIMScheduler", prediction)
    model = pairloom.load(tmp_path / "pipe")
    batch = model.batch(pictures(2), TEXTS[:2])
    loss = model.system.losses(batch)["denoise"]
    chance = torch.Generator().manual_seed(0)
    t = torch.randint(1000, (2,), generator=chance)
    noise = torch.randn(2, *model.system.latent, generator=chance)
    latents = pipe.vae.encode(batch.images[:, 0]).latent_dist.mean * pipe.vae.config.scaling_factor
    context = pipe.encode_prompt(TEXTS[:2], "cpu", 1, False)[0]
    said = pipe.unet(pipe.scheduler.add_noise(latents, noise, t), t, context).sample
    goal = noise if prediction == "epsilon" else pipe.scheduler.get_velocity(latents, noise, t)
    torch.testing.assert_close(loss, torch.nn.functional.mse_loss(said, goal), atol=1e-5, rtol=1e-5)
