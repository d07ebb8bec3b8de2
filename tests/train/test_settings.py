"""Settings: the rate of every schedule by hand, and settings that make no sense."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pairloom import registry
from pairloom.config import override
from pairloom.errors import Mistake
from pairloom.train.settings import Settings

PLAIN = Settings(lr=1.0, min_lr=0.1, epochs=10, warmup=0.0)


def test_warm_up_is_counted_in_steps_across_epochs() -> None:
    settings = Settings(lr=1.0, min_lr=0.0, epochs=100, warmup=9, schedule="constant")
    rates = [settings.rate(step, per_epoch=2) for step in range(12)]
    assert rates == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.0, 1.0])


def test_warm_up_below_one_is_a_share() -> None:
    share = Settings(lr=1.0, epochs=10, warmup=0.1)
    whole = Settings(lr=1.0, epochs=10, warmup=5)
    assert [share.rate(step, 5) for step in range(50)] == [whole.rate(step, 5) for step in range(50)]


def test_schedules_by_hand() -> None:
    def rates(schedule: str, *steps: int) -> list[float]:
        return [override(PLAIN, [f"schedule={schedule}"]).rate(step, 10) for step in steps]

    assert rates("cosine", 0, 25, 50, 75) == pytest.approx(
        [1.0, 0.1 + 0.45 * (1 + 0.5**0.5), 0.55, 0.1 + 0.45 * (1 - 0.5**0.5)]
    )
    assert rates("linear", 0, 50, 90) == pytest.approx([1.0, 0.55, 0.19])
    assert rates("exponential", 0, 9, 10, 19, 20) == pytest.approx([1.0, 1.0, 0.9, 0.9, 0.81])
    assert rates("exponential", 99) == pytest.approx([0.9**9])
    assert override(PLAIN, ["schedule=exponential", "decay=0.5"]).rate(60, 10) == 0.1  # the floor
    assert rates("constant", 0, 99) == [1.0, 1.0]


@given(
    st.sampled_from(["cosine", "linear", "exponential", "constant"]),
    st.floats(0, 60),
    st.integers(0, 49),
)
def test_a_rate_lies_between_floor_and_peak(schedule: str, warmup: float, step: int) -> None:
    settings = override(
        Settings(lr=1e-3, min_lr=1e-6, epochs=5), [f"schedule={schedule}", f"warmup={warmup}"]
    )
    assert 1e-6 <= settings.rate(step, 10) <= 1e-3 * (1 + 1e-12)


def test_steps_go_before_epochs() -> None:
    assert Settings(epochs=3).total(7) == 21
    assert Settings(epochs=3, steps=5).total(7) == 5


@pytest.mark.parametrize(
    "setting", ["batch=0", "lr=-1", "lr=nan", "ema=1", "betas=0.9", "betas=0.9,1", "epochs=0", "clip=inf"]
)
def test_nonsense_is_refused(setting: str) -> None:
    with pytest.raises(Mistake, match="does not fit"):
        override(Settings(), [setting])


def test_every_recipe_of_every_system_is_made_of_settings() -> None:
    for name in registry.names("systems"):
        for recipe in registry.find("systems", name).RECIPES.values():
            made = Settings(**recipe)
            assert made.rate(0, 10) <= made.lr
