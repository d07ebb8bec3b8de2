"""Races in a benchmark: grids from decisions by hand, what can be raced, and a diffusion model that decides for less."""

from itertools import product
from pathlib import Path

import numpy as np
import pytest
from layouts import picture, write
from PIL import Image

from pairloom.bench import _racing, _results, gdbench
from pairloom.bench._judging import Races, Scorer, scorers
from pairloom.bench._measure import group_right, image_right, text_right
from pairloom.bench._racing import Racing
from pairloom.bench._scoring import score
from pairloom.bench.winoground import read
from pairloom.data.tokens import Tokens
from pairloom.errors import Mistake
from pairloom.model import Model, build
from pairloom.tasks.denoise import DenoisingScorer
from pairloom.tasks.race import Decision

CELLS = [[(0, 0), (0, 1)], [(1, 0), (1, 1)]]


def decision(winner: int, scores: list[float], rounds: list[int], ties: tuple[int, ...] = ()) -> Decision:
    return Decision(winner, np.array(scores), np.array(rounds), 0.01, ties)


@pytest.fixture(scope="module")
def model() -> Model:
    pytest.importorskip("diffusers")
    return build("latent_diffusion", Tokens.train(["a red ball", "a blue box"], 80), "tiny").eval()


def racing(model: Model, monkeypatch, decisions: list[Decision]) -> Racing:
    """With races by hand, and scores of all steps too: the picture's number times ten, less the text's."""
    asked: list = []

    def decide(scorer, images, texts, contests, *, delta):
        asked.extend(contests)
        return decisions

    monkeypatch.setattr(_racing, "decide", decide)
    made = Racing(DenoisingScorer(model, steps=2), 0.05)
    by_hand = lambda images, texts, pairs: np.array([10.0 * i - t for i, t in pairs])  # noqa: E731
    monkeypatch.setattr(made.scorer, "scores", by_hand)
    made.asked = asked  # type: ignore[attr-defined]
    return made


def test_of_one_race_the_winner_is_first_and_the_others_stand_as_long_as_they_kept_up(
    model, monkeypatch
) -> None:
    """Text 3 won, though texts that left early have the higher mean; 1 and 2 left together."""
    made = racing(model, monkeypatch, [decision(3, [9.0, 1.0, 2.0, 0.5], [4, 8, 8, 10])])
    [grid] = made.race(["picture"], list("abcd"), [[[(0, text) for text in range(4)]]])
    assert np.argsort(grid[0]).tolist() == [0, 1, 2, 3]
    tied = racing(model, monkeypatch, [decision(0, [1.0, 1.0, 0.0], [9, 9, 4], (0, 1))])
    [grid] = tied.race(list("xyz"), ["text"], [[[(image, 0)] for image in range(3)]])
    assert grid[0] == grid[1] > grid[2] and len(grid) == 3


def test_four_races_of_two_by_two_are_told_as_they_were_won(model, monkeypatch) -> None:
    """Of the 16 outcomes of both rows and both columns 14 have an order; in the two that go round in a circle, and where a
    race is tied, all steps decide."""
    circles = 0
    for won in product((0, 1), repeat=4):
        made = racing(model, monkeypatch, [decision(winner, [0.0, 0.0], [4, 4]) for winner in won])
        [rows] = made.race(["x", "y"], ["a", "b"], [CELLS])
        grid = np.array(rows)
        assert made.asked == [[(0, 0), (0, 1)], [(1, 0), (1, 1)], [(0, 0), (1, 0)], [(0, 1), (1, 1)]]  # type: ignore[attr-defined]
        if grid.tolist() == [[0.0, -1.0], [10.0, 9.0]]:
            circles += 1
            continue
        assert [*grid.argmax(1), *grid.argmax(0)] == list(won)
        assert text_right(grid) == (won[:2] == (0, 1)) and image_right(grid) == (won[2:] == (0, 1))
        assert group_right(grid) == (won == (0, 1, 0, 1))
    assert circles == 2
    tied = racing(
        model, monkeypatch, [decision(0, [0.0, 0.0], [4, 4], (0, 1) if at == 2 else ()) for at in range(4)]
    )
    assert tied.race(["x", "y"], ["a", "b"], [CELLS]) == [[[0.0, -1.0], [10.0, 9.0]]]


