"""What the DALL-E 2 paper says: the order of the prior's sequence, what it predicts, what the decoder reads, what is left out and
corrupted in training, the choice of two priors, guidance."""

import math
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

pytest.importorskip("diffusers")

from pairloom.blocks.degradation import gaussian_blur, random_degradation  # noqa: E402
from pairloom.objectives.denoise import noised, variance_bound  # noqa: E402
from pairloom.systems import dalle2  # noqa: E402
from pairloom.systems._sampling import Diffusion, generators, guided  # noqa: E402

BASE = dalle2.PRESETS["base"]


def system(**changes):
    torch.manual_seed(0)
    built = dalle2.System(replace(dalle2.TINY, **changes)).eval()
    with torch.no_grad():
        for parameter in built.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
    return built


@pytest.fixture(scope="module")
def one():
    return system()


@pytest.fixture(scope="module")
def batch():
    return dalle2.example(dalle2.TINY, torch.Generator().manual_seed(3))


# sizes and settings (table 3)


def test_sizes_of_the_paper() -> None:
    assert BASE.sides == (64, 256, 1024) and BASE.steps == (64, 250, 27, 15)
    assert (BASE.prior_width, BASE.prior_depth, BASE.prior_heads, BASE.scale) == (2048, 24, 32, 17.2)
    assert (BASE.prior_drop, BASE.text_drop, BASE.image_drop, BASE.candidates) == (0.1, 0.5, 0.1, 2)
    assert BASE.decoder["block_out_channels"] == [512, 1024, 1536, 2048]
    assert BASE.up_1024["block_out_channels"] == [192 * times for times in (1, 1, 2, 2, 4, 4)]
    with torch.device("meta"):
        built = dalle2.System(BASE)

    def count(part) -> float:
        return sum(one.numel() for one in part.parameters()) / 1e9

    assert 0.9 < count(built.clip) < 1.1 and 1.1 < count(built.prior) < 1.4
    assert 0.6 < count(built.up_256) < 0.8 and 0.2 < count(built.up_1024) < 0.4  # 0.7 and 0.3 in the paper


def test_schedules_are_cosine_but_for_the_last_enlarger() -> None:
    shares = {part: Diffusion(settings).shares for part, settings in BASE.noise.items()}
    t = (torch.arange(1001, dtype=torch.float64) / 1000 + 0.008) / 1.008
    cosine = (t * math.pi / 2).cos().square()
    for part in ("prior", "decoder", "up_256"):
        torch.testing.assert_close(
            shares[part][:900], (cosine[1:901] / cosine[0]).float(), atol=1e-5, rtol=1e-3
        )
    betas = torch.linspace(0.0001, 0.02, 1000, dtype=torch.float64)
    torch.testing.assert_close(shares["up_1024"], (1 - betas).cumprod(0).float(), atol=1e-5, rtol=1e-3)


def test_recipes() -> None:
    recipe = dalle2.RECIPES["prior"]
    assert recipe["lr"] == 1.1e-4 and recipe["betas"] == (0.9, 0.96) and recipe["weight_decay"] == 0.06
    assert [dalle2.RECIPES[part]["batch"] for part in ("decoder", "up_256", "up_1024")] == [2048, 1024, 512]


# prior (section 2.2)


@torch.no_grad()
def test_the_prior_reads_words_text_time_noisy_embedding_and_query(one, batch) -> None:
    text, seen = one.encode_text(*batch.text()), []
    handle = one.prior.stack.register_forward_pre_hook(lambda module, args: seen.append(args))
    noisy, t = torch.randn(6, 16), torch.arange(6)
    output = one.prior(noisy, t, *text)
    handle.remove()
    x, mask = seen[0]
    x = x - one.prior.positions
    assert x.shape[1] == 12 + 4
    torch.testing.assert_close(x[:, :12], one.prior.words(text.context))
    torch.testing.assert_close(x[:, 12], one.prior.text(text.pooled))
    torch.testing.assert_close(x[:, 14], one.prior.noisy(noisy))
    torch.testing.assert_close(x[:, 15], one.prior.query[0].expand(6, -1))
    assert mask[0, 0].tril().equal(mask[0, 0]) and not mask[1, 0, -1, 5] and mask[1, 0, -1, 4]
    last = one.prior.norm(one.prior.stack(x + one.prior.positions, mask))[:, -1]
    torch.testing.assert_close(output, one.prior.out(last))


