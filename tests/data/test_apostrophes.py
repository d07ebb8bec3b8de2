"""Apostrophes of decoded texts, against sentences as people write them."""

from __future__ import annotations

import pytest

from pairloom.data.apostrophes import join_apostrophes
from pairloom.data.tokens import Tokens

SENTENCES = [
    "a man's hat isn't on his head",
    "they're here and we've seen it, i'd say they'll stay",
    "the dogs' toys",
    "a sign that says 'stop' on it",
    "a sign says 'no parking'.",
    "five o'clock",
    "y'all",
    "rock 'n' roll",
    "kids' books and women's shoes",
    "without any",
]


@pytest.mark.parametrize("sentence", SENTENCES)
def test_a_sentence_comes_back_as_it_was(sentence: str) -> None:
    tokens = Tokens.train(SENTENCES * 20, 400)
    assert tokens.decode(tokens.bare([sentence])[0]) == sentence


@pytest.mark.parametrize("text", ["'", "' '", " ' ", "a '", "' a", "''", "s ' s ' s"])
def test_no_text_is_too_odd(text: str) -> None:
    assert join_apostrophes(text).replace(" ", "") == text.replace(" ", "")
