"""The lexicon of a set: classes of words from the texts alone, and texts with one word exchanged."""

from __future__ import annotations

import itertools

import numpy as np

from pairloom.regression.lexicon import Lexicon
from pairloom.regression.words import word_spans

COLOURS, THINGS, NUMBERS = ("red", "blue", "green"), ("ball", "car", "dog", "dogs"), ("two", "three", "four")
TEXTS = [
    f"There are {number} {colour} {thing} on the grass"
    for number, colour, thing in itertools.product(NUMBERS, COLOURS, THINGS)
] * 2


def test_words_that_stand_in_the_same_places_are_a_class() -> None:
    lexicon = Lexicon.learn(TEXTS)
    for kind in (COLOURS, THINGS, NUMBERS):
        for word in kind:
            nearest = [lexicon.words[place] for place in lexicon.classes[lexicon.places[word]]]
            assert set(nearest[: len(kind) - 1]) == set(kind) - {word}


def test_shares_and_table_count_texts() -> None:
    lexicon = Lexicon.learn(TEXTS)
    assert lexicon.shares[lexicon.places["grass"]] == 1
    assert np.isclose(lexicon.shares[lexicon.places["red"]], 1 / 3)
    table = lexicon.table([["a red ball", "a blue car"], []])
    assert table[0, [lexicon.places[word] for word in ("red", "ball", "blue", "dog")]].tolist() == [
        0.5,
        0.5,
        0.5,
        0,
    ]
    assert not table[1].any()
    assert lexicon.known("Red red UNHEARD ball") == [lexicon.places["red"], lexicon.places["ball"]]


def test_an_edit_exchanges_one_word_for_another_of_its_class() -> None:
    lexicon = Lexicon.learn(TEXTS)
    visible = np.isin(lexicon.words, COLOURS + THINGS)
    avoid = {lexicon.places[word] for word in ("red", "ball", "green")}
    seen = set()
    for seed in range(40):
        edit = lexicon.edit("Red ball, on the grass", avoid, visible, seed)
        assert edit is not None
        text, new = edit
        assert [word for word, *_ in word_spans(text)][2:] == ["on", "the", "grass"] and "," in text
        seen.add(text)
        assert lexicon.words[new] in text and new not in avoid
    assert seen == {
        "blue ball, on the grass",
        "Red car, on the grass",
        "Red dog, on the grass",
        "Red dogs, on the grass",
    }


def test_a_swap_puts_two_words_of_one_class_in_each_others_place() -> None:
    lexicon = Lexicon.learn(TEXTS)
    visible = np.isin(lexicon.words, COLOURS + THINGS)
    swapped = {lexicon.swap("Red ball, two blue cars: a car", visible, seed) for seed in range(20)}
    assert swapped == {"blue ball, two red cars: a car", "Red car, two blue cars: a ball"}
    assert lexicon.swap("Red ball", visible, 0) is None  # of two classes
    assert lexicon.swap("red ball, red ball", visible, 0) is None  # the same words
    assert lexicon.swap("red blue", np.isin(lexicon.words, THINGS), 0) is None


def test_forms_of_a_word_are_no_edit_and_words_that_nothing_tells_stay() -> None:
    lexicon = Lexicon.learn(TEXTS)
    only = np.isin(lexicon.words, ("dog", "dogs"))
    assert lexicon.edit("two red dogs", set(), only, 0) is None
    assert lexicon.edit("nothing known", set(), np.ones(len(lexicon), bool), 0) is None


def test_a_lexicon_survives_being_saved() -> None:
    lexicon = Lexicon.learn(TEXTS)
    again = Lexicon.of(lexicon.tensors(), lexicon.words)
    assert again.words == lexicon.words and np.array_equal(again.classes, lexicon.classes)


def test_an_empty_set_has_no_words() -> None:
    assert len(Lexicon.learn(["one", "two"])) == 0
