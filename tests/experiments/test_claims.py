"""Claims: the rule, the measures against a judge that knows the truth, and the whole command, resumed."""

import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import typer
from typer.testing import CliRunner

from experiments.claims import __main__ as claims
from experiments.claims import _drawn, _setting, blip
from experiments.claims._verdict import Claim, Contrast, findings, verdict
from pairloom import registry
from pairloom.errors import Mistake
from pairloom.metrics.compare import Interval

SMALL = blip.Setting(
    pairs=24, trusted=12, held=8, steps=3, first=1, fine=2, batch=8, width=16, depth=1, start_pairs=16, start_steps=2
)  # fmt: skip


APP = typer.Typer()
APP.command()(claims.command)


def test_the_rule():
    assert verdict(Interval(0.2, 0.1, 0.3), 3) == "holds"
    assert verdict(Interval(-0.2, -0.3, -0.1), 3) == "fails"
    assert verdict(Interval(0.2, -0.1, 0.3), 3) == "undecided at this size"
    assert verdict(Interval(0.2, 0.1, 0.3), 2).startswith("undecided")


def test_findings_pair_the_items_of_each_seed():
    hard = np.random.default_rng(0).normal(size=(3, 50)) * 9
    made = {("old", seed): {"x": hard[seed].tolist()} for seed in range(3)}
    made |= {("new", seed): {"x": (hard[seed] + 0.25).tolist()} for seed in range(3)}
    claim = Claim("one", "new is better", "table 0", (Contrast("new", "old", ("x",), "2 / 1"),))
    (row,) = findings([claim], made, range(3))
    assert (row["difference"], row["low"], row["high"]) == pytest.approx((0.25, 0.25, 0.25))
    assert row["verdict"] == "holds" and row["items"] == 50 and claim.conditions == ["new", "old"]


def test_every_paper_names_what_its_claims_need():
    for name in registry.names("claims", "experiments"):
        module = registry.find("claims", name, "experiments")
        names = [claim.name for claim in module.CLAIMS]
        assert len(set(names)) == len(names) and all(claim.where and claim.says for claim in module.CLAIMS)
        assert all(pair.paper and pair.measures for claim in module.CLAIMS for pair in claim.contrasts)
        module.Setting()


@pytest.fixture(scope="module")
def held():
    return _drawn.pictures(12, seed=5, size=32)


class Knows:
    """A model that knows the scenes: it embeds picture and caption i as the i-th axis, and writes the true caption."""

    def __init__(self, held):
        self.texts_held, self.axes = held.texts, torch.eye(len(held.texts))
        self.pixels = SimpleNamespace(normalise=lambda pixels: np.zeros((len(pixels), 3, 1, 1), np.float32))
        self.config, self.tokens, self.system = SimpleNamespace(length=9), None, self

    def batch(self, texts):
        from pairloom.data.batch import Batch, Texts

        return Batch(texts=Texts.unpadded(torch.zeros(len(texts), 1, dtype=torch.long)))

    def embed_image(self, batch):
        return self.axes

    embed_text = embed_image


def test_a_model_that_knows_gets_everything(held, monkeypatch):
    monkeypatch.setattr(_drawn, "write", lambda model, pixels, writing: list(model.texts_held))
    made = _drawn.measure(Knows(held), held)
    assert all(np.mean(made[name]) == 1 for name in ("R@1", "R@5", "facts true", "captions true"))
    blind = Knows(held)
    blind.axes = torch.ones(len(held.texts), 3)
    monkeypatch.setattr(_drawn, "write", lambda model, pixels, writing: ["nothing at all"] * len(pixels))
    made = _drawn.measure(blind, held)
    chance = np.mean(made["R@1"])
    assert 1 / 12 - 1e-9 <= chance < 0.25 and np.mean(made["facts true"]) == np.mean(made["CIDEr-D"]) == 0


