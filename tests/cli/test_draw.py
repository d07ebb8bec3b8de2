"""pairloom draw: a file for each text and number, the same again, nothing drawn twice."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

pytest.importorskip("diffusers")
pytest.importorskip("transformers")

from PIL import Image  # noqa: E402

from pairloom import registry  # noqa: E402
from pairloom.data.tokens import Tokens  # noqa: E402
from pairloom.errors import Mistake  # noqa: E402
from pairloom.model import build, save  # noqa: E402


def pixels(file: Path) -> tuple[tuple[int, int], bytes]:
    with Image.open(file) as image:
        return image.size, image.convert("RGB").tobytes()


draw = registry.find("cli", "draw").command


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    words = Tokens.train(["a red square", "two blue cats"] * 4, 64)
    return save(build("latent_diffusion", words, "tiny"), tmp_path_factory.mktemp("models") / "tiny")


def test_pictures(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = dict(model=model, several=2, steps=3, json=True)
    draw(["a red square", "two blue cats", "a red square"], out=tmp_path / "one", **options)  # type: ignore[arg-type]
    told = json.loads(capsys.readouterr().out)
    files = [Path(row["picture"]) for row in told]
    assert [row["text"] for row in told] == ["a red square"] * 2 + ["two blue cats"] * 2
    assert len(set(files)) == 4 and all(pixels(file)[0] == (32, 32) for file in files)
    assert len({file.read_bytes() for file in files}) == 4
    draw(["two blue cats"], out=tmp_path / "two", group=1, **options)  # type: ignore[arg-type]
    again = [Path(row["picture"]) for row in json.loads(capsys.readouterr().out)]
    for file, other in zip(files[2:], again):  # beside other texts, or alone: up to the last bit of a colour
        one, two = (pixels(which)[1] for which in (file, other))
        assert file.name == other.name and max(abs(a - b) for a, b in zip(one, two)) <= 1
    before = files[0].stat().st_mtime_ns
    draw(["a red square"], out=tmp_path / "one", **options)  # type: ignore[arg-type]
    assert files[0].stat().st_mtime_ns == before


def test_what_does_not_fit(model: Path, tmp_path: Path) -> None:
    with pytest.raises(Mistake, match="longer than the model reads"):
        draw(["a red square " * 9], model=model, out=tmp_path)
    with pytest.raises(Mistake, match="above 0"):
        draw(["a red square"], model=model, out=tmp_path, steps=0)
    other = save(build("clip", Tokens.train(["a red square"] * 4, 64), "tiny"), tmp_path / "clip")
    with pytest.raises(Mistake, match="cannot draw"):
        draw(["a red square"], model=other, out=tmp_path / "out")
