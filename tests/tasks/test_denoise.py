"""Judging by denoising, with an oracle: pictures drawn from a mixture of Gaussians whose best denoiser is known exactly."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from pairloom.data.tokens import Tokens
from pairloom.data.transform import Transform
from pairloom.errors import Mistake
from pairloom.model import Model
from pairloom.objectives.denoise import distance, noised
from pairloom.systems._diffusion_text import TextConditioning
from pairloom.tasks.denoise import (
    PROTOCOLS,
    DenoisingScorer,
    decide,
    grid,
    learnt_schedule,
    seeded_noise,
    telling_weights,
)
from pairloom.verbs import DENOISE, EMBED

SIDE, CLASSES = 4, 10
NAMES = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]


TOKENS = Tokens.train(NAMES * 2, 200)
PLACE = {TOKENS.rows([name], 8)[0][1]: number for number, name in enumerate(NAMES)}


class Oracle(nn.Module):
    """Latents are pixels [3 4 4]; class c is a Gaussian round means[c], of deviation `spread`; the empty text is the
    mixture. What noise is expected in x_t follows from Bayes' rule. It reads the number of a text's first word; -1 where there is no text."""

    abilities = (DENOISE,)

    def __init__(self, means: Tensor, spread: float) -> None:
        super().__init__()
        self.means = nn.Parameter(means, requires_grad=False)
        self.spread, self.times, self.latent = spread, 1000, (3, SIDE, SIDE)
        self.shares = torch.cumprod(1 - torch.linspace(0.00085**0.5, 0.012**0.5, 1000) ** 2, 0)
        self.config = SimpleNamespace(length=8)

    def encode_text(self, tokens: Tensor, mask: Tensor) -> TextConditioning:
        return TextConditioning(torch.tensor([[[float(PLACE[int(row[1])])]] for row in tokens]))

    def empty_text(self, rows: int) -> TextConditioning:
        return TextConditioning(torch.full((rows, 1, 1), -1.0))

    def posterior(self, images: Tensor) -> tuple[Tensor, None]:
        return images, None

    def residual(self, latents: Tensor, t: Tensor, noise: Tensor, said: TextConditioning) -> Tensor:
        share = self.shares[t]
        noisy = noised(latents, noise, share)
        a = share[:, None, None, None]
        variance = a * self.spread**2 + 1 - a
        each = noisy[:, None] - a[:, None].sqrt() * self.means  # [B K 3 4 4]
        chosen = said.context[:, 0, 0].long()
        fits = torch.softmax(-each.square().flatten(2).sum(2) / (2 * variance[:, 0, 0, 0, None]), 1)
        fits = torch.where(
            chosen[:, None] < 0, fits, nn.functional.one_hot(chosen.clamp(min=0), len(self.means)).float()
        )
        gap = (each * fits[..., None, None, None]).sum(1)
        return noise - (1 - a).sqrt() * gap / variance


@pytest.fixture(scope="module")
def model() -> Model:
    generator = torch.Generator().manual_seed(0)
    system = Oracle(0.2 * torch.randn(CLASSES, 3, SIDE, SIDE, generator=generator), 0.25)
    return Model("oracle", system, TOKENS, Transform(SIDE, (0.5,) * 3, (0.5,) * 3))


def drawn(model: Model, count: int, seed: int, hard: bool = False) -> tuple[list[Image.Image], np.ndarray]:
    """Pictures of the mixture and their classes. hard: some have much more noise of their own than others."""
    random = np.random.default_rng(seed)
    classes = random.integers(CLASSES, size=count)
    width = random.choice([0.05, 0.6], (count, 1, 1, 1)) if hard else model.system.spread
    values = model.system.means.numpy()[classes] + width * random.normal(size=(count, 3, SIDE, SIDE))
    pixels = np.clip(np.round((values + 1) * 127.5), 0, 255).astype(np.uint8).transpose(0, 2, 3, 1)
    return [Image.fromarray(one) for one in pixels], classes


def every(images: int, texts: int) -> list[tuple[int, int]]:
    return [(image, text) for image in range(images) for text in range(texts)]


def bayes(model: Model, images: list[Image.Image]) -> np.ndarray:
    """The most likely class of every picture: the nearest mean."""
    values = np.stack([np.asarray(image, np.float32) for image in images]).transpose(0, 3, 1, 2) / 127.5 - 1
    return ((values[:, None] - model.system.means.numpy()) ** 2).sum((2, 3, 4)).argmin(1)


def test_the_best_text_is_bayes_answer(model: Model) -> None:
    images, _ = drawn(model, 60, 1)
    scorer = DenoisingScorer(model, steps=100)
    scores = scorer.scores(images, NAMES, every(60, CLASSES)).reshape(60, CLASSES)
    assert (scores.argmax(1) == bayes(model, images)).mean() > 0.93


def test_pictures_need_the_empty_text(model: Model) -> None:
    """The paper's claim, without weights: between a wrong easy picture and a right hard one the raw error names the easy one;
    less the error of the empty text it names the right one."""
    images, classes = drawn(model, 60, 2, hard=True)
    easy = distances(model, images, classes) < 0.1
    scorer = DenoisingScorer(model, steps=50)
    raw, less = (
        scorer.scores(images, NAMES, every(60, CLASSES), alpha).reshape(60, CLASSES) for alpha in (0.0, 1.0)
    )
    pairs = [(i, j) for i in np.flatnonzero(~easy) for j in np.flatnonzero(easy) if classes[i] != classes[j]]
    right = [[table[i, classes[i]] > table[j, classes[i]] for i, j in pairs] for table in (raw, less)]
    assert len(pairs) > 500 and np.mean(right[0]) < 0.5 and np.mean(right[1]) > 0.95
    assert (raw.argmax(1) == less.argmax(1)).all()  # what is taken off is the same for all texts of a picture


def distances(model: Model, images: list[Image.Image], classes: np.ndarray) -> np.ndarray:
    """Mean distance of every picture from its class's mean."""
    values = np.stack([np.asarray(image, np.float32) for image in images]).transpose(0, 3, 1, 2) / 127.5 - 1
    return np.abs(values - model.system.means.numpy()[classes]).mean((1, 2, 3))


