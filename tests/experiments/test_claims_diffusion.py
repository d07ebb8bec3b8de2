"""Claims of DiffusionITM: what is asked is what is meant, a judge that knows gets everything, and the command, resumed."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

pytest.importorskip("diffusers")
pytest.importorskip("transformers")

from experiments.claims import __main__ as claims  # noqa: E402
from experiments.claims import diffusion  # noqa: E402
from pairloom.errors import Mistake  # noqa: E402
from pairloom.world import Scene, caption  # noqa: E402
from pairloom.world.claim import is_true  # noqa: E402
from pairloom.world.read import parse  # noqa: E402

SMALL = dict(ways=3, pairs=20, held=6, width=8, batch=4, fine=1, rank=2, times=2)
SETTING = diffusion.Setting(**SMALL, steps=1)


def test_exchanged_scenes() -> None:
    """Same kinds and colours, but neither one's caption is true of the other; parts of a world share no scene."""
    found = diffusion.scenes(20, 0, "exchanged", diffusion.two_sorts)
    for scene in found:
        other = diffusion.exchanged(scene)
        for one, two in ((scene, other), (other, scene)):
            assert is_true(parse(caption(one, "terse")), one)
            assert not is_true(parse(caption(one, "terse")), two)
        assert sorted(caption(scene, "terse").split()) == sorted(caption(other, "terse").split())
        assert diffusion.exchanged(other) == scene
    shown = diffusion.pictures([found[0], diffusion.exchanged(found[0])], 16).pixels
    assert shown.shape == (2, 16, 16, 3) and (shown[0] != shown[1]).any()
    assert not {scene.seed for scene in found} & {scene.seed for scene in diffusion.scenes(20, 0, "learn")}


def test_no_wrong_choice_is_true() -> None:
    held = diffusion.pictures(diffusion.scenes(40, 1, "held"), 16)
    table = diffusion.choices(held, 10, 1)
    for row in table:
        assert len(set(row)) == 10
        for other in row[1:]:
            assert not is_true(parse(held.texts[other]), held.scenes[row[0]])
            assert not is_true(parse(held.texts[row[0]]), held.scenes[other])


def test_a_judge_that_knows(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is right everywhere; where pictures differ in ease more than by their text, raw is right by chance alone."""

    def knows(model: object, shown: diffusion.Pictures, pairs: list[tuple[int, int]], times: int) -> tuple:
        ease = np.random.default_rng(0).normal(0, 1000, len(shown.texts))
        fits = np.array([is_true(parse(shown.texts[text]), shown.scenes[image]) for image, text in pairs])
        return fits + ease[[image for image, _ in pairs]], fits * 1.0

    def measured(setting: diffusion.Setting) -> dict[str, list[float]]:
        return diffusion.measure(None, setting, 0)  # type: ignore[arg-type]

    monkeypatch.setattr(diffusion, "_scores", knows)
    setting = diffusion.Setting(held=40)
    made = measured(setting)
    assert all(np.mean(made[name]) == 1 for name in ("texts", "pictures", "bound texts", "bound pictures"))
    assert 0 <= np.mean(made["pictures raw"]) < 0.3
    monkeypatch.setattr(diffusion, "_scores", lambda model, shown, pairs, times: (np.zeros(len(pairs)),) * 2)
    blind = {name: np.mean(values) for name, values in measured(setting).items()}
    assert blind == pytest.approx({name: 0.5 if "bound" in name else 0.1 for name in made})


def test_derived_conditions() -> None:
    made = {("diffusion", 2): {"texts": [1.0, 0.0], "pictures": [1.0, 1.0], "pictures raw": [0.0, 1.0]}}
    assert diffusion.derived(made, 4) == {
        ("raw", 2): {"pictures": [0.0, 1.0]},
        ("chance", 2): {"texts": [0.25] * 2, "pictures": [0.25] * 2},
        ("chance plus ten points", 2): {"texts": [0.35] * 2, "pictures": [0.35] * 2},
        ("diffusion less five points", 2): {"texts": [0.95, -0.05], "pictures": [0.95, 0.95]},
    }


def test_the_command_runs_and_goes_on(tmp_path: Path) -> None:
    app = typer.Typer()
    app.command()(claims.command)

    def ask(*words: str) -> list[dict]:
        settings = [f"{key}={value}" for key, value in SMALL.items()]
        told = ["diffusion", *settings, "--out", str(tmp_path), "--steps", "1"]
        done = CliRunner().invoke(app, [*told, "--seeds", "1", "--workers", "1", "--json", *words])
        assert done.exit_code == 0, (done.output, done.exception)
        return json.loads(done.stdout)

    rows = ask("--only", "prior")
    assert len(rows) == 4 and {row["items"] for row in rows} == {6}
    seed = tmp_path / "diffusion" / "seed-0"
    assert not (seed / "HardNeg.json").exists()  # only what the claim needs
    rows = ask()
    assert len(rows) == sum(len(pair.measures) for claim in diffusion.CLAIMS for pair in claim.contrasts)
    assert {row["verdict"] for row in rows} == {"undecided: 3 seeds are needed"}
    lost = seed / "HardNeg.json"
    before = lost.read_bytes()
    lost.unlink()
    assert ask() == rows and lost.read_bytes() == before  # trained again, to the same bits
    with pytest.raises(Mistake, match="another setting"):
        diffusion.run(tmp_path / "diffusion", diffusion.Setting(), [0], ["prior"], 1, lambda *_: None)


def test_settings_that_do_not_fit() -> None:
    for wrong in (dict(held=5), dict(size=12), dict(pairs=1)):
        with pytest.raises(ValueError, match="held out"):
            diffusion.Setting(**wrong)
    assert isinstance(diffusion.scenes(1, 0, "held")[0], Scene)
