"""Answering, reasoning, ranking of answers in a dialog: against doing it the long way."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from pairloom.data.batch import Batch, Texts
from pairloom.data.datasets.dialogs import framed, spoken
from pairloom.data.pair import Round
from pairloom.data.records import Questions
from pairloom.data.tokens import Tokens
from pairloom.errors import Mistake
from pairloom.model import Model, build
from pairloom.tasks import answer, dialog, reason

WORDS = (
    "what colour is the ball cat dog red blue green a big small on of two three yes no not sure left".split()
)
ANSWERS = [
    "red", "blue", "red ball", "red cat", "red ball on the dog", "a", "a cat", "a cat on the ball", "two", "two dogs",
    "yes", "no", "not sure", "green", "big", "small", "of", "three cats", "three", "on the left", "on the ball",
]  # fmt: skip


def model_of(name: str, *settings: str) -> Model:
    tokens = Tokens.train([" ".join(WORDS)] * 3, 200)
    model = build(name, tokens, "tiny", settings, seed=3).eval()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.system.parameters():
            parameter += 0.12 * torch.randn(parameter.shape, generator=generator)
    return model


@pytest.fixture(scope="module")
def asked() -> Model:
    return model_of("blip_vqa")


@pytest.fixture(scope="module")
def batch(asked: Model) -> Batch:
    images = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(2))
    questions = ["What colour is the ball?", "how many cats", "is the dog on the left"]
    return answer.questions_batch(asked, images, questions, image_of=[1, 0, 0])


def scores_one_by_one(model: Model, batch: Batch, text: str, smoothing: float = 0.1) -> torch.Tensor:
    """Minus the training cost of an answer, question by question, teacher-forced: [Q]."""
    row = torch.tensor(model.tokens.rows([text], 12))
    questions = len(batch.question)
    tokens = row.repeat(questions, 1)
    logits = model.system.logits(replace(batch, texts=Texts(tokens, torch.ones_like(tokens).bool())))
    cost = F.cross_entropy(
        logits[:, :-1].flatten(0, 1), tokens[:, 1:].flatten(), reduction="none", label_smoothing=smoothing
    )
    return -cost.unflatten(0, (questions, -1)).sum(1)


@pytest.mark.parametrize("smoothing", [0.1, 0.0])
@torch.no_grad()
def test_the_tree_finds_what_reading_every_answer_finds(asked: Model, batch: Batch, smoothing: float) -> None:
    choices = answer.Choices(asked.tokens, ANSWERS, 12)
    whole = torch.stack([scores_one_by_one(asked, batch, text, smoothing) for text in ANSWERS], 1)
    for several in (1, 4, len(ANSWERS)):
        found = answer.choose(asked.system, batch, choices, several, first=0, smoothing=smoothing)
        for row, told in zip(whole, found):
            expected = row.topk(several)
            assert [one.text for one in told] == [ANSWERS[at] for at in expected.indices.tolist()]
            torch.testing.assert_close(
                torch.tensor([one.score for one in told]), expected.values, atol=1e-4, rtol=1e-5
            )


@torch.no_grad()
def test_only_likely_beginnings_are_read(asked: Model, batch: Batch) -> None:
    """As published: the answers with the likeliest first tokens, of which the best is told."""
    choices = answer.Choices(asked.tokens, ANSWERS, 12)
    whole = torch.stack([scores_one_by_one(asked, batch, text) for text in ANSWERS], 1)
    firsts = [row[1] for row in asked.tokens.rows(ANSWERS, 12)]
    begun = asked.system.step(asked.system.start(batch), torch.full((3,), asked.config.dec))[0].softmax(1)
    for question, told in enumerate(answer.choose(asked.system, batch, choices, 1, first=1)):
        token = max(set(firsts), key=lambda one: float(begun[question, one]))
        kept = [at for at, first in enumerate(firsts) if first == token]
        assert told[0].text == ANSWERS[max(kept, key=lambda at: float(whole[question, at]))]


def test_the_tree_reads_less(asked: Model, batch: Batch) -> None:
    """Beginnings are shared, and those that are already too costly are left."""

    class Counting:
        first_token, last_token, config = asked.system.first_token, asked.system.last_token, asked.config
        rows = 0

        def start(self, batch):
            return asked.system.start(batch)

        def step(self, state, tokens):
            self.rows += len(tokens)
            return asked.system.step(state, tokens)

    plain, pruned = Counting(), Counting()
    choices = answer.Choices(asked.tokens, ANSWERS, 12)
    answer.choose(plain, batch, choices, len(ANSWERS), first=0)
    answer.choose(pruned, batch, choices, 1, first=0)
    beginnings = {tuple(row[1:at]) for row in asked.tokens.rows(ANSWERS, 12) for at in range(1, len(row))}
    assert plain.rows == 3 * len(beginnings)
    assert pruned.rows < plain.rows


@torch.no_grad()
def test_written_answers_do_not_depend_on_who_is_asked_beside(asked: Model, batch: Batch) -> None:
    told = answer.write(asked, batch)
    assert batch.images is not None
    for at, image in enumerate((1, 0, 0)):
        ids = batch.question.texts.ids[at : at + 1, batch.question.texts.mask[at]]
        alone = Batch(images=batch.images[image : image + 1], question=Questions(Texts.unpadded(ids)))
        again = answer.write(asked, alone)
        assert again[0][0].text == told[at][0].text
        assert again[0][0].score == pytest.approx(told[at][0].score, abs=1e-4)


def test_what_cannot_be_asked_is_said(asked: Model) -> None:
    with pytest.raises(Mistake, match="no answer to choose from"):
        answer.Choices(asked.tokens, ["", "  "], 12)
    long = "what colour is the big red ball on the left of the small dog"
    for what in ("question", "statement"):
        with pytest.raises(Mistake, match=f"The {what} is longer than the 12 tokens"):
            answer.demand_short(what, long, asked.tokens, 12)
        answer.demand_short(what, "what colour is it", asked.tokens, 12)


@torch.no_grad()
def test_statements_are_judged_by_pictures_in_their_order() -> None:
    model = model_of("blip_nlvr")
    images = torch.randn(2, 2, 3, 32, 32, generator=torch.Generator().manual_seed(2))
    said = ["the left ball is red", "two dogs"]
    both = [one.chance for one in reason.reason(model, images, said)]
    turned = [one.chance for one in reason.reason(model, images.flip(1), said)]
    assert all(0 < chance < 1 for chance in both)
    assert max(abs(one - other) for one, other in zip(both, turned)) > 1e-3
    one = reason.reason(model, images[:1], said, image_of=[0, 0])
    assert one[0].chance == pytest.approx(both[0], abs=1e-5) and one[0].true == (both[0] > 0.5)
    with pytest.raises(ValueError, match="needs 2 pictures"):
        reason.reason(model, images[:, :1], said)


@torch.no_grad()
def test_candidates_are_ranked_as_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dialog, "GROUP", 4)
    model = model_of("blip_visdial")
    image = torch.randn(3, 32, 32, generator=torch.Generator().manual_seed(2))
    said = [Round("what colour is the ball", "red"), Round("is it big", "no")]
    seen = dialog.encode(model, image, "a ball on the left of a dog")
    found = dialog.rank_answers(model, seen, said, "is it small", ANSWERS)
    before = spoken(model.tokens, [*said, Round("is it small")])[-1]
    for score, text in zip(found.tolist(), ANSWERS):
        ids = framed(model.tokens, before, model.tokens.rows([text], 12)[0][1:-1], model.config.length)
        batch = Batch(images=image[None, None], texts=Texts.unpadded(torch.tensor([ids])))
        caption = model.tokens.encode(["a ball on the left of a dog"], model.config.caption_length)
        batch = replace(batch, caption=Texts(*caption))
        assert score == pytest.approx(float(model.system.match(batch)[0]), abs=1e-4)
    ranking = dialog.rank(model, seen, said, "is it small", ANSWERS)
    assert ranking.scores == tuple(sorted(found.tolist(), reverse=True)) and set(ranking.texts) == set(
        ANSWERS
    )
    other = dialog.rank_answers(model, seen, said[::-1], "is it small", ANSWERS)
    assert (other - found).abs().max() > 1e-3
    assert dialog.shortened(model.tokens, said * 3, "is it small", model.config.length)
    assert not dialog.shortened(model.tokens, said[:1], "is it small", model.config.length)


def test_what_a_round_is_worth() -> None:
    told = dialog.worth([0.1, 0.9, 0.5], 2, [0.0, 1.0, 0.5])
    assert told["MRR"] == 0.5 and told["R@1"] == 0 and told["R@5"] == 1 and told["mean rank"] == 2
    assert told["NDCG"] == 1.0
    assert dialog.worth([0.1, 0.9], None) == {}
    assert reason.verdicts([0.9, 0.2, 0.7], [True, False, False], ["a", "a", "b"]) == {
        "accuracy": pytest.approx(2 / 3), "consistency": 0.5,
    }  # fmt: skip