@pytest.mark.parametrize("antithetic", [True, False])
def test_racing_is_right_as_often_as_it_says(model: Model, antithetic: bool) -> None:
    """Against all rounds, on close cases too; and it says what it asked."""
    images, _ = drawn(model, 60, 3)
    cases = [[(image, text) for text in range(CLASSES)] for image in range(60)]
    options: dict[str, Any] = {"antithetic": antithetic}
    full = decide(DenoisingScorer(model, steps=60), images, NAMES, cases, delta=0.0, **options)
    for delta in (0.1, 0.01):
        scorer = DenoisingScorer(model, steps=60)
        made = decide(scorer, images, NAMES, cases, delta=delta, **options)
        assert np.mean([one.winner != other.winner for one, other in zip(made, full)]) <= delta
        assert scorer.cost["UNet evaluations"] == sum(one.rounds.sum() for one in made) * (1 + antithetic)
        assert scorer.cost["UNet evaluations"] < 0.5 * 60 * CLASSES * 60 * (1 + antithetic)


def test_a_schedule_learnt_from_other_pictures(model: Model) -> None:
    """Fewer questions for the same answers, as often as it says; what it cost is counted."""
    cases = [[(image, text) for text in range(CLASSES)] for image in range(60)]
    scorer = DenoisingScorer(model, steps=60)
    schedule = learnt_schedule(scorer, drawn(model, 20, 12)[0], NAMES, cases[:20], antithetic=False)
    assert scorer.cost["UNet evaluations"] == 20 * CLASSES * 60
    images, _ = drawn(model, 60, 3)
    plain = DenoisingScorer(model, steps=60)
    full = decide(plain, images, NAMES, cases, delta=0.0, antithetic=False)
    spent = {}
    for told in (None, schedule):
        scorer = DenoisingScorer(model, steps=60)
        made = decide(scorer, images, NAMES, cases, delta=0.02, antithetic=False, schedule=told)
        assert np.mean([one.winner != other.winner for one, other in zip(made, full)]) <= 0.02
        spent[told is None] = scorer.cost["UNet evaluations"]
        assert spent[told is None] == sum(one.rounds.sum() for one in made)
    assert spent[False] < 0.6 * spent[True]