@torch.no_grad()
def test_the_prior_predicts_the_clean_embedding_times_its_scale(one, batch) -> None:
    assert one.scale == 4.0  # the root of 16
    image = one.image_embedding(batch.images[:, 0])
    torch.testing.assert_close(image.norm(dim=1), torch.ones(6))
    generator = torch.Generator().manual_seed(0)
    torch.rand(6, generator=generator)  # of the texts that are left out
    t = torch.randint(1000, (6,), generator=generator)
    noise = torch.randn(6, 16, generator=generator)
    noisy = noised(4 * image, noise, one.diffusions["prior"].shares[t])
    expected = F.mse_loss(one.prior(noisy, t, *one.encode_text(*batch.text())), 4 * image)
    torch.testing.assert_close(one.losses(batch, "prior")["denoise"], expected)


@torch.no_grad()
def test_of_two_embeddings_the_one_nearer_to_the_text_is_taken(one, batch) -> None:
    text, seeds = one.encode_text(*batch.text()), range(6)
    chances = generators(seeds)
    first = one.draw_embedding(text, chances, 3, candidates=1)
    second = one.draw_embedding(text, chances, 3, candidates=1)
    both = torch.stack([first, second], 1)
    nearest = (both * text.pooled[:, None]).sum(2).argmax(1)
    assert set(nearest.tolist()) == {0, 1}
    torch.testing.assert_close(one.draw_embedding(text, generators(seeds), 3), both[torch.arange(6), nearest])


# decoder (section 2.1)


@torch.no_grad()
def test_an_embedding_is_added_to_the_time_and_becomes_four_tokens(one, batch) -> None:
    text, image = one.encode_text(*batch.text()), torch.randn(6, 16)
    layer = one.decoder.conditioning
    read = layer(image, text)
    assert read.context.shape == (6, 4 + 12, 16) and read.mask[:, :4].all()
    assert read.mask[:, 4:].equal(text.mask)
    torch.testing.assert_close(read.pooled, layer.image_to_time(image) + layer.text_to_time(text.pooled))
    other = layer(torch.randn(6, 16), text)
    changed = (other.context - read.context).abs().amax((0, 2)) > 1e-6
    assert changed.tolist() == [True] * 4 + [False] * 12


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_embeddings_and_texts_are_left_out_in_training(batch, share: float) -> None:
    one, seen = system(image_drop=share, text_drop=share).train(), []
    one.decoder.conditioning.register_forward_pre_hook(lambda module, args: seen.append(args))
    one.losses(batch, "decoder")
    image, text = seen[0]
    with torch.no_grad():
        empty = one.empty_text(6)
        assert image.detach().allclose(one.decoder.no_image(6)) == (share == 1)
        assert text.context.allclose(empty.context) == (share == 1)


