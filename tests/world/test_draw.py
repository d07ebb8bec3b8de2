"""Pictures: the boxes are where the things are, colours and patterns show, any size shows the same."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from pairloom.world import draw, picture, sample
from pairloom.world.kinds import SHAPES
from pairloom.world.level import COLOURS, LEVELS, PATTERNS, PLACES, Level
from pairloom.world.near import CHANGES, near_duplicates
from pairloom.world.regions import regions
from pairloom.world.scene import Relation, Scene, Thing


def lone(kind: str, colour: str = "red", pattern: str = "plain", high: float = 0.4) -> Scene:
    thing = Thing(kind, colour, "", pattern, ((0.5, 0.55, high),), floats=True)
    return Scene(0, LEVELS["full"], "plain", (thing,), ())


@pytest.mark.parametrize("size", [32, 33, 64, 100, 224, 512])
def test_any_size_from_32_to_512(size: int) -> None:
    pixels = draw(sample(3), size)
    assert pixels.shape == (size, size, 3) and pixels.dtype == np.uint8


@pytest.mark.parametrize("size", [0, 31, 513])
def test_other_sizes_are_refused(size: int) -> None:
    with pytest.raises(ValueError, match="32 to 512"):
        draw(sample(3), size)


@pytest.mark.parametrize("size", [64, 160])
def test_a_small_picture_is_the_large_one_seen_from_afar(size: int) -> None:
    for seed in range(6):
        scene = sample(seed, "simple")
        large = np.asarray(picture(scene, 512).resize((size, size), Image.Resampling.BOX), dtype=float)
        small = draw(scene, size).astype(float)
        assert np.abs(large - small).mean() < 5
        assert np.abs(large - draw(sample(seed + 100, "simple"), size)).mean() > 15


@pytest.mark.parametrize("kind", SHAPES)
def test_the_box_is_where_the_thing_is(kind: str) -> None:
    size, scene = 128, lone(kind)
    changed = np.argwhere((draw(scene, size) != draw(lone(kind, "blue"), size)).any(2))
    x0, y0, x1, y1 = (value * size for value in scene.things[0].box())
    margin = 0.03 * 0.4 * size + 2  # the rim, and a pixel of rounding on each side
    top, left = changed.min(0)
    bottom, right = changed.max(0)
    assert x0 - margin <= left and right <= x1 + margin and y0 - margin <= top and bottom <= y1 + margin
    assert right - left > 0.6 * (x1 - x0) and bottom - top > 0.4 * (y1 - y0)
    assert len(changed) > 0.2 * (x1 - x0) * (y1 - y0)  # the colour is most of what one sees


@pytest.mark.parametrize("colour", COLOURS)
def test_a_ball_has_its_colour(colour: str) -> None:
    pixels = draw(lone("ball", colour), 64).astype(int)
    assert np.abs(pixels[40, 34] - COLOURS[colour]).max() <= 2


def test_colours_lie_far_apart() -> None:
    values = np.array(list(COLOURS.values()), dtype=float)
    distance = np.linalg.norm(values[:, None] - values[None], axis=-1) + 1000 * np.eye(len(values))
    assert distance.min() > 60


@pytest.mark.parametrize("size", [64, 200])
def test_patterns_show_and_differ(size: int) -> None:
    drawn = {pattern: draw(lone("house", "blue", pattern), size).astype(int) for pattern in PATTERNS}
    for first in PATTERNS:
        for second in PATTERNS:
            if first != second:
                share = (np.abs(drawn[first] - drawn[second]).max(2) > 40).mean()
                assert share > 0.01, (first, second, share)


def test_edges_are_smooth() -> None:
    """Along a ball's edge a share of pixels lies between inside and outside, in many steps."""
    row = draw(lone("ball", "black"), 64)[:, :, 1]
    assert len(np.unique(row)) > 30


def test_what_is_inside_is_hidden_below_the_rim() -> None:
    box = Thing("box", "red", "big", "plain", ((0.5, 0.6, 0.4),))
    ball = Thing("ball", "blue", "small", "plain", ((0.5, 0.46, 0.2),))
    scene = Scene(0, LEVELS["full"], "plain", (ball, box), (Relation("inside", 0, 1),))
    other = replace(scene, things=(replace(ball, colour="yellow"), box))
    rows = np.argwhere((draw(scene, 128) != draw(other, 128)).any(2))[:, 0] / 128
    rim = 0.6 - 0.2 + 0.26 * 0.4  # the front begins a quarter below the top
    assert rows.min() < 0.38 and rows.max() < rim + 0.02


def test_every_gesture_leaves_its_mark() -> None:
    """The same things in the same spots look different when one chases, holds, lifts, pushes or rides the other."""
    for name in ("chasing", "holding", "lifting", "pushing", "riding"):
        scene = sample(4, Level(things=(0.0, 1.0), relations=(name,)))
        still = replace(scene, relations=())
        assert (np.abs(draw(scene).astype(int) - draw(still)).max(2) > 40).sum() > 12, name


def test_places_differ_and_vary() -> None:
    scene = lone("ball")
    drawn = {place: draw(replace(scene, place=place), 64).astype(int) for place in PLACES}
    assert min(np.abs(drawn[a] - drawn[b]).mean() for a in PLACES for b in PLACES if a != b) > 12
    for place in PLACES:
        assert (draw(replace(scene, place=place, seed=1), 64) != drawn[place]).mean() > 0.1


def test_near_duplicates_differ_but_show_the_same() -> None:
    for seed in range(8):
        scene, stranger = sample(seed), sample(seed + 500)
        first = draw(scene, 64).astype(int)
        copies = near_duplicates(scene, 64, len(CHANGES))
        assert sorted(change for change, _ in copies) == sorted(CHANGES)
        for change, copy in copies:
            pixels = np.asarray(copy).astype(int)
            assert pixels.shape == first.shape
            assert 0 < np.abs(pixels - first).mean() < 25, change
            # without the overall brightness, a copy is closer than any other scene
            centre = lambda image: image - image.mean((0, 1))  # noqa: E731
            assert (
                np.abs(centre(pixels) - centre(first)).mean()
                < np.abs(centre(draw(stranger).astype(int)) - centre(first)).mean()
            )
        assert [name for name, _ in near_duplicates(scene, 64, 2)] == [name for name, _ in copies[:2]]


def test_regions_are_the_things() -> None:
    for seed in range(200):
        scene = sample(seed)
        found = regions(scene)
        assert len(found) == sum(thing.count for thing in scene.things)
        assert [region.box[3] for region in found] == sorted(region.box[3] for region in found)
        for region in found:
            thing = scene.things[region.thing]
            assert region.box in thing.boxes() and region.label.split()[-2:] == [thing.colour, thing.kind]
            assert (thing.pattern in region.label.split()) == (thing.pattern != "plain")
