"""pairloom explain: figures that can be looked at, numbers, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
from PIL import Image
from typer.testing import CliRunner

from pairloom.api import figure
from pairloom.cli import caption
from pairloom.cli import explain as command
from pairloom.data.tokens import Tokens
from pairloom.errors import Mistake
from pairloom.model import build, save

TOKENS = Tokens.train(["a red square on green grass", "two blue circles", "a <b>bold</b> star"] * 3, 200)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("explain")
    for name in ("show_attend_tell", "blip", "clip"):
        save(build(name, TOKENS, "tiny"), folder / name)
    pixels = np.zeros((40, 60, 3), np.uint8)
    pixels[:, :30] = (200, 30, 30)
    Image.fromarray(pixels).save(folder / "picture.png")
    return folder


def ask(place: Path, model: str, *words: str) -> Any:
    app = typer.Typer()
    app.command()(command.command)
    told = [str(place / "picture.png"), *words, "--model", str(place / model)]
    done = CliRunner().invoke(app, told, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout


def test_a_figure_has_a_panel_a_word(place: Path, tmp_path: Path) -> None:
    out = tmp_path / "figure.png"
    said = ask(place, "show_attend_tell", "a red square", "--out", str(out), "--checks", "2")
    assert (
        "a red square" in said and "explained by attention" in said and "random ones that left more" in said
    )
    step, high = figure.SIDE + 8, figure.LABEL + figure.SIDE + 8 + figure.LABEL + 8
    with Image.open(out) as image:
        assert image.size == (5 * step + 8, high)  # picture, three words, all of it
        plain = np.asarray(image.crop((8, 120, 8 + figure.SIDE, 220)))
    assert plain[:, :100].mean((0, 1)) == pytest.approx([200, 30, 30], abs=3) and plain[:, 130:].mean() < 3


def test_json_and_a_page(place: Path, tmp_path: Path) -> None:
    out = tmp_path / "figure.html"
    told = json.loads(ask(place, "blip", "a <b>bold</b> star", "--json", "--out", str(out), "--checks", "3"))
    assert told["way"] == "gradient" and told["by"] == "match head"
    assert len(told["maps"]) == len(told["words"]) and np.shape(told["whole"]) == (4, 4)
    assert [one["share"] for one in told["faithfulness"]] == [0.1, 0.2, 0.3]
    page = out.read_text()
    assert page.count("<figure>") == len(told["words"]) + 2 and page.count(
        "data:image/png;base64,"
    ) == page.count("<img")
    assert 'name="viewport"' in page and "color-scheme:light dark" in page
    assert "<b>" not in page and "http" not in page  # texts are texts, and nothing is fetched


def test_without_a_text_the_model_writes_one(place: Path) -> None:
    told = json.loads(ask(place, "show_attend_tell", "--json", "--checks", "0"))
    assert told["text"] and told["by"] == "likelihood" and told["words"] and told["faithfulness"] == []
    assert json.loads(ask(place, "show_attend_tell", "--json", "--checks", "0")) == told


def test_nothing_is_overwritten(place: Path, tmp_path: Path) -> None:
    out = tmp_path / "figure.png"
    out.write_bytes(b"mine")
    with pytest.raises(Mistake, match="exists already"):
        ask(place, "show_attend_tell", "a star", "--out", str(out))
    assert out.read_bytes() == b"mine"
    ask(place, "show_attend_tell", "a star", "--out", str(out), "--checks", "0", "--restart")
    assert out.read_bytes().startswith(b"\x89PNG")
    picture = (place / "picture.png").read_bytes()
    with pytest.raises(Mistake, match="is the picture itself"):
        ask(place, "show_attend_tell", "a star", "--out", str(place / "." / "picture.png"), "--restart")
    assert (place / "picture.png").read_bytes() == picture


def test_wrong_use_is_a_mistake(place: Path, tmp_path: Path) -> None:
    for model, words, match in (
        ("clip", [], "cannot write"),
        ("clip", ["a star", "--by", "match"], "cannot score by match"),
        ("blip", ["a star", "--out", str(tmp_path / "figure.gif")], "neither a picture nor a page"),
        ("blip", ["a star", "--checks", "-1"], "no number of choices"),
        ("blip", ["a star " * 20], "longer than the model reads"),
        ("nothing", ["a star"], "There is no model"),
    ):
        with pytest.raises(Mistake, match=match):
            ask(place, model, *words)
    (place / "broken.png").write_bytes(b"no picture")
    app = typer.Typer()
    app.command()(command.command)
    with pytest.raises(Mistake, match="cannot be read"):
        told = [str(place / "broken.png"), "a star", "--model", str(place / "blip")]
        CliRunner().invoke(app, told, catch_exceptions=False)


def test_a_map_is_light_where_it_is_high() -> None:
    view = np.full((28, 28, 3), 120, np.uint8)
    shares = np.zeros((4, 4), np.float32)
    shares[0, 0] = 0.2
    (_, _), (word, lit), (_, dark) = figure.panels(view, ["red"], shares[None], np.zeros((4, 4), np.float32))
    pixels = np.asarray(lit).astype(int)
    assert word == "red" and pixels[20, 20].min() > 150 and pixels[200, 200].max() < 50
    assert np.asarray(dark).max() < 50


def test_a_caption_longer_than_the_model_writes_is_a_mistake(place: Path) -> None:
    app = typer.Typer()
    app.command()(caption.command)
    told = [str(place / "picture.png"), "--model", str(place / "show_attend_tell"), "--max-length", "13"]
    with pytest.raises(Mistake, match="at most 12 tokens"):
        CliRunner().invoke(app, told, catch_exceptions=False)
    done = CliRunner().invoke(app, [*told[:-1], "12", "--way", "greedy"], catch_exceptions=False)
    assert len(json.loads(done.stdout)["captions"]) == 1