def test_only_what_has_one_right_answer_is_raced(tmp_path: Path) -> None:
    """Winoground and Pets are; of VSR's single pairs, SugarCrepe++'s two true captions and bias all steps are asked."""
    asked: list[str] = []

    class Watched:
        way, cut, cost = "watched", [], {}  # noqa: RUF012

        def scores(self, images, texts, pairs):
            asked.append("scores")
            return np.zeros(len(pairs))

        def race(self, images, texts, tables):
            asked.append("race")
            return [np.zeros((len(table), len(table[0]))).tolist() for table in tables]

    assert isinstance(Watched(), Races) and isinstance(Watched(), Scorer)
    raced = {}
    for name in (
        "winoground",
        "pets",
        "clevr",
        "imagecode",
        "flickr30k",
        "vsr",
        "sugarcrepe_pp",
        "mmbias",
        "cola_single",
    ):
        module = gdbench.benchmarks()[name]
        root = tmp_path / name
        module.mini(root, 0, count=11 if name == "flickr30k" else 2)
        cases = module.read(root).cases
        asked.clear()
        score(Watched, name, cases, root, tmp_path / "scores")
        raced[name] = set(asked)
    whole = {"winoground", "pets", "clevr", "imagecode", "flickr30k"}
    assert {name for name, how in raced.items() if how == {"race"}} == whole
    assert all(how == {"scores"} for name, how in raced.items() if name not in whole | {"cola_single"})


def test_a_diffusion_model_decides_for_less_what_is_easily_told(
    model: Model, tmp_path: Path, monkeypatch
) -> None:
    """A planted network: its error is less where text and picture have one number, by far more than its noise."""
    for number in range(4):
        picture(tmp_path / f"set/images/ex_{number // 2}_img_{number % 2}.png", 2 + 5 * (number % 2))
    rows = [
        {"id": n, "caption_0": f"{n} red", "caption_1": f"{n} blue", "collapsed_tag": ""} for n in range(2)
    ]
    write(tmp_path / "set/data.json", rows)
    made = scorers(model, None, False, {"steps": 32, "race": 0.05})[""]
    assert isinstance(made, Racing) and made.way.endswith("raced to 0.05")
    asked = made.scorer.denoiser
    plain = type(asked).ask

    def told(self, jobs, latents):
        plain(self, jobs[:1], latents)  # counts and checks as ever, once
        self.cost["UNet evaluations"] += len(jobs) - 1
        right = [bool(job.text) and ("red" in job.text) == (job.image % 2 == 0) for job in jobs]
        wobble = [np.sin(7.0 * job.step + 3 * job.image + len(job.text or "")) for job in jobs]
        return np.array([1.0 - r + 0.05 * w for r, w in zip(right, wobble)], np.float32)

    monkeypatch.setattr(type(asked), "ask", told)
    cases = read(tmp_path / "set").cases
    found = score(lambda: made, "a", cases, tmp_path / "set", tmp_path / "scores")
    assert all(group_right(grid) for grid in found.grids.values())
    everything = (
        2 * 4 * 32 * 2 + 4 * 32 * 2
    )  # two cases of four pairs, each noise and its negative, and the empty text
    assert 0 < found.cost["UNet evaluations"] < everything / 3
    assert "raced" in found.way


def test_races_may_be_wrong_with_a_chance_alone(model: Model) -> None:
    with pytest.raises(Mistake, match="between 0 and 1"):
        Racing(DenoisingScorer(model, steps=2), 1.5)


def test_the_suite_of_a_run_with_races(model: Model, tmp_path: Path) -> None:
    """End to end: cases decided, cost counted, R@1 and the group score in their ranges; blind rows are scored in full."""
    data = tmp_path / "data"
    gdbench.benchmarks()["winoground"].mini(data, 0, count=3)
    system = _results.Entrant("a", "a", lambda: dict(scorers(model, None, True, {"steps": 4, "race": 0.2})))
    made = gdbench.run(gdbench.BenchRequest("winoground", tmp_path / "out", data), [system])["benchmarks"][
        "winoground"
    ]
    assert made["cases"] == 3 and made["ways"]["a"].endswith("raced to 0.2")
    assert made["cost"]["a"]["UNet evaluations"] > 0
    image = Image.new("RGB", (8, 8))
    again = scorers(model, None, True, {"steps": 4, "race": 0.2})
    assert again["text only"].scores([image], ["one", "two"], [(0, 0), (0, 1)]).shape == (2,)
