"""The front door: light, and the same whichever room is imported first."""

from __future__ import annotations

import subprocess
import sys

import pytest

import pairloom
from pairloom import registry
from pairloom.verbs import Ability


def alone(code: str) -> None:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_it_opens_without_torch() -> None:
    alone(
        "import sys, pairloom\n"
        "assert not {'torch', 'numpy', 'pyarrow'} & set(sys.modules)\n"
        "pairloom.open, pairloom.Mistake\n"
        "assert 'torch' not in sys.modules\n"
        "pairloom.Model\n"
        "assert 'torch' in sys.modules"
    )


@pytest.mark.parametrize(
    "first",
    [
        "pairloom.systems",
        "import pairloom.systems.clip",
        "from pairloom.systems import clip",
        "from pairloom import systems",
    ],
)
def test_a_room_is_a_function_too_in_any_order(first: str) -> None:
    alone(
        f"import pairloom\n{first}\n"
        "import pairloom.systems.clip as one\n"
        "from pairloom import systems\n"
        "from pairloom.systems import clip\n"
        "assert one is clip is pairloom.systems.clip and systems is pairloom.systems\n"
        "assert callable(pairloom.systems)"
    )


def test_training_is_one_call(tmp_path) -> None:
    from PIL import Image

    (tmp_path / "set").mkdir()
    for at in range(8):
        Image.new("RGB", (32, 32), ("red", "blue")[at % 2]).save(tmp_path / "set" / f"{at}.png")
        (tmp_path / "set" / f"{at}.txt").write_text(f"a {('red', 'blue')[at % 2]} wall number {at}")
    pairs = pairloom.open(tmp_path / "set")
    options = {"preset": "tiny", "held_out": 0.0, "device": "cpu", "epochs": 1, "batch": 4}
    model = pairloom.train("clip", pairs, tmp_path / "out", **options)
    assert isinstance(model, pairloom.Model) and model.where == str(tmp_path / "out")
    assert model.match(tmp_path / "set" / "0.png", ["a red wall", "a blue wall"]).values.shape == (2,)
    import pairloom.train.loop as loop

    assert pairloom.train.loop is loop
    with pytest.raises(pairloom.Mistake, match="Did you mean 'epochs'"):
        pairloom.train("clip", pairs, tmp_path / "other", preset="tiny", epoch=1)


def test_systems_are_listed() -> None:
    rows = pairloom.systems()
    assert [row.name for row in rows] == sorted([*registry.names("systems"), "ridge"])
    clip = next(row for row in rows if row.name == "clip")
    assert "tiny" in clip.presets and "Radford" in clip.paper and not clip.needs
    assert all(isinstance(one, Ability) for one in clip.abilities) and "embed" in {
        one.name for one in clip.abilities
    }


def test_all_that_is_offered_is_there() -> None:
    assert set(pairloom.__all__) <= set(dir(pairloom))
    for name in pairloom.__all__:
        assert getattr(pairloom, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'laod'"):
        pairloom.laod  # noqa: B018
