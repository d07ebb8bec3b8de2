"""Planted bias: a CLIP learns that red things go with pleasant words and blue ones with others; groups of pictures hold
known shares of red, so that the effect size is known: with shares q and r, (q - r) / sqrt(p (1 - p)), p their mean.

It does not depend on how strongly the model associates, which is why it can be known at all.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from pairloom.bench import mmbias
from pairloom.bench._drawn import SIMPLE, Studio
from pairloom.bench._judging import Judging
from pairloom.bench._measure import Measure
from pairloom.bench._scoring import score
from pairloom.data.loader import InMemoryImages, TextTable, pair_loader
from pairloom.data.tokens import Tokens
from pairloom.model import Model, build
from pairloom.train.loop import fit
from pairloom.train.settings import Settings
from pairloom.world import Scene, draw

PLEASANT = ["joy", "peace", "love", "trust"]
UNPLEASANT = ["harm", "greed", "chaos", "agony"]
GROUP = 60  # pictures
LONE = replace(SIMPLE, things=(1.0,), relations=(), places=("plain", "beach"))


def scenes(colour: str, count: int, salt: str) -> list[Scene]:
    """`count` scenes with one thing of that colour, of any kind, in either place."""
    level = replace(LONE, colours=(colour,))
    return [scene for scene, _ in zip(Studio(Path(), "planted", 0).scenes(level, salt), range(count))]


@pytest.fixture(scope="module")
def model() -> Model:
    """Trained on 400 pictures, each with one word of its colour's side, drawn by a seed."""
    shown = scenes("red", 200, "train") + scenes("blue", 200, "train")
    random = np.random.default_rng(0)
    words = [str(random.choice(PLEASANT if at < 200 else UNPLEASANT)) for at in range(400)]
    made = build("clip", Tokens.train(PLEASANT + UNPLEASANT, 120), "tiny", seed=1)
    pixels = np.stack([draw(scene, made.config.image_size) for scene in shown])
    held = InMemoryImages(pixels, made.pixels.mean, made.pixels.std)
    table = TextTable.of(made.tokens, [[word] for word in words], made.config.length)
    settings = Settings(lr=2e-3, batch=40, steps=40, warmup=4, weight_decay=0.0, log_every=40, threads=1)
    with torch.random.fork_rng():
        fit(made.system, pair_loader(held, table), settings)
    return made


def found(model: Model, tmp_path: Path, shares: dict[str, float]) -> dict[str, Measure]:
    """Effect sizes of pictures of which that share shows something red, in the released layout."""
    studio = Studio(tmp_path / "set", "planted", 0)
    studio.write("textual_phrases.txt", {"pleasant_phrases": PLEASANT, "unpleasant_phrases": UNPLEASANT})
    for group, share in shares.items():
        red = round(share * GROUP)
        shown = scenes("red", red, group) + scenes("blue", GROUP - red, group)
        for at, scene in enumerate(shown):
            studio.put(scene, f"data/Images/{mmbias.GROUPS[group]}/{group}/{at}.jpg")
    cases = mmbias.read(tmp_path / "set")
    scored = score(lambda: Judging(model), "", cases.cases, tmp_path / "set", tmp_path / "scores")
    made = mmbias.measures(cases.cases, [scored.grids[case.key] for case in cases.cases])
    return {one.name: one for one in made if one.kind == "sound"}


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> None:
    """Names that are nobody's."""
    monkeypatch.setattr(mmbias, "GROUPS", {name: "Shapes" for name in ("first", "second", "third")})
    pairs = [("first", "second"), ("second", "first"), ("first", "third")]
    monkeypatch.setattr(mmbias, "PAIRS", tuple((one, two, (one, two)) for one, two in pairs))


@pytest.mark.usefixtures("names")
def test_sign_and_size_of_a_planted_bias_are_recovered(model: Model, tmp_path: Path) -> None:
    made = found(model, tmp_path, {"first": 0.8, "second": 0.2, "third": 0.4})
    for pair, q, r in (
        ("first - second", 0.8, 0.2),
        ("second - first", 0.2, 0.8),
        ("first - third", 0.8, 0.4),
    ):
        one, p = made[f"effect size {pair}"], (q + r) / 2
        expected = (q - r) / (p * (1 - p)) ** 0.5
        assert one.interval.low <= expected <= one.interval.high, (pair, expected, one.interval)
        assert np.sign(one.interval.low) == np.sign(one.interval.high) == np.sign(expected)
        assert one.p is not None and one.p < 0.01


@pytest.mark.usefixtures("names")
def test_none_is_found_where_none_was_planted(model: Model, tmp_path: Path) -> None:
    """The same model, which does associate; the groups are alike."""
    for one in found(model, tmp_path, {"first": 0.5, "second": 0.5, "third": 0.5}).values():
        assert one.interval.low <= 0 <= one.interval.high and one.p is not None and one.p > 0.05
