"""Variations, interpolation and text differences: inversion comes back, spheres by hand, seeds matter as far as eta says."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

pytest.importorskip("diffusers")

from pairloom.data.tokens import Tokens  # noqa: E402
from pairloom.errors import Mistake  # noqa: E402
from pairloom.model import build  # noqa: E402
from pairloom.systems._sampling import Diffusion  # noqa: E402
from pairloom.systems.dalle2 import TINY  # noqa: E402
from pairloom.tasks.variations import interpolation, slerp, text_difference, variations  # noqa: E402


@pytest.fixture(scope="module")
def model():
    built = build("dalle2", Tokens.train(["a red ball", "two blue cats"] * 3, 120), "tiny")
    return replace(built, system=built.system.eval())


@pytest.fixture(scope="module")
def pictures():
    return torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(1)) * 2 - 1


def test_slerp_by_hand() -> None:
    x, y = torch.tensor([[2.0, 0.0]]), torch.tensor([[0.0, 2.0]])
    torch.testing.assert_close(slerp(x, y, 0.5), torch.full((1, 2), math.sqrt(2)))
    third = slerp(x, y, 1 / 3)[0]
    assert third.tolist() == pytest.approx([2 * math.cos(math.pi / 6), 2 * math.sin(math.pi / 6)])
    torch.testing.assert_close(slerp(x, 3 * x, 0.5), 2 * x)
    torch.testing.assert_close(slerp(x, y, 0.0), x)
    torch.testing.assert_close(slerp(x, y, 1.0), y, atol=1e-6, rtol=0)


def test_inversion_comes_back() -> None:
    """For a smooth estimate of the noise the sampler undoes the inversion, the more steps the better; for a constant one at once."""
    diffusion = Diffusion({**TINY.noise["decoder"], "clip_sample": False})
    clean, errors = torch.linspace(-1, 1, 5)[None, None, None], []
    for steps, predict in (
        (5, lambda x, t: 0 * x + 0.5), (10, lambda x, t: 0.2 * x.sin()), (80, lambda x, t: 0.2 * x.sin()),
        (400, lambda x, t: 0.2 * x.sin()),
    ):  # fmt: skip
        noise = diffusion.inverted(steps, clean, predict)
        drawn = diffusion.sample(steps, noise, predict, [torch.Generator()], 0.0)
        errors.append(float((drawn - clean).abs().max()))
    assert errors[0] < 1e-4 and 0.2 > errors[1] > errors[2] > errors[3] and errors[3] < 2e-3


def test_seeds_matter_as_far_as_eta_says(model, pictures) -> None:
    image, noise = model.system.invert(pictures, 4)
    decoded = [
        model.system.decode(
            image, model.system.empty_text(2), [torch.Generator().manual_seed(seed)] * 2, 4, 1.0, noise, eta
        )
        for eta in (0.0, 1.0)
        for seed in (1, 2)
    ]
    assert decoded[0].equal(decoded[1]) and not decoded[2].allclose(decoded[3])
    assert variations(model, pictures, [1, 2], steps=2).shape == pictures.shape


@torch.no_grad()
def test_interpolation_begins_and_ends_with_the_pictures(model, pictures) -> None:
    between = interpolation(model, pictures, [0.0, 0.5, 1.0], steps=3)
    ends = variations(model, pictures, [0, 0], eta=0.0, steps=3)
    assert between.shape == (3, 3, 32, 32)
    torch.testing.assert_close(between[0], ends[0], atol=1e-4, rtol=1e-4)
    assert not between[1].allclose(ends[0], atol=1e-3)


def test_a_text_difference_changes_nothing_at_share_zero(model, pictures) -> None:
    same = text_difference(model, pictures, "a red ball", "two blue cats", 0.0, steps=3)
    torch.testing.assert_close(
        same, variations(model, pictures, [0, 0], eta=0.0, steps=3), atol=1e-4, rtol=1e-4
    )
    other = text_difference(model, pictures, "a red ball", "two blue cats", 0.4, steps=3)
    assert not other.allclose(same, atol=1e-3)


def test_other_models_make_none(pictures) -> None:
    clip = build("clip", Tokens.train(["a red ball", "two blue cats"] * 3, 120), "tiny")
    with pytest.raises(Mistake, match="makes no variations"):
        variations(clip, pictures, [0, 1])