@torch.no_grad()
def test_guidance_leaves_out_embedding_and_text_together_and_spares_the_variance(one, batch) -> None:
    text, image = one.encode_text(*batch.text()), torch.randn(6, 16)
    noisy, t = torch.randn(6, 3, 8, 8), torch.full((6,), 500)
    stated = one.decoder(noisy, t, one.decoder.conditioning(image, text))
    free = one.decoder(noisy, t, one.decoder.conditioning(one.decoder.no_image(6), one.empty_text(6)))
    output = one._decoding(image, text, 3.0)(noisy, t)
    torch.testing.assert_close(output[:, :3], (free + 3 * (stated - free))[:, :3], atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(output[:, 3:], stated[:, 3:], atol=1e-5, rtol=1e-4)
    assert guided(stated, free, 1.0, 3).allclose(stated, atol=1e-5)


def test_only_the_variance_learns_from_its_bound() -> None:
    shares = Diffusion(BASE.noise["decoder"]).shares
    clean, noise = torch.rand(4, 3, 2, 2) * 2 - 1, torch.randn(4, 3, 2, 2)
    t = torch.tensor([5, 300, 600, 990])
    noisy = noised(clean, noise, shares[t])
    fraction = torch.zeros_like(clean, requires_grad=True)
    estimate = noise.clone().requires_grad_()
    variance_bound(clean, noisy, estimate, fraction, t, shares).backward()
    assert estimate.grad is None and fraction.grad.abs().sum() > 0
    # with the true noise and the least variance the step is the true one
    assert float(variance_bound(clean, noisy, noise, -torch.ones_like(clean), t, shares)) == pytest.approx(
        0, abs=1e-5
    )
    gap = 1.5 * torch.ones_like(clean)
    beta = 1 - shares[300] / shares[299]
    true = beta * (1 - shares[299]) / (1 - shares[300])
    one = slice(1, 2)
    wide = variance_bound(clean[one], noisy[one], noise[one], gap[one] / 1.5, t[one], shares)
    expected = 0.5 * (math.log(beta / true) - 1 + true / beta) / math.log(2)
    assert float(wide) == pytest.approx(float(expected), rel=1e-3)


# enlargers (section 2.1)


def test_enlargers_have_no_attention_and_read_no_text(one) -> None:
    for part in (one.up_256, one.up_1024):
        assert not any("Attention" in type(module).__name__ for module in part.modules())
        assert part.unet.config.in_channels == 6


def test_what_is_enlarged_is_blurred_and_cut_to_a_fourth_of_the_side(one, batch) -> None:
    images = batch.images[:, 0]
    for part, side in (("up_256", 16), ("up_1024", 32)):
        large, small = one._crops(images, part, torch.Generator().manual_seed(1))
        assert large.shape == small.shape == (6, 3, side // 4, side // 4)
    picture = torch.zeros(1, 3, 5, 5)
    picture[..., 2, 2] = 1
    weight = math.exp(-1 / (2 * 0.6**2))
    blurred = gaussian_blur(picture, 0.6)[0, 0]
    assert float(blurred[2, 2]) == pytest.approx(1 / (1 + 2 * weight) ** 2)
    assert float(blurred[2, 3]) == pytest.approx(weight / (1 + 2 * weight) ** 2) and float(blurred[0, 0]) == 0
    spoilt = random_degradation(images.clamp(-1, 1), torch.Generator().manual_seed(1))
    assert spoilt.shape == images.shape and spoilt.abs().max() <= 1 and not spoilt.allclose(images)


# judging


@torch.no_grad()
def test_either_part_judges(batch) -> None:
    for judge, latent in (("prior", (16, 1, 1)), ("decoder", (3, 8, 8))):
        one = system(judge=judge)
        assert one.latent == latent and one.times == 1000
        t, noise = torch.full((6,), 500), torch.randn(6, *latent, generator=torch.Generator().manual_seed(1))
        clean = one.posterior(batch.images[:, 0])[0]
        text = one.encode_text(*batch.text())
        noisy = noised(clean, noise, one.diffusions[judge].shares[t])
        if judge == "prior":
            share = one.diffusions["prior"].shares[500]
            estimate = (noisy - share.sqrt() * one.prior(noisy[..., 0, 0], t, *text)[..., None, None]) / (
                1 - share
            ).sqrt()
        else:
            estimate = one.decoder(noisy, t, one.decoder.conditioning(one.decoder.no_image(6), text))[:, :3]
        expected = (noise - estimate).square().flatten(1).mean(1)
        torch.testing.assert_close(one.denoising_error(batch, t, noise), expected, atol=1e-5, rtol=1e-4)


def test_what_does_not_fit_is_refused(one) -> None:
    with pytest.raises(ValueError, match="sides"):
        replace(dalle2.TINY, image_size=64)
    with pytest.raises(ValueError, match="judge=decoder"):
        replace(dalle2.TINY, reads_images=False)
    with pytest.raises(ValueError, match="longer than the 12"):
        one.encode_text(torch.ones(1, 13, dtype=torch.long), torch.ones(1, 13, dtype=torch.bool))