def test_the_noise_and_its_negative(model: Model) -> None:
    """Paired differences of two texts vary less under +-noise than under as many independent draws."""
    images, _ = drawn(model, 30, 4)
    system, spreads = model.system, {}
    mean = torch.from_numpy(model.pixels.normalise(np.stack([np.asarray(one) for one in images])))
    noise = seeded_noise(system.latent, 80, 5)
    t = torch.full((30,), 500)
    said = [TextConditioning(torch.full((30, 1, 1), float(name))) for name in (0, 1)]

    def gap(one: Tensor) -> Tensor:
        errors = [distance(system.residual(mean, t, one.expand(30, -1, -1, -1), text)) for text in said]
        return errors[0] - errors[1]

    for name, other in (("turned", -noise[:40]), ("fresh", noise[40:])):
        spreads[name] = float(
            torch.stack([(gap(a) + gap(b)) / 2 for a, b in zip(noise[:40], other)]).std(0).mean()
        )
    assert spreads["turned"] < 0.7 * spreads["fresh"]


def test_winoground_shares_what_it_asks(model: Model) -> None:
    """Two texts by two pictures are four pairs and, among pictures, two empty texts: six questions a round, not twelve."""
    images, _ = drawn(model, 2, 6)
    cases = [[(0, 0), (0, 1)], [(1, 0), (1, 1)], [(0, 0), (1, 0)], [(0, 1), (1, 1)]]
    scorer = DenoisingScorer(model, steps=8)
    made = decide(scorer, images, NAMES, cases, delta=0.0, antithetic=False)
    assert scorer.cost["UNet evaluations"] == 8 * 6 and scorer.cost["image encodings"] == 2
    scores = DenoisingScorer(model, steps=8).scores(images, NAMES, [(0, 0), (1, 0)])
    np.testing.assert_allclose(made[2].scores, scores, rtol=1e-4)


def test_how_batches_are_cut_does_not_matter(model: Model) -> None:
    images, _ = drawn(model, 5, 7)
    pairs = every(5, 4)
    whole = DenoisingScorer(model, steps=10).scores(images, NAMES, pairs)
    few = DenoisingScorer(model, steps=10, rows=3).scores(images, NAMES, pairs)
    np.testing.assert_allclose(few, whole, rtol=1e-5, atol=1e-7)
    order = np.random.default_rng(0).permutation(len(pairs))
    turned = DenoisingScorer(model, steps=10).scores(images, NAMES, [pairs[at] for at in order])
    np.testing.assert_allclose(turned, whole[order], rtol=1e-5, atol=1e-7)
    other = DenoisingScorer(model, steps=10, seed=1).scores(images, NAMES, pairs)
    assert not np.allclose(other, whole, rtol=1e-4)


def test_weights_of_the_steps(model: Model) -> None:
    """One step with all the weight is that step alone."""
    images, _ = drawn(model, 2, 8)
    own, empty = DenoisingScorer(model, steps=4).errors(images, NAMES, every(2, 3))
    one = DenoisingScorer(model, steps=4, weights=[0.0, 0.0, 2.0, 0.0]).scores(images, NAMES, every(2, 3))
    np.testing.assert_allclose(one, empty[:, 2] - own[:, 2], rtol=1e-6)
    with pytest.raises(Mistake, match="3 weights"):
        DenoisingScorer(model, steps=4, weights=[1.0, 1.0, 1.0])


def test_telling_weights() -> None:
    """Steps that tell nothing get next to no weight, and more decisions are right than by the plain mean."""
    random = np.random.default_rng(0)
    worth = random.normal(size=(400, 5, 1))
    errors = random.normal(0, 2, (400, 5, 8)) * np.array([1, 1, 1, 1, 5, 5, 5, 5])
    errors[:, :, :4] -= worth
    weights = telling_weights(errors)
    assert weights[:4].min() > 10 * weights[4:].max() and weights.mean() == pytest.approx(1)
    plain, weighted = ((errors * some).mean(2).argmin(1) for some in (np.ones(8), weights))
    best = worth[..., 0].argmax(1)
    assert (weighted == best).mean() > (plain == best).mean() + 0.15
    assert (telling_weights(np.zeros((3, 2, 4))) == 1).all()


def test_grids() -> None:
    assert grid(4, "released") == [10, 260, 510, 760] and grid(10, "released")[-1] == 910
    assert len(grid(250, "released")) == 245 and grid(250, "released")[-1] == 986
    assert grid(4) == [125, 375, 625, 875] and len(grid(250)) == 250 and grid(1000) == list(range(1000))
    with pytest.raises(Mistake, match="0 steps"):
        grid(0)


