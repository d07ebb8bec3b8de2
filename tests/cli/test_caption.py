"""caption: what of its options does not fit is said, and nothing is cut in silence."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from pairloom.data.tokens import Tokens
from pairloom.model import build, save


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("caption")
    Image.new("RGB", (40, 30), "red").save(root / "red.png")
    save(build("blip", Tokens.train(["a red wall", "a blue wall"] * 9, 64), "tiny"), root / "model")
    return root


@pytest.mark.parametrize(
    "words, said",
    [
        (("--way", "beems"), "no way of writing 'beems'"),
        (("--max-length", "1"), "max_length"),
        (("--max-length", "-3"), "max_length"),
        (("--max-length", "999"), "longer than the model writes"),
        (("--prompt", "a red wall " * 99), "prompt"),
        (("--prompt", "a red wall", "--max-length", "4"), "prompt"),
        (("--beams", "0"), "beams"),
        (("--several", "4"), "raise beams"),
        (("--way", "nucleus", "--top-p", "4"), "top_p"),
        (("--speed", "warp"), "no speed 'warp'"),
    ],
)
def test_what_does_not_fit_is_said(call, place: Path, words: tuple[str, ...], said: str) -> None:
    code, out, err = call("caption", place / "red.png", "--model", place / "model", *words)
    assert code == 2 and said in " ".join(err.split()) and not out


def test_only_the_option_that_changed_is_named(call, place: Path, tmp_path: Path) -> None:
    words = ("caption", place / "red.png", "--model", place / "model", "--out", tmp_path / "out.jsonl")
    assert call(*words)[0] == 0
    code, _, err = call(*words, "--way", "greedy")
    assert code == 2 and "way was beam, is greedy." in " ".join(err.split()) and "beams was" not in err


def test_a_prompt_that_fits_stands_at_the_head(call, place: Path) -> None:
    words = ("--prompt", "a red", "--max-length", "6", "--min-length", "0")
    code, out, _ = call("caption", place / "red.png", "--model", place / "model", *words)
    assert code == 0 and json.loads(out)["captions"][0]["text"].startswith("a red")


def test_a_text_that_is_cut_is_named(call, place: Path) -> None:
    texts = ("a red wall", "a blue wall " * 99)
    code, out, err = call("match", place / "red.png", *texts, "--model", place / "model", "--json")
    assert code == 0 and len(json.loads(out)["texts"]) == 2
    assert "1 text is longer than the model reads" in " ".join(err.split())
    assert not call("match", place / "red.png", *texts[:1], "--model", place / "model", "--json")[2]


def test_other_weights_at_the_same_path_do_not_go_on(call, place: Path, tmp_path: Path) -> None:
    """Lines that another model wrote, though it lay where this one lies, are refused."""
    import torch

    from pairloom import model as models
    from pairloom.weights import load

    models.save(load(place / "model"), tmp_path / "model")
    words = ("caption", place / "red.png", "--model", tmp_path / "model", "--out", tmp_path / "out.jsonl")
    assert call(*words)[0] == 0
    assert call(*words)[0] == 0
    model = load(tmp_path / "model")
    with torch.no_grad():
        for parameter in model.system.parameters():
            parameter.mul_(1.01)
    models.save(model, tmp_path / "model")
    code, _, err = call(*words)
    assert code == 2 and "holds answers to something else" in " ".join(err.split())
    assert call(*words, "--restart")[0] == 0
