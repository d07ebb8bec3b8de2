"""Claims of the writers: the measures where they can be known, and the command, resumed."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import typer
from typer.testing import CliRunner

from experiments.claims import __main__ as claims
from experiments.claims import _drawn, writers
from pairloom import model as models
from pairloom.data.tokens import Tokens
from pairloom.errors import Mistake
from pairloom.world.regions import regions

SMALL = dict(pairs=24, held=6, size=32, width=8, batch=8, start_pairs=16, start_steps=2)


@pytest.fixture(scope="module")
def held() -> _drawn.Pictures:
    return _drawn.pictures(6, seed=5, size=32)


def test_boxes_on_the_grid(held: _drawn.Pictures) -> None:
    """The cover of the cells has the area of the box; a cell inside it is covered whole."""
    for scene in held.scenes:
        for region in regions(scene):
            cover = writers.covered(scene, region.kind, 8)
            alone = sum(other.kind == region.kind for other in regions(scene)) == 1
            left, top, right, bottom = np.clip(region.box, 0, 1)
            if alone:
                assert float(cover.mean()) == pytest.approx((right - left) * (bottom - top), abs=1e-5)
            centre = cover[int((top + bottom) / 2 * 8), int((left + right) / 2 * 8)]
            assert 0.4 < float(centre) <= 1 + 1e-6
        assert not writers.covered(scene, "left", 8).any()


def test_even_attention_is_even(held: _drawn.Pictures) -> None:
    """Where every cell gets the same: the mass in a box is its area, the entropy that of 16 cells, no cell is uneven."""
    model = models.build("show_attend_tell", Tokens.train(held.texts * 3, 200), "tiny", ["length=16"])
    with torch.no_grad():
        model.system.attend.score.weight.zero_()
    for row in range(6):
        found = writers._attention(model, held, row)
        assert found["mass in the box"] == pytest.approx(found["area of the box"], rel=1e-4)
        assert found["entropy"] == pytest.approx(np.log(16), rel=1e-5)
        assert found["unevenness"] == pytest.approx(0, abs=1e-9) and 0 < found["area of the box"] < 1


def test_derived_conditions() -> None:
    made = {
        ("hard", 1): {"captions true": [0.0, 1.0]},
        ("soft", 1): {"area of the box": [0.2, 0.4], "captions true": [1.0]},
    }
    assert writers.derived(made) == {
        ("hard plus two points", 1): {"captions true": [0.02, 1.02]},
        ("1.5 times even", 1): {"mass in the box": pytest.approx([0.3, 0.6])},
    }


def test_the_command_runs_and_goes_on(tmp_path: Path) -> None:
    app = typer.Typer()
    app.command()(claims.command)

    def ask(*words: str) -> list[dict]:
        told = [
            "writers",
            *(f"{key}={value}" for key, value in SMALL.items()),
            "--out",
            str(tmp_path),
            "--steps",
            "2",
        ]
        done = CliRunner().invoke(app, [*told, "--seeds", "1", "--workers", "1", "--json", *words])
        assert done.exit_code == 0, (done.output, done.exception)
        return json.loads(done.stdout)

    rows = ask("--only", "place")
    assert len(rows) == 1 and rows[0]["items"] == 6 and rows[0]["old"] == "1.5 times even"
    assert not (tmp_path / "writers" / "seed-0" / "hard.json").exists()  # only what the claim needs
    rows = ask()
    assert len(rows) == sum(len(pair.measures) for claim in writers.CLAIMS for pair in claim.contrasts)
    assert {row["verdict"] for row in rows} == {"undecided: 3 seeds are needed"}
    lost = tmp_path / "writers" / "seed-0" / "hard.json"
    before = lost.read_bytes()
    lost.unlink()
    assert ask() == rows and lost.read_bytes() == before  # trained again, to the same bits
    with pytest.raises(Mistake, match="another setting"):
        writers.run(tmp_path / "writers", writers.Setting(), [0], ["place"], 1, lambda *_: None)
