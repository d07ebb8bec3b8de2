"""Answers as classes: the list of a set and its scores, training on questions from regions and from pixels, and one model's heads for
another task."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

import pairloom
from pairloom.abilities import CHOOSE
from pairloom.config import override
from pairloom.data.batch import Batch
from pairloom.data.datasets.answers import AnswerScores, common_answers, scored
from pairloom.data.pair import Question
from pairloom.errors import Mistake
from pairloom.objectives.answers import answer_loss, answers_of
from pairloom.systems import lxmert
from pairloom.tasks.measure import accuracy
from pairloom.world import World
from pairloom.world.asked import write_examples
from pairloom.world.regions import write_regions
from pairloom.world.world import write_folder

WORLD = World(4, seed=5, level="simple", size=32)
PIXELS = ("pixel_bert", "beit3_vqa", "beit3_nlvr")
FAST = ["batch=4", "steps=2", "log_every=1", "model.length=24", "model.positions=40"]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("answers")
    write_folder(WORLD, root / "pairs")
    write_examples(WORLD, root / "questions", "questions")
    write_examples(WORLD, root / "statements", "statements")
    write_regions(WORLD, root / "regions")
    return root


def trained(place: Path, system: str, kind: str, out: str, *settings: str, **more: Any) -> Any:
    regions = None if system in PIXELS else place / "regions"
    pairloom.train(
        system,
        place / kind,
        place / out,
        preset="tiny",
        held_out=0.0,
        regions=regions,
        settings=[*FAST, *settings],
        **more,
    )
    return pairloom.load(place / out, regions=regions)


def question(*answers: str) -> Question:
    return Question(key="a", image_keys=("a",), images=(), name="q", question="what?", answers=answers)


def test_vqas_soft_score_is_a_third_of_the_people_and_one_at_most() -> None:
    ten = question(*["yes"] * 4, *["no"] * 2, "Maybe ", *["other"] * 3)
    places = {"yes": 0, "no": 1, "maybe": 2}
    assert scored(ten, places) == {0: 1.0, 1: pytest.approx(2 / 3), 2: pytest.approx(1 / 3)}
    assert scored(question("no"), places) == {1: 1.0} and scored(question("no", "yes"), places) == {
        1: 0.5,
        0: 0.5,
    }
    with pytest.raises(Mistake, match="no answer to any question"):
        AnswerScores([question("blue")], 2, ("yes", "no"))


def test_the_list_is_the_sets_commonest_answers(tmp_path: Path) -> None:
    rows = [{"image": "a.jpg", "question": "what?", "answers": ["Red", "red", "blue", "a, b"]}]
    (tmp_path / "q.json").write_text(json.dumps(rows))
    assert common_answers(tmp_path) == ("red", "a, b", "blue") and common_answers(tmp_path, 1) == ("red",)
    listed = override(lxmert.TINY, [f"answer_list={json.dumps(common_answers(tmp_path))}"]).answer_list
    assert listed == ("red", "a, b", "blue"), "an answer may have a comma"
    with pytest.raises(Mistake, match="is no list"):
        override(lxmert.TINY, ["answer_list=[red"])
    (tmp_path / "q.json").write_text(json.dumps([{"image": "a.jpg", "question": "what?"}]))
    with pytest.raises(Mistake, match="No question of .* has an answer"):
        common_answers(tmp_path)


def test_soft_scores_by_hand() -> None:
    logits = torch.tensor([[0.5, -1.0], [2.0, 0.0]])
    soft = torch.tensor([[1.0, 1 / 3], [0.0, 0.0]])
    expected = (
        torch.nn.functional.binary_cross_entropy_with_logits(logits, soft, reduction="none").sum(1).mean()
    )
    torch.testing.assert_close(answer_loss(logits, soft), expected)
    assert answers_of(soft).tolist() == [0, -1] and answers_of(torch.tensor([1, -1])).tolist() == [1, -1]


def test_vqa_accuracy_of_held_out_questions() -> None:
    class Chooser:
        abilities = (CHOOSE,)

        def answer_logits(self, batch: Batch) -> torch.Tensor:
            return torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, 1.0]])

    labels = torch.tensor([[1.0, 0.0], [1.0, 1 / 3], [1.0, 0.0]])
    assert accuracy(Chooser(), [Batch(labels=labels)]) == {"accuracy": pytest.approx((1 + 1 / 3) / 3)}


@pytest.mark.parametrize("system", ["lxmert", "vl_bert", "vlp", "pixel_bert", "beit3_vqa"])
def test_a_set_of_questions_becomes_a_model_with_its_list(place: Path, system: str) -> None:
    wanted = common_answers(place / "questions")
    model = trained(place, system, "questions", system)
    assert model.config.answer_list == wanted and model.config.answers == len(wanted)
    assert "choose" in model.abilities
    lines = model.lines("answer", place / "questions")
    answers = {line["answers"][0]["text"] for line in lines}
    assert answers <= set(wanted) and 0 <= lines.totals()["exact"] <= 1
    best = model.answer(place / "questions" / "000002.jpg", "is there a cat?", several=2)
    assert best[0].text in wanted and best[0].score >= best[1].score


@pytest.mark.parametrize("system", ["uniter", "vilbert", "pixel_bert", "beit3_nlvr"])
def test_statements_about_two_pictures(place: Path, system: str) -> None:
    model = trained(place, system, "statements", f"{system}-statements")
    assert model.config.pictures == 2 and model.abilities == {"reason"}
    lines = [line for line in model.lines("reason", place / "statements")]
    assert lines and all(line["true"] in (True, False) for line in lines)
    one, two = (place / "statements" / f"00000{at}.jpg" for at in (0, 1))
    straight, turned = (model.reason(pair, "there is a cat").chance for pair in ([one, two], [two, one]))
    assert straight != turned, "the place of a picture matters"
    with pytest.raises(Mistake, match="has 2 pictures"):
        model.reason([one], "there is a cat")


def test_a_model_of_pairs_starts_one_of_questions_and_keeps_its_list(place: Path) -> None:
    pairs = trained(place, "uniter", "pairs", "pairs-first", "model.answers=0")
    assert pairs.abilities == {"match"}
    tuned = trained(place, "uniter", "questions", "then-questions", init=place / "pairs-first")
    assert "choose" in tuned.abilities and tuned.config.answers == len(common_answers(place / "questions"))
    wanted = tuned.config.answer_list
    again = trained(
        place, "uniter", "questions", "again", "model.matches=false", init=place / "then-questions"
    )
    assert again.config.answer_list == wanted and again.abilities == {"choose"}
