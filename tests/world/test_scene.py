"""Scenes: the same from the same seed anywhere, and every relation visible in where things stand."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from collections import Counter

import pytest

from pairloom.errors import Mistake
from pairloom.world import caption, draw, sample
from pairloom.world.level import LEVELS, RULES, Level
from pairloom.world.scene import Box, Scene, Thing, Turn, holds, is_above, is_left

SEEDS = range(160)


def fingerprint() -> str:
    digest = hashlib.blake2b()
    for seed in range(12):
        for level in LEVELS:
            scene = sample(seed, level)
            digest.update(
                repr(scene).encode() + caption(scene, "paraphrase").encode() + draw(scene, 48).tobytes()
            )
    return digest.hexdigest()


def test_another_process_makes_the_same_bytes() -> None:
    code = f"import sys; sys.path.insert(0, {str(__file__).rpartition('/')[0]!r}); import test_scene as t; print(t.fingerprint())"
    seen = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={"PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
        for hash_seed in ("1", "2")
    }
    assert seen == {fingerprint()}


def test_other_seeds_make_other_scenes() -> None:
    assert len({repr(sample(seed).things) for seed in SEEDS}) == len(SEEDS)


@pytest.mark.parametrize("name", LEVELS)
def test_a_level_keeps_to_its_vocabulary_and_uses_all_of_it(name: str) -> None:
    level = LEVELS[name]
    scenes = [sample(seed, name) for seed in SEEDS]
    things = [thing for scene in scenes for thing in scene.things]
    assert {thing.kind for thing in things} == set(level.kinds)
    assert {thing.colour for thing in things} == set(level.colours)
    assert {thing.pattern for thing in things} == set(level.patterns)
    assert {scene.place for scene in scenes} == set(level.places)
    assert {relation.name for scene in scenes for relation in scene.relations} == set(level.relations)
    assert {thing.size for thing in things} == ({"small", "big"} if level.sizes else {""})
    assert {len(scene.things) for scene in scenes} == set(range(1, len(level.things) + 1))
    assert ({thing.count for thing in things} == {1, 2, 3, 4}) is (level.groups > 0)


def test_an_unknown_level_is_a_mistake_that_names_the_nearest() -> None:
    with pytest.raises(Mistake, match="simple"):
        sample(0, "simpel")


def test_a_level_that_cannot_be_filled_is_refused() -> None:
    with pytest.raises(ValueError, match="inside"):
        Level(kinds=("cat", "ball"), relations=("left of", "inside"))
    with pytest.raises(ValueError, match="4 things"):
        Level(colours=("red", "blue"))


@pytest.mark.parametrize("name", LEVELS)
def test_everything_is_in_the_picture_and_can_be_told_apart(name: str) -> None:
    for seed in SEEDS:
        scene = sample(seed, name)
        for thing in scene.things:
            for x0, y0, x1, y1 in thing.boxes():
                assert 0 <= x0 < x1 <= 1 and 0 <= y0 < y1 <= 1, (seed, thing)
        assert max(Counter((thing.kind, thing.colour) for thing in scene.things).values()) == 1


def middle(box: Box) -> tuple[float, float]:
    return (box[0] + box[2]) / 2, (box[1] + box[3]) / 2


def share_inside(a: Box, b: Box) -> float:
    wide, high = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    return max(0.0, wide) * max(0.0, high) / ((a[2] - a[0]) * (a[3] - a[1]))


def seen(name: str, a: Thing, b: Thing) -> bool:
    """Whether the boxes show that a NAME b: written apart from the layout, from what the words mean."""
    p, q = a.box(), b.box()
    (ax, ay), (bx, by), high = middle(p), middle(q), q[3] - q[1]
    ahead = a.faces * (bx - ax)
    gap = max(p[0], q[0]) - min(p[2], q[2])
    rules = {
        "left of": ax < bx and share_inside(p, q) < 0.1,
        "above": ay < by and p[3] <= q[1] and p[0] < q[2] and q[0] < p[2],
        "in front of": p[3] > q[3] and 0.05 < share_inside(p, q) < 1.001,
        "inside": q[0] <= p[0] and p[2] <= q[2] and p[1] < q[1] + 0.7 * high and share_inside(p, q) > 0.25,
        "on": abs(p[3] - q[1]) < 0.2 * high and q[0] < ax < q[2],
        "holding": ahead > 0 and gap < 0.06 and p[1] < by < p[3],
        "lifting": q[3] < p[1] and abs(ax - bx) < 0.02,
        "chasing": ahead > 0 and a.faces == b.faces and 0.03 < gap < 0.2 and abs(p[3] - q[3]) < 0.05,
        "pushing": ahead > 0 and gap < 0.06 and abs(p[3] - q[3]) < 0.05,
        "riding": p[1] < q[1] + 0.3 * high and q[0] < ax < q[2] and q[1] < p[3] < q[3],
        "wearing": by < ay and q[0] < p[2] and p[0] < q[2] and p[1] < q[3],
    }
    return rules[name]


@pytest.mark.parametrize("name", RULES)
def test_relations_can_be_seen_in_the_boxes(name: str) -> None:
    alone = Level(things=(0.0, 1.0), relations=(name,))
    crowded = [sample(seed) for seed in SEEDS]
    for scene in [sample(seed, alone) for seed in range(60)] + crowded:
        for relation in scene.relations:
            a, b = scene.things[relation.subject], scene.things[relation.object]
            if relation.name == name:
                assert seen(name, a, b), (scene.seed, name, a, b)
                assert holds(scene, name, relation.subject, relation.object)
                assert not holds(scene, name, relation.object, relation.subject)


def test_sides_exclude_each_other() -> None:
    for seed in SEEDS:
        scene = sample(seed)
        for a, thing in enumerate(scene.things):
            for b, other in enumerate(scene.things):
                p, q = thing.box(), other.box()
                assert is_left(p, q) + is_left(q, p) + is_above(p, q) + is_above(q, p) <= 1
                assert a != b or not any(holds(scene, name, a, b) for name in RULES)


def test_small_is_small_beside_big() -> None:
    def side(scene: Scene, size: str) -> list[float]:
        areas = [
            (box[2] - box[0]) * (box[3] - box[1])
            for t in scene.things
            if t.size == size and not t.tilt
            for box in t.boxes()
        ]
        return [area**0.5 for area in areas]

    pairs = [
        (max(side(s, "small")), min(side(s, "big")))
        for s in map(sample, SEEDS)
        if side(s, "small") and side(s, "big")
    ]
    assert len(pairs) > 30
    assert all(big > 1.5 * small for small, big in pairs)


def test_further_away_is_higher_up_and_smaller() -> None:
    lone = Level(things=(1.0,), kinds=("ball",), relations=(), sizes=False, groups=0.0)
    balls = sorted(
        (thing.box()[3], thing.spots[0][2]) for thing in (sample(seed, lone).things[0] for seed in range(60))
    )
    assert balls[0][1] < 0.9 * balls[-1][1]
    assert [high for _, high in balls] == sorted(high for _, high in balls)


def test_a_turn_draws_by_its_weights_and_loses_nothing_in_a_shuffle() -> None:
    turn = Turn(5)
    drawn = Counter(turn.weigh((1.0, 0.0, 3.0)) for _ in range(4000))
    assert drawn[1] == 0 and abs(drawn[2] / 4000 - 0.75) < 0.03
    assert sorted(turn.shuffle(range(9))) == list(range(9))
