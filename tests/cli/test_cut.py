"""Texts of which a model reads only the beginning: every command that reads texts says so, once, with their number."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from pairloom.clean.judges import cut_by, judge_of_model
from pairloom.data.cut import CutTexts, cut_texts
from pairloom.data.tokens import Tokens
from pairloom.model import build, save

LONG = "a red star " * 40


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small model, and a set of three pictures of which one has a long text."""
    root = tmp_path_factory.mktemp("cut")
    tokens = Tokens.train(["a red star", "a blue square"] * 9, 80)
    save(build("blip", tokens, "tiny"), root / "model")
    (root / "pairs").mkdir()
    for at, (colour, text) in enumerate((("red", LONG), ("blue", "a blue square"), ("white", "a red star"))):
        Image.new("RGB", (24, 24), colour).save(root / "pairs" / f"{at}.png")
        (root / "pairs" / f"{at}.txt").write_text(text)
    return root


def test_they_are_counted_once_each() -> None:
    """Two words and two tokens around them are four; of seven tokens six are read."""
    tokens = Tokens.train(["a red star", "a blue square"] * 9, 80)
    texts = ["a red star", "a red star a red", "a red star a red", "a red star a red star"]
    assert [len(row) for row in tokens.rows(texts, 99)] == [5, 7, 7, 8]
    assert cut_texts(tokens, texts, 6) == CutTexts(2, 8, 6) and not cut_texts(tokens, texts, 8)
    assert (
        str(CutTexts(1, 9, 6))
        == "1 text is longer than the model reads: the first 6 tokens are (the longest has 9)"
    )


@pytest.mark.parametrize("command", ["match", "score", "retrieve", "index", "search"])
def test_a_command_says_it_and_its_json_has_it(call, place: Path, tmp_path: Path, command: str) -> None:
    model, pairs = ("--model", place / "model"), place / "pairs"
    out = tmp_path / ("scores.parquet" if command == "score" else "out")
    words = {
        "match": ["match", pairs / "0.png", LONG, "a red star", *model],
        "score": ["score", pairs, "--out", out, "--workers", "1", *model],
        "retrieve": ["retrieve", pairs, *model],
        "index": ["index", pairs, "--out", out, *model],
        "search": ["search", out, LONG],
    }
    if command == "search":
        assert call(*words["index"])[0] == 0
    _, printed, said = call(*words[command])
    assert " ".join((printed + said).split()).count("1 text is longer than the model reads") == 1
    extra = ["--restart"] if command in ("score", "index") else []
    facts = json.loads(call(*words[command], *extra, "--json")[1])
    assert facts["cut"]["texts"] == 1 and facts["cut"]["longest"] > facts["cut"]["reads"] > 0


def test_a_judge_of_the_main_job_counts_them(place: Path) -> None:
    """`clean` and `score` take the number of the model that their judge asks."""
    judge = judge_of_model(place / "model")
    assert cut_by(judge, [LONG, LONG, "a red star"]).texts == 1


def test_classes_that_are_cut_are_said_beside_the_lines(call, place: Path) -> None:
    words = ("classify", place / "pairs" / "0.png", "--classes", f"{LONG},square", "--model", place / "model")
    code, out, said = call(*words, "--template", "name")
    assert code == 0 and len(out.splitlines()) == 1
    assert " ".join(said.split()).count("1 text is longer than the model reads") == 1