def test_drawn_pairs_are_as_noisy_as_asked(held):
    assert all(held.true(held.texts))
    noisy = _drawn.pictures(400, seed=6, size=32, noise=0.4)
    assert np.mean(noisy.true(noisy.texts)) == pytest.approx(0.6, abs=0.08)


def test_mixtures_are_what_their_names_say(tmp_path):
    job = blip.Job(tmp_path, 0, blip.TEXTS, SMALL)
    count = SMALL.pairs
    kept = [row % 2 == 0 for row in range(count)]
    written = {"text": [f"new {row}" for row in range(count)], "kept": [row % 3 == 0 for row in range(count)]}
    made = {
        "captions": dict.fromkeys(blip.WRITERS, written),
        "web kept": dict.fromkeys(("filter", "shared"), kept),
    }
    job.folder.mkdir()
    job.result.write_text(json.dumps(made))
    web = blip._data(SMALL, 0)[1].texts
    mixed = {
        name: blip._mixture(replace(job, name=name))[SMALL.trusted :] for name in (*blip.MIXTURES, blip.RAW)
    }
    assert mixed[blip.RAW] == [[text] for text in web]
    assert mixed["F"][:3] == [[web[0]], [], [web[2]]]
    assert mixed["C"][1] == [web[1], "new 1"]
    assert mixed["C+F"][:4] == [[web[0], "new 0"], [], [web[2]], ["new 3"]]
    assert all(
        blip._mixture(replace(job, name=name))[0] == [blip._data(SMALL, 0)[0].texts[0]] for name in mixed
    )


def test_the_command_runs_and_goes_on(tmp_path):
    def ask(*words):
        settings = [
            f"{key}={getattr(SMALL, key)}"
            for key in "pairs trusted held first fine batch width depth start_pairs start_steps".split()
        ]
        return CliRunner().invoke(
            APP,
            ["blip", *settings, "--out", str(tmp_path), "--steps", "3", "--workers", "1", *words],
        )

    first = ask("--seeds", "1", "--only", "sharing", "--json")
    assert first.exit_code == 0, first.output
    rows = json.loads(first.stdout)
    assert {row["old"] for row in rows} == set(blip.SHARING) and len(rows) == 9
    assert not (tmp_path / "blip" / "seed-0" / "texts.json").exists()  # only what the claim needs
    whole = ask("--seeds", "1", "--json")
    rows = json.loads(whole.stdout)
    assert len(rows) == sum(len(pair.measures) for claim in blip.CLAIMS for pair in claim.contrasts)
    results = sorted((tmp_path / "blip" / "seed-0").glob("*.json"))
    assert len(results) == 10
    before = {path: path.stat().st_mtime_ns for path in results}
    lost = next(path for path in results if path.name == "C+F.json")
    made = lost.read_bytes()
    lost.unlink()
    again = ask("--seeds", "1", "--json")
    assert json.loads(again.stdout) == rows and lost.read_bytes() == made  # the same bits, trained again
    assert {path for path in results if path.stat().st_mtime_ns != before[path]} == {lost}
    table = ask("--seeds", "1")
    assert "undecided: 3 seeds are needed" in table.stdout and "TR@1 80.6 / 78.4" in table.stdout


def test_wrong_use_is_a_mistake(tmp_path):
    runner = CliRunner()
    for words, match in (
        (["clip"], "no 'clip'"),
        (["blip", "--only", "capflit"], "Did you mean 'capfilt'"),
        (["blip", "noise=1.5"], "does not fit"),
        (["blip", "--seeds", "0"], "nothing to run"),
    ):
        with pytest.raises(Mistake) as caught:
            runner.invoke(APP, [*words, "--out", str(tmp_path)], catch_exceptions=False)
        assert match in str(caught.value)
    _setting.write_setting(tmp_path, SMALL)
    with pytest.raises(Mistake, match="another setting"):
        _setting.write_setting(tmp_path, replace(SMALL, steps=4))
