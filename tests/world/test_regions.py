"""A perfect detector of the drawn world says what is there; a noisy one is wrong about as often as it was told to be."""

from __future__ import annotations

from pathlib import Path

import numpy

from pairloom.data.detected import checked
from pairloom.data.region_set import open_regions
from pairloom.world import World
from pairloom.world.level import COLOURS, KINDS, PATTERNS, SIZES
from pairloom.world.regions import CLASSES, FEATURES, detect, regions, write_regions

WORLD = World(200, seed=3)


def test_a_perfect_detector_says_what_is_there() -> None:
    for scene in (WORLD.scene(at) for at in range(20)):
        one, things = detect(scene), regions(scene)[::-1]
        words = [*KINDS, *COLOURS, *PATTERNS, "", *SIZES]
        for row, region in zip(one.features, things, strict=True):
            thing = scene.things[region.thing]
            assert [words[at] for at in numpy.flatnonzero(row[:-1])] == [
                thing.kind,
                thing.colour,
                thing.pattern,
                thing.size,
            ]
        assert one.features.shape[1] == FEATURES and one.class_probabilities.shape[1] == CLASSES
        assert one.class_probabilities.argmax(1).tolist() == [
            1 + KINDS.index(region.kind) for region in things
        ]
        numpy.testing.assert_allclose(
            one.boxes, numpy.clip([region.box for region in things], 0, 1), atol=1e-6
        )
        numpy.testing.assert_array_equal(checked(one).class_probabilities.max(1), 1)


def test_a_noisy_one_misses_mistakes_and_moves() -> None:
    """By the shares that its docstring states, within four standard deviations; and the same each time."""
    noise, scenes = 0.4, [WORLD.scene(at) for at in range(200)]
    noisy = [checked(detect(scene, noise)) for scene in scenes]
    things = sum(len(regions(scene)) for scene in scenes)
    seen = sum(len(one.features) for one in noisy)
    alone = sum(len(regions(scene)) == 1 for scene in scenes)  # what is alone is never missed
    assert abs(seen - (0.8 * things + 0.2 * alone)) < 4 * (0.16 * things) ** 0.5 + 0.04 * things
    whole = [
        (one, detect(scene)) for one, scene in zip(noisy, scenes) if len(one.features) == len(regions(scene))
    ]
    pairs = [(a, b) for one, true in whole for a, b in zip(one.features, true.features)]
    right = sum((a[: len(KINDS)] == b[: len(KINDS)]).all() for a, b in pairs)
    share = 1 - noise * (1 - 1 / len(KINDS))  # another draw may be the same kind
    assert abs(right - share * len(pairs)) < 4 * (share * (1 - share) * len(pairs)) ** 0.5
    moved = numpy.concatenate([numpy.abs(one.boxes - true.boxes).ravel() for one, true in whole])
    assert 0 < moved.mean() < 0.3 * noise and all(
        abs(one.class_probabilities.max() - 0.8) < 1e-6 for one in noisy
    )
    again = detect(scenes[7], noise)
    assert numpy.array_equal(again.features, noisy[7].features) and numpy.array_equal(
        again.boxes.clip(0, 1), noisy[7].boxes
    )


def test_they_are_written_by_the_names_of_the_pairs(tmp_path: Path) -> None:
    small = World(3, seed=3)
    found = open_regions(write_regions(small, tmp_path / "regions", 0.2))
    assert list(found) == ["000000", "000001", "000002"]
    numpy.testing.assert_array_equal(found.of(["000001.jpg"]).features, detect(small.scene(1), 0.2).features)
