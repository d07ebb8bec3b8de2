"""Faults of pictures: each by pictures that have it and that have not, and the sizes and placeholders of a set."""

import io

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFilter
from scenes import photo

from pairloom.clean.audit import look
from pairloom.clean.duplicates import Groups
from pairloom.clean.perceptual_hash import grey_levels
from pairloom.clean.picture_faults import FLAT, SIZED, _is_flat, odd_sizes, picture_faults, thumbnail
from pairloom.clean.placeholders import MANY, placeholders, word_sketch
from pairloom.data.pair import Blob, make_pair
from pairloom.data.pixels import Facts


def faults_of(image: Image.Image, kind: str = "PNG") -> list[str]:
    file = io.BytesIO()
    image.save(file, kind)
    return look(make_pair("one", Blob(data=file.getvalue(), name="one"), ["a wall"]))[1]["image_faults"]


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
@pytest.mark.parametrize("size", [(90, 80), (640, 480)])
def test_photos_are_without_faults_and_planted_ones_are_named(size, kind) -> None:
    for number in range(3):
        image = photo(number, size)
        assert faults_of(image, kind) == []
        assert faults_of(image.point(lambda value: value // 8), kind) == ["dark"]
        assert faults_of(image.point(lambda value: 255 - (255 - value) // 10), kind) == ["over_exposed"]
        blurred = image.filter(ImageFilter.GaussianBlur(size[0] / 25))
        assert faults_of(blurred, kind) == ["blurred"]


@pytest.mark.parametrize("ground", [(238, 238, 238), (255, 255, 255), (70, 90, 160), (128, 120, 110)])
@pytest.mark.parametrize("words", ["No image", "404", "image not available"])
def test_a_flat_ground_with_a_few_words_is_nearly_empty(ground, words) -> None:
    image = Image.new("RGB", (200, 150), ground)
    ImageDraw.Draw(image).text((50, 60), words, fill=tuple(level * 2 // 3 - 40 for level in ground))
    for kind in ("PNG", "JPEG"):
        assert faults_of(image, kind) == ["nearly_empty"]


def noise(width: int, height: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 255, (height, width, 3), dtype=np.uint8))


def test_tiny_long_and_flat_pictures_are_named() -> None:
    assert faults_of(noise(15, 40)) == ["tiny"]
    assert faults_of(noise(16, 16)) == []
    assert faults_of(noise(61, 20)) == ["extreme_shape"]
    assert faults_of(noise(60, 20)) == []
    assert faults_of(Image.new("RGB", (90, 90), (9, 90, 9))) == ["blank"]


@pytest.mark.parametrize(
    "dots, height", [(0, 9), (1, 255), (1, 90), (40, 16), (40, 15), (2048, 2), (4095, 200)]
)
def test_flatness_is_the_largest_deviation_of_a_channel(dots: int, height: int) -> None:
    """The short way over the range never contradicts the definition."""
    pixels = np.zeros((64, 64, 3), np.uint8)
    pixels.reshape(-1, 3)[:dots, 1] = height
    wanted = pixels.astype(np.float64).std(axis=(0, 1)).max() < FLAT
    assert _is_flat(Image.fromarray(pixels), deep_colour=False) == wanted


def test_deep_colour_of_few_levels_is_not_blank() -> None:
    small = Image.fromarray(np.tile(np.array([0, 2], np.uint8), (64, 32))).convert("RGB")
    for deep in (False, True):
        known = Facts(100, 100, "PNG", "RGB", 1, False, False, False, deep)
        assert ("blank" in picture_faults(small, grey_levels(small), known)[0]) != deep


def test_faults_do_not_depend_on_the_size_that_is_asked_for() -> None:
    file = io.BytesIO()
    photo(1, (900, 700)).save(file, "JPEG")
    pair = make_pair("one", Blob(data=file.getvalue(), name="one"), ["a wall"])
    rows = [look(pair, least)[1] for least in (0, 64, 128, 600, 5000)]
    assert all(row == rows[0] for row in rows)
    assert min(look(pair, 5000)[0].size) == 700 and thumbnail(look(pair)[0]).size == (64, 64)


def test_sizes_are_odd_relative_to_the_set() -> None:
    usual = [640 * 480] * (SIZED - 2)
    assert odd_sizes(np.array([*usual, 32 * 24, 9600 * 7200, 0])).tolist() == [SIZED - 2, SIZED - 1]
    mixed = [(side * 3 // 4) * side for side in range(100, 5000, 200)]
    assert odd_sizes(np.array([*mixed, 60 * 80, 8000 * 6000])).tolist() == []
    assert odd_sizes(np.array([640 * 480, 10])).tolist() == []


SUBJECTS = "farmer train harbour kitchen soldier church mountain bridge market school tractor window river garden".split()
DEEDS = "waiting resting burning shining turning falling standing leaning drifting growing".split()
PLACES = "Ohio Texas Kansas Alaska Nevada Oregon Dakota Georgia Vermont Florida Montana Arizona".split()


def caption(number: int) -> str:
    return f"{SUBJECTS[number % 14]} {DEEDS[number // 3 % 10]} near {PLACES[number * 5 % 12]}"


def sizes_of(groups: list[list[str]], singles: int = 200) -> tuple[Groups, np.ndarray, np.ndarray]:
    """Groups of pairs with these texts, and pairs of single pictures."""
    texts = [text for group in groups for text in group] + [caption(number) for number in range(singles)]
    of = [number for number, group in enumerate(groups) for _ in group] + [-1] * singles
    known = Groups(np.array(of, np.int32), np.ones(len(of), bool), np.zeros(len(of), np.uint8))
    hashes = np.unique(texts, return_inverse=True)[1].astype(np.uint64) + 1
    return known, hashes, np.array([word_sketch([text]) for text in texts], np.uint64)


def test_a_picture_under_many_unrelated_texts_is_a_placeholder() -> None:
    many = [caption(number * 7 + 3) for number in range(60)]
    assert placeholders(*sizes_of([many])).tolist() == list(range(60))
    few = many[: MANY - 1]
    assert placeholders(*sizes_of([few, many[:20]])).tolist() == list(range(MANY - 1, MANY + 19))


@pytest.mark.parametrize(
    "about", ["an old red tractor in the field, {}", "une vieille ferme rouge, {}", "老房子在路边的照片{}"]
)
def test_captions_of_one_picture_share_words_and_are_kept(about: str) -> None:
    ways = [about.format(caption(number)) for number in range(30)]
    assert placeholders(*sizes_of([ways])).tolist() == []


def test_where_every_picture_has_many_texts_none_is_a_placeholder() -> None:
    groups = [[caption(number * 11 + group) for number in range(12)] for group in range(30)]
    assert placeholders(*sizes_of(groups, singles=0)).tolist() == []


def test_one_text_on_many_copies_is_no_placeholder() -> None:
    assert placeholders(*sizes_of([["a red barn at noon"] * 40])).tolist() == []
    assert placeholders(*sizes_of([], singles=0)).tolist() == []
