"""Claims of Flamingo: pages whose words only the page tells, what is known when, and the command, resumed."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from experiments.claims import _new_words, flamingo
from experiments.claims._new_words import COLOURS, WAYS, Lexicon, Pages, Pairs, TextPages
from pairloom.data.order import Plan
from pairloom.errors import Mistake

SMALL = flamingo.Setting(
    scenes=100, held=100, width=16, questions=12, vision_steps=2, language_steps=2, longest=17, steps=2, batch=2, pictures=3
)  # fmt: skip


@pytest.fixture(scope="module")
def lexicon() -> Lexicon:
    return Lexicon.of(1)


@pytest.fixture(scope="module")
def scenes() -> _new_words.Scenes:
    return _new_words.scenes(100, 1, 32)


def test_a_page_calls_a_colour_by_one_word(lexicon: Lexicon) -> None:
    """In every row each colour has one word and each word one colour; another pairing in other rows; at most four."""
    colours, words = _new_words.drawn(np.random.default_rng(0), 50, 20, WAYS)
    pairs = [set(zip(*row)) for row in zip(colours.tolist(), words.tolist())]
    for pair in pairs:
        assert len({colour for colour, _ in pair}) == len({word for _, word in pair}) == len(pair) <= WAYS
    assert len({word for pair in pairs for colour, word in pair if colour == 0}) > 5


def test_only_words_told_before_are_scored(lexicon: Lexicon) -> None:
    assert _new_words.again(np.array([[7, 8, 7, 7, 8, 9]])).tolist() == [
        [False, False, True, True, True, False]
    ]
    batch = TextPages(lexicon, 17, 10).batch(np.random.default_rng(0), 4, 10)
    tokens, keep = batch.text()
    assert tokens.shape == (4, 1 + 3 * 17) and keep.any(1).all()
    for row, scored in zip(tokens.tolist(), keep.tolist()):
        assert [at for at, one in enumerate(scored) if one] == [
            at for at in range(2, 52, 3) if row[at] in row[2:at:3]
        ]
        before = {row[at]: row[at + 1] for at in range(1, 52, 3)}
        assert all(
            before[row[at]] == row[at + 1] for at in range(1, 52, 3)
        )  # what a colour is called, it stays


def test_texts_grow(lexicon: Lexicon) -> None:
    """Three entries at first, all of them at the end, and as many tokens in a step at most."""
    texts = TextPages(lexicon, 17, 100)
    lengths = [_new_words.grown(at, 100, 17) for at in range(100)]
    assert lengths[0] == lengths[34] == 3 and lengths[80] == lengths[99] == 17 and sorted(lengths) == lengths
    plan = Plan(4, seed=3)
    first = next(texts.read(plan, 0))[0].text()[0]
    assert first.shape == (4 * 17 // 3, 10)
    again = next(texts.read(plan, 0))[0].text()[0]
    assert torch.equal(first, again)
    skipped = [part[0].text()[0] for part, _ in zip(texts.read(plan, 0, 1), range(2))]
    walked = [part[0].text()[0] for part, _ in zip(texts.read(plan, 0), range(3))]
    assert all(map(torch.equal, skipped, walked[1:]))  # a run can go on at any step


def test_pages_show_what_they_say(lexicon: Lexicon, scenes: _new_words.Scenes) -> None:
    """Pictures called by one word have one colour; a pair names the colour of its picture."""
    images = torch.arange(100.0).view(100, 1, 1, 1).expand(-1, 3, 2, 2)  # each says its number
    made = Pages(lexicon, scenes, images, 6, 1).batch(np.random.default_rng(2), 8, 1)
    assert made.images is not None
    numbers, tokens = made.images[:, :, 0, 0, 0].long(), made.text()[0]
    assert (tokens[:, 1::3] == lexicon.tokens.id("image")).all()
    for shown, said in zip(scenes.colour[numbers.numpy()], tokens[:, 2::3].tolist()):
        assert len(set(zip(shown, said))) == len(set(said)) == len(set(shown))
    made = Pairs(lexicon, scenes, images, 1, 1).batch(np.random.default_rng(2), 8, 0)
    assert made.images is not None and made.images.shape[1] == 1 and made.text()[1].sum() == 8
    numbers = made.images[:, 0, 0, 0, 0].long()
    assert made.text()[0][:, 2].tolist() == lexicon.colour[scenes.colour[numbers.numpy()]].tolist()


def test_questions(lexicon: Lexicon, scenes: _new_words.Scenes) -> None:
    """The word asked for is what the page calls that colour; the blind words are not on the page."""
    asked = _new_words.questions(scenes, lexicon, 40, 16, 0)
    for one in asked:
        called = dict(zip(scenes.colour[one.pictures], one.words))
        colour = scenes.colour[one.picture]
        assert called.get(colour, one.word) == one.word and one.word not in one.blind
        assert len(one.blind) == 2 and not set(one.blind) & set(one.words)
    assert np.mean([one.word in one.words for one in asked]) > 0.9 and len(COLOURS) == 8


def test_the_claims_run_and_go_on(tmp_path: Path) -> None:
    """Nothing but what a claim needs; the same bits again; at the start every logit is the language model's, to the bit."""

    def ask(*only: str) -> list[dict]:
        return flamingo.run(tmp_path, SMALL, [0], only, 1, lambda *told: None)

    rows = ask("gates", "shots")
    assert not (tmp_path / "seed-0" / "pairs-alone.json").exists()
    by = {(row["new"], row["old"], row["measure"]): row for row in rows}
    start = by["at the start", "flamingo", "logits of the language model"]
    assert (start["new_mean"], start["old_mean"]) == (1.0, 0.0)
    shut = json.loads((tmp_path / "seed-0" / "gates-held-shut.json").read_text())
    assert set(shut["logits of the language model"]) == {1.0}
    assert {row["verdict"] for row in rows} == {"undecided: 3 seeds are needed"}
    lost = tmp_path / "seed-0" / "flamingo.json"
    before = lost.read_bytes()
    lost.unlink()
    assert ask("gates", "shots") == rows and lost.read_bytes() == before
    tuned = ask("frozen")
    assert [row["measure"] for row in tuned] == [flamingo.MOST, "texts right"]
    frozen, start = (
        json.loads((tmp_path / "seed-0" / f"{name}.json").read_text()) for name in ("flamingo", "start")
    )
    assert frozen["texts right"] == start["texts right"]  # it was not touched
    with pytest.raises(Mistake, match="another setting"):
        flamingo.run(tmp_path, flamingo.Setting(), [0], ["shots"], 1, lambda *told: None)


def test_known_answers_grow_with_shots() -> None:
    made = {("flamingo", 0): {f"right after {shots}": [float(shots)] for shots in flamingo.SHOTS}}
    found = flamingo.derived(made)
    assert found["1 shot", 0] == {"right": [1.0]} and found["16 shots", 0] == {"right": [16.0]}
