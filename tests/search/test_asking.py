"""Asking: the query language, term by term."""

from __future__ import annotations

from pathlib import Path

import pytest

from pairloom.errors import Mistake
from pairloom.search.asking import Term, parse


@pytest.mark.parametrize(
    ("asked", "terms"),
    [
        ("sunset", [(1, "sunset")]),
        ("  sunset   over the sea ", [(1, "sunset over the sea")]),
        ("sunset - people", [(1, "sunset"), (-1, "people")]),
        ("sunset + sea - two people", [(1, "sunset"), (1, "sea"), (-1, "two people")]),
        ("- people", [(-1, "people")]),
        ("+ sea", [(1, "sea")]),
        ("black-and-white photo", [(1, "black-and-white photo")]),
        ("2:golden retriever - .5:fruit", [(2, "golden retriever"), (-0.5, "fruit")]),
        ('"rock + roll" - "2:frame"', [(1, "rock + roll"), (-1, "2:frame")]),
        ('3:"a - b"', [(3, "a - b")]),
        ('a "red car" parked', [(1, "a red car parked")]),
        ("12:30 on a clock", [(1, "12:30 on a clock")]),
        ("café 日本", [(1, "café 日本")]),
        ('"photo.jpg"', [(1, "photo.jpg")]),
    ],
)
def test_words(asked, terms) -> None:
    assert parse(asked) == tuple(Term(float(weight), words) for weight, words in terms)


def test_pictures(tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "my beach.jpg").write_bytes(b"x")
    (tmp_path / "plain").write_bytes(b"x")
    monkeypatch.chdir(tmp_path)
    assert parse("sunset - 2:my beach.jpg") == (Term(1.0, "sunset"), Term(-2.0, picture=Path("my beach.jpg")))
    assert parse("./plain") == (Term(1.0, picture=Path("plain")),)
    assert parse(f"{tmp_path}/plain + sea")[0].picture == tmp_path / "plain"
    assert parse("plain") == (Term(1.0, "plain"),)


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ("", "nothing to search"),
        ("   ", "nothing to search"),
        ("+", "term is missing"),
        ("sunset -", "term is missing"),
        ("a + - b", "term is missing"),
        ('"red', "does not end"),
        ('""', "no words"),
        ("0:red", "The weight of "),
        ("sunset + ./nowhere.jpg", "no picture at"),
        ("nowhere.PNG", "no picture at"),
    ],
)
def test_mistakes(asked, said, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(Mistake, match=said):
        parse(asked)