def test_the_published_protocol(model: Model) -> None:
    """Norms in 16 bits, not squared, on the released grid; the difference is taken in 16 bits too."""
    images, _ = drawn(model, 3, 9)
    scorer = DenoisingScorer(model, steps=10, protocol="published")
    assert "published" in scorer.way and "l2norm" in scorer.way and len(scorer.denoiser.times) == 10
    own, empty = scorer.errors(images, NAMES, every(3, 4))
    assert (own == own.astype(np.float16)).all() and (empty == empty.astype(np.float16)).all()
    exact = replace(PROTOCOLS["published"], half=False)
    fine, _ = DenoisingScorer(model, steps=10, protocol=exact).errors(images, NAMES, every(3, 4))
    assert not (fine == fine.astype(np.float16)).all()
    np.testing.assert_allclose(own, fine, rtol=3e-3)
    left = own.astype(np.float16) - empty.astype(np.float16)
    expected = -left.astype(np.float64).mean(1)
    np.testing.assert_array_equal(scorer.scores(images, NAMES, every(3, 4)), expected)


def test_bright_batches_are_normalised_twice(model: Model) -> None:
    """Published only, and only where all four pictures of a batch are bright."""
    white = [Image.new("RGB", (SIDE, SIDE), (200, 210, 220)) for _ in range(4)]
    dark = Image.new("RGB", (SIDE, SIDE), (10, 210, 220))

    def looked(images: list[Image.Image], protocol: str) -> np.ndarray:
        scorer = DenoisingScorer(model, protocol=protocol)
        return scorer.denoiser.look(images, range(len(images)), scorer._bright(images)).mean.numpy()

    once = looked(white, "sound")
    np.testing.assert_allclose(looked(white, "published"), 2 * once - 1, atol=1e-6)
    np.testing.assert_allclose(looked([*white[:3], dark], "published")[:3], once[:3], atol=1e-6)


def test_what_is_cut_is_named(model: Model) -> None:
    scorer = DenoisingScorer(model)
    long = "three and many more words than are read"
    scorer.scores(drawn(model, 2, 1)[0], ["one", long], every(2, 2))
    assert scorer.cut == [long] and scorer.cost["texts cut"] == 1


def test_broken_answers(model: Model, tmp_path: Path) -> None:
    images, _ = drawn(model, 2, 1)
    broken = Oracle(torch.full((CLASSES, 3, SIDE, SIDE), float("nan")), 0.25)
    with pytest.raises(Mistake, match="'one' at time 50 is not a finite number"):
        DenoisingScorer(replace(model, system=broken)).scores(images, ["one"], [(0, 0)])
    (tmp_path / "torn.png").write_bytes(b"\x89PNG torn")
    with pytest.raises(Mistake, match="torn.png cannot be read"):
        DenoisingScorer(model).scores([tmp_path / "torn.png"], ["one"], [(0, 0)])
    with pytest.raises(Mistake, match="no protocol 'sond'"):
        DenoisingScorer(model, protocol="sond")
    with pytest.raises(Mistake, match="bank of noise"):
        DenoisingScorer(model, bank=torch.zeros(10, 4, 64, 64))
    with pytest.raises(Mistake, match="cannot score pairs by denoising"):
        DenoisingScorer(replace(model, system=SimpleNamespace(abilities=(EMBED,))))


def test_judge_knows_the_way() -> None:
    """The verb alone is enough: the same order as the scorer's."""
    from pairloom.model import build
    from pairloom.tasks.judge import judge
    from pairloom.verbs import ways

    words = Tokens.train(["a red square", "two blue cats"] * 4, 64)
    made = build("latent_diffusion", words, "tiny").eval()
    assert ways(made.system) == ["denoising error"] and made.pixels.mean == (0.5, 0.5, 0.5)
    images = [Image.new("RGB", (32, 32), colour) for colour in ("red", "blue")]
    texts = ["a red square", "two blue cats", "a red square"]
    said, way = judge(made.system, made.batch(images, texts, image_of=[0, 0, 1]))
    scores = DenoisingScorer(made, alpha=0.0).scores(images, texts, [(0, 0), (0, 1), (1, 2)])
    assert way == "denoising error"
    np.testing.assert_allclose(said.numpy(), scores, rtol=1e-4)
