"""The tokenizer against what Stanford's PTBTokenizer said (words.json: sentences and its answers, made once with Java)."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pairloom.metrics.words import tokenize, words

GOLDEN = json.loads(Path(__file__).with_name("words.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("text, expected", GOLDEN, ids=[text[:30] for text, _ in GOLDEN])
def test_equals_the_java_tokenizer(text, expected):
    assert words(text) == expected.split()


@given(st.text(max_size=200))
def test_any_text_gives_words(text):
    made = words(text)
    assert all(word and not word.isspace() and word == word.lower() for word in made if word.isascii())
    assert tokenize([text]) == [" ".join(made)]


def test_long_text_takes_no_longer_than_its_length():
    assert len(words("a man's dog " * 20_000)) == 80_000
    assert words("-" * 100_000) == [] and words("a" * 100_000) == ["a" * 100_000]
    assert len(words("!" * 50_000 + "a.b" * 10_000)) == 2
