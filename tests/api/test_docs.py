"""Every Python block of docs/api.md runs, in order, in one namespace; so do those of the pages beside it."""

from __future__ import annotations

import re
from pathlib import Path

import numpy
import pytest
from PIL import Image

from pairloom.data.tokens import Tokens
from pairloom.model import build, save

DOCS = Path(__file__).resolve().parents[2] / "docs"
MODELS = ("blip", "blip_vqa", "blip_nlvr", "blip_visdial", "flamingo")
COLOURS = ("red", "blue", "green", "white")


def blocks(page: str) -> list[str]:
    found = re.findall(r"^```python\n(.*?)^```", (DOCS / page).read_text(), re.MULTILINE | re.DOTALL)
    assert found, page
    return found


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two pictures, a small set and a tiny model of each kind, by the names that the page gives them."""
    root = tmp_path_factory.mktemp("docs")
    words = ["a red ball", "a blue cat on a white house", "how many dogs are there yes no 2 output :"]
    words += ["both pictures show a dog", "is it day red big", "what is it", "a beach", "a city"]
    tokens = Tokens.train(words * 9, 200)
    for name in MODELS:
        save(build(name, tokens, "tiny"), root / name)
    draw = numpy.random.default_rng(0)
    for name in ("beach.jpg", "city.jpg"):
        Image.fromarray(draw.integers(0, 256, (40, 60, 3), numpy.uint8)).save(root / name)
    (root / "raw").mkdir()
    for at in range(16):
        pixels = draw.integers(0, 256, (32, 32, 3), numpy.uint8)
        Image.fromarray(pixels).save(root / "raw" / f"{at:02d}.png")
        (root / "raw" / f"{at:02d}.txt").write_text(f"a {COLOURS[at % 4]} ball number {at}")
    return root


def test_every_block_of_the_page_runs(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(place)
    names: dict[str, object] = {}
    for text in blocks("api.md"):
        if "latent_diffusion" in text:
            continue  # of an extra: the next test
        exec(compile(text, "docs/api.md", "exec"), names)  # noqa: S102
        assert capsys.readouterr().out.strip() or "save" in text, text
    assert (place / "words.png").stat().st_size > 1000 and (place / "saved" / "config.json").is_file()
    assert len((place / "captions.jsonl").read_text().splitlines()) == 16


def test_a_picture_is_drawn(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("diffusers")
    pytest.importorskip("transformers")
    import pairloom

    monkeypatch.chdir(place)
    save(build("latent_diffusion", Tokens.train(["a red ball"] * 9, 64), "tiny"), place / "latent_diffusion")
    (text,) = (block for block in blocks("api.md") if "latent_diffusion" in block)
    exec(compile(text, "docs/api.md", "exec"), {"pairloom": pairloom})  # noqa: S102
    with Image.open(place / "ball.png") as image:
        assert image.size == (32, 32)


@pytest.mark.parametrize("page", ["explain.md", "speed.md"])
def test_blocks_of_other_pages_run(page: str, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place)
    for text in blocks(page):
        exec(compile(text, f"docs/{page}", "exec"), {})  # noqa: S102
