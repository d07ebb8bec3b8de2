"""Self-critical training: the reward is the metric, the gradient is the paper's, and any writer learns from it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy
import pytest
import torch

from pairloom import registry
from pairloom.data.batch import Batch, Texts
from pairloom.data.loader import TextTable
from pairloom.data.tokens import Tokens
from pairloom.metrics.overlap import cider_d
from pairloom.train.loop import fit
from pairloom.train.reward import Cider, SelfCritical
from pairloom.train.settings import Settings

TEXTS = [["a red square", "one red square"], ["a blue circle"], ["a green star"], ["two blue stars"]]


def writer(name: str, **settings: Any) -> Any:
    module = registry.find("systems", name)
    torch.manual_seed(0)
    return module.System(replace(module.TINY, **settings))


def batch(rows: int = 4) -> Batch:
    generator = torch.Generator().manual_seed(1)
    images = torch.randn(rows, 1, 3, 32, 32, generator=generator)
    tokens = torch.randint(5, 60, (rows, 6), generator=generator)
    keep = torch.ones(rows, 6, dtype=torch.bool)
    return Batch(images=images, texts=Texts(tokens, keep), image_ids=torch.arange(rows))


def test_the_reward_is_cider_d_over_ids() -> None:
    tokens = Tokens.train([text for group in TEXTS for text in group] * 3, 128)
    table = TextTable.of(tokens, TEXTS, 12)
    reward = Cider.of(table, numpy.arange(4), numpy.array([7, 8, 9, 9]))  # the last two show one picture
    assert set(reward.references) == {7, 8, 9} and len(reward.references[9]) == 2
    assert reward.known.images == 3

    def spell(text: str) -> str:
        return " ".join(map(str, tokens.rows([text], 12)[0][1:]))  # the end is a word

    references = [[spell(text) for text in group] for group in (TEXTS[0], TEXTS[1], TEXTS[2] + TEXTS[3])]
    said = [spell("a red square"), spell("a red square"), spell("two blue stars")]
    expected = cider_d(said, references).each
    assert reward([7, 8, 9], said) == pytest.approx(expected)
    assert expected[0] > 5 > 1 > expected[1]
    unfinished = reward([7], [said[0].rsplit(" ", 1)[0]])
    assert unfinished[0] < reward([7], [said[0]])[0]


def test_the_loss_by_hand() -> None:
    """- (r(drawn) - r(greedy)) log p(drawn), with r the number of different tokens here."""
    system = writer("show_and_tell", tune=False)
    learner = SelfCritical(system, lambda _, texts: [float(len(set(text.split()))) for text in texts], 9)
    asked = batch()
    torch.manual_seed(5)
    drawn, better = learner.train()._practise(asked)
    torch.manual_seed(5)
    loss = learner.losses(asked)["self-critical"]
    total = 0.0
    for row, one in enumerate(drawn):
        state = system.start(Batch(images=asked.images[row : row + 1]))
        token, likely = system.first_token, 0.0
        for following in [*one.tokens, *([system.last_token] if one.ended else [])]:
            said, state = system.step(state, torch.tensor([token]))
            likely += float(said.log_softmax(-1)[0, following].detach())
            token = following
        total -= float(better[row]) * likely
    assert float(loss.detach()) == pytest.approx(total / 4, rel=1e-4) and better.abs().min() > 0


def test_outside_training_the_system_is_measured_as_ever() -> None:
    system = writer("show_attend_tell").eval()
    learner = SelfCritical(system, lambda pictures, texts: [0.0] * len(texts), 9).eval()
    assert set(learner.losses(batch())) == {"caption", "spread"}
    with pytest.raises(ValueError, match="image_ids"):
        learner.train().losses(Batch(images=batch().images))


class Same:
    """The same batch for ever."""

    def steps(self, plan):
        return 1

    def read(self, plan, epoch, step=0):
        yield [batch(24)]

    def identity(self):
        return "same"


SLOW = [pytest.param(name, marks=pytest.mark.slow) for name in ("show_and_tell", "blip", "coca")]


@pytest.mark.parametrize("name", ["show_attend_tell", *SLOW])
def test_any_writer_does_more_of_what_is_rewarded(name: str) -> None:
    """Rewarded for ids below 32 of 64: a writer that never saw a text comes to write with these."""
    system = writer(name)

    def low(_: Any, texts: Any) -> list[float]:
        return [sum(int(word) < 32 for word in text.split()) / max(1, len(text.split())) for text in texts]

    def share() -> float:
        torch.manual_seed(1)
        drawn = [one.tokens for one in learner.train()._practise(batch(32))[0]]
        return float(numpy.mean([token < 32 for text in drawn for token in text]))

    learner = SelfCritical(system, low, 6)
    before = share()
    fit(
        learner,
        Same(),
        Settings(lr=1e-2, schedule="constant", batch=24, steps=30, warmup=0, weight_decay=0.0, save_every=0),
    )
    after = share()
    assert 0.35 < before < 0.65 and after > before + 0.2, (before, after)
