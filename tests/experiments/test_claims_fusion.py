"""Claims of the fusion encoders: what the models are shown and asked, the measures where they can be known, and the command,
resumed."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import typer
from typer.testing import CliRunner

from experiments.claims import __main__ as claims
from experiments.claims import _fusion_data as data
from experiments.claims import _fusion_models as models
from experiments.claims import fusion
from pairloom.errors import Mistake
from pairloom.systems import _fusion as encoders
from pairloom.systems import uniter
from pairloom.world.claim import is_true
from pairloom.world.level import COLOURS, KINDS
from pairloom.world.read import parse
from pairloom.world.regions import regions

SMALL = dict(pairs=24, held=6, few=4, questions=2, width=16, batch=8, steps=2, fine=2)
SETTING = replace(fusion.Setting(), **SMALL)


@pytest.fixture(scope="module")
def held() -> data.Scenes:
    return data.scenes(12, 5)


def test_visual_words_are_kind_and_colour(held: data.Scenes) -> None:
    """The two things of a scene by turns, under the number of their kind and colour."""
    for scene in held.scenes:
        seen = [(region.kind, region.colour) for region in regions(scene)[::-1]]
        words = data.visual_words(scene, 0.0)
        named = [(KINDS[word // len(COLOURS)], list(COLOURS)[word % len(COLOURS)]) for word in words]
        assert named == [seen[clip % len(seen)] for clip in range(data.CLIPS)]


def test_patch_codes_are_mean_colours() -> None:
    pixels = np.zeros((1, 16, 16, 3), np.uint8)
    pixels[0, :8, 8:] = (255, 0, 130)  # steps 3, 0, 2 of four
    pixels[0, 8:, :8, 1] = [0, 255] * 4  # the mean 127.5 is the second step, 1
    assert data.patch_codes(pixels, 8).tolist() == [[0, 3 * 16 + 2, 4, 0]]


def test_exercises(held: data.Scenes) -> None:
    """Wrong pictures are wrong; every caption has one false twin; no question is about the place."""
    others = data.others(held)
    for own, other in enumerate(others):
        assert not is_true(parse(held.texts[own]), held.scenes[other])
    exercise = data.statements(held)
    assert (
        exercise.labels.tolist() == [1, 0] * 12 and exercise.of.tolist() == np.repeat(range(12), 2).tolist()
    )
    for text, of, label in zip(exercise.texts, exercise.of, exercise.labels):
        assert is_true(parse(text), held.scenes[of]) == bool(label)
    rows = data.pick_questions(held, 3)
    assert len(rows) == 36 and not any(one.sort == "place" for _, one in rows)
    listed = data.with_answers(rows)
    assert [listed.answers[label] for label in listed.labels] == [one.answer for _, one in rows]


def test_text_alone_is_naive_bayes() -> None:
    """By hand: two documents of class 1, one of class 0; 5 terms there are; "a" is 2 of 4 terms of class 1 and 0 of 3 of class 0."""
    text = data.TextAlone(data.Exercise(("a", "a b", "c b"), np.arange(3), np.array([1, 1, 0])))
    scores = text.scores("A?")
    assert text.kinds == 5  # a, b, c, "a b", "c b"
    assert scores[1] == pytest.approx(np.log(2) + np.log((2 + 1) / (4 + 5)))
    assert scores[0] == pytest.approx(np.log(1) + np.log((0 + 1) / (3 + 5)))
    assert text.best("a") == 1 and text.choose("c", ("yes", "no"), ("no", "yes")) == "no"


def test_an_oracle_is_right_and_blind_it_is_not(held: data.Scenes, monkeypatch: pytest.MonkeyPatch) -> None:
    """A score that knows the truth: 1 in every measure; with pictures in other places it knows the truth of those."""

    def truth(model: object, fields: object, pictures: list[int], texts: tuple[str, ...]) -> torch.Tensor:
        true = [is_true(parse(text), held.scenes[at]) for at, text in zip(pictures, texts)]
        return torch.tensor(true).float() - 0.5

    monkeypatch.setattr(models, "scores", truth)
    seen, blind = (models.match(None, {}, held, places) for places in (0, 6))  # type: ignore[arg-type]
    assert all(set(values) == {1.0} for values in seen.values())
    assert all(0.25 < np.mean(values) < 0.75 for values in blind.values())
    exercise = data.statements(held)
    assert set(models.judge_statements(None, {}, exercise)) == {1.0}  # type: ignore[arg-type]
    assert np.mean(models.judge_statements(None, {}, exercise, 6)) == pytest.approx(0.5, abs=0.2)  # type: ignore[arg-type]


def test_joint_masking_hides_both(monkeypatch: pytest.MonkeyPatch) -> None:
    """UNITER hides words or regions; its joint twin both, in both of its tasks. The two begin with the same weights."""
    tokens, answers = fusion._tokens(SETTING, 0)
    drawn, hidden = fusion._learn(SETTING, 0), []
    for name in ("uniter", "uniter, joint"):
        model = models.build(fusion.CONDITIONS[name], tokens, 16, answers, 0)
        hidden.append(torch.cat([value.flatten() for value in model.system.parameters()]))
        calls = _spied(model.system, monkeypatch)
        batch = models.Batch(
            **data.shown(model, drawn, 0.0), texts=model.texts(drawn.texts), image_of=torch.arange(24)
        )
        shown = encoders.regions_of(batch)
        for task in ("mlm", "mrfr"):
            generator = torch.Generator().manual_seed(0)
            if task == "mlm":
                model.system._words(batch.texts, shown, generator)
            else:
                model.system._masked_regions(batch.texts, shown, generator, task)
        both = [
            ((call[0].ids != batch.texts.ids).any().item(), len(call) > 2 and call[2] is not None)
            for call in calls
        ]
        assert both == ([(True, False), (False, True)] if name == "uniter" else [(True, True)] * 2)
    assert torch.equal(*hidden)


def _spied(system: uniter.System, monkeypatch: pytest.MonkeyPatch) -> list[tuple]:
    fuse, calls = system.read_pairs, []

    def spy(*arguments: object) -> tuple[torch.Tensor, torch.Tensor]:
        calls.append(arguments)
        return fuse(*arguments)

    monkeypatch.setattr(system, "read_pairs", spy)
    return calls


def test_blind_rows_and_margins() -> None:
    """The statements of a scene are one item."""
    values = {
        "match": [1.0, 0.0],
        "match (blind)": [0.5, 0.5],
        "statements (text alone)": [1.0, 0.0, 1.0, 1.0],
    }
    rows = fusion.results({("vlp", 0): {**values, "seconds": [3.0]}}, replace(SETTING, held=2))
    assert rows["vlp", 0]["match"] == [1.0, 0.0] and rows["vlp (blind)", 0] == {"match": [0.5, 0.5]}
    assert rows["vlp (text alone)", 0] == {"statements": [0.5, 1.0]} and "seconds" not in rows["vlp", 0]
    assert rows["vlp, plus two points", 0]["match"] == [1.02, 0.02]


def test_the_command_runs_and_goes_on(tmp_path: Path) -> None:
    app = typer.Typer()
    app.command()(claims.command)

    def ask(*words: str) -> list[dict]:
        setting = [f"{key}={value}" for key, value in SMALL.items()]
        end = ["--out", str(tmp_path), "--seeds", "1", "--workers", "1", "--json", *words]
        done = CliRunner().invoke(app, ["fusion", *setting, *end])
        assert done.exit_code == 0, (done.output, done.exception)
        return json.loads(done.stdout)

    rows = ask("--only", "reads, lxmert")
    assert [row["measure"] for row in rows] == [
        "match",
        "wording",
        "questions",
        "statements",
        "questions",
        "statements",
    ]
    assert {row["items"] for row in rows} == {6}  # scenes
    assert {row["verdict"] for row in rows} == {"undecided: 3 seeds are needed"}
    assert not (tmp_path / "fusion" / "seed-0" / "uniter.json").exists()  # only what the claim needs
    rows = ask("--only", "one objective")
    assert [row["measure"] for row in rows] == ["R@1", "match", "wording"]
    lost = tmp_path / "fusion" / "seed-0" / "beit3-first-masked.json"
    before = json.loads(lost.read_text())
    lost.unlink()
    assert ask("--only", "one objective") == rows
    assert {**json.loads(lost.read_text()), "seconds": 0} == {
        **before,
        "seconds": 0,
    }  # trained again, to the same bits
    with pytest.raises(Mistake, match="another setting"):
        fusion.run(tmp_path / "fusion", fusion.Setting(), [0], ["ladder"], 1, lambda *_: None)
