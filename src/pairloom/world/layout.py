"""Layout of scenes: which things a seed gives, and where they stand so that every relation is visible.

A scene is one to three blocks from left to right; a block is a thing, a group, or two things in a relation.
Does not know: pixels, words.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from pairloom.world.kinds import CONTAINERS, FLOATERS, HEADS, MOUNTS, SHAPES
from pairloom.world.level import RULES, Level, level_of
from pairloom.world.scene import Relation, Scene, Spot, Thing, Turn, turn_of

HEIGHT = {"": 0.37, "big": 0.44, "small": 0.23}  # of a thing as wide as high


@dataclass
class _Block:
    """Things that stand together, with x around 0 and the ground at y = 0."""

    things: list[int]
    spots: dict[int, list[Spot]] = field(default_factory=dict)
    tilt: dict[int, float] = field(default_factory=dict)
    floats: set[int] = field(default_factory=set)
    faces: int = 1


def sample(seed: int, level: str | Level = "full") -> Scene:
    """Sample the scene of a seed. The same seed and level give the same scene on every machine."""
    rules = level_of(level) if isinstance(level, str) else level
    turn = turn_of(seed, "scene")
    total = 1 + turn.weigh(rules.things)
    place = turn.pick(rules.places)
    things: list[Thing] = []
    relations: list[Relation] = []
    blocks: list[_Block] = []
    while len(things) < total:
        left = total - len(things)
        pair = left >= 2 and (total == 2 or turn.chance(0.6))
        name = turn.pick(rules.relations) if pair else ""
        if name in ("", "left of"):
            blocks.append(_lone(turn, rules, things))
        else:
            blocks.append(_pair(turn, rules, things, name))
            relations.append(Relation(name, *blocks[-1].things))
    relations += [Relation("left of", a.things[0], b.things[0]) for a, b in zip(blocks, blocks[1:])]
    return Scene(seed, rules, place, _stand(turn, things, blocks), tuple(relations))


def _thing(turn: Turn, rules: Level, others: list[Thing], kinds: tuple[str, ...], size: str) -> Thing:
    """A new thing; never the kind and colour of another one, so that a caption can tell them apart."""
    kinds = tuple(kind for kind in kinds if kind in rules.kinds)
    used = {(thing.kind, thing.colour) for thing in others}
    while True:
        kind, colour = turn.pick(kinds), turn.pick(rules.colours)
        if (kind, colour) not in used:
            break
    pattern = turn.pick(rules.patterns) if turn.chance(0.5) else "plain"
    return Thing(kind, colour, (size or turn.pick(("small", "big"))) if rules.sizes else "", pattern)


@dataclass(frozen=True)
class _Sized:
    kind: str
    wide: float
    high: float


def _measure(thing: Thing) -> _Sized:
    """Equal area for equal size."""
    aspect = SHAPES[thing.kind].aspect
    high = HEIGHT[thing.size] / math.sqrt(aspect)
    return _Sized(thing.kind, aspect * high, high)


def _lone(turn: Turn, rules: Level, things: list[Thing]) -> _Block:
    count = turn.pick((2, 3, 4)) if turn.chance(rules.groups) else 1
    things.append(_thing(turn, rules, things, rules.kinds, "small" if count > 1 else ""))
    block = _Block([len(things) - 1], faces=turn.pick((1, -1)))
    measure = _measure(things[-1])
    wide, high = measure.wide, measure.high
    if count == 1:
        lift = turn.between(0.12, 0.3) if things[-1].kind in FLOATERS and turn.chance(0.5) else 0.0
        block.spots[block.things[0]] = [(0.0, -high / 2 - lift, high)]
        if lift:
            block.floats.add(block.things[0])
        return block
    columns = (0.0, 1.12, 0.56, 1.68)
    rows = (0.0, 0.0, 0.5, 0.5) if count > 2 else (0.0, 0.1)
    middle = sum(columns[:count]) / count
    spots = [((x - middle) * wide, -high / 2 - y * high, high) for x, y in zip(columns, rows)]
    block.spots[block.things[0]] = spots[:count]
    return block


def _pair(turn: Turn, rules: Level, things: list[Thing], name: str) -> _Block:
    rule = RULES[name]
    first = _thing(turn, rules, things, rule.subjects, rule.sizes[0])
    things.append(first)
    second = _thing(
        turn, rules, things, tuple(k for k in rule.objects if k != first.kind) or rule.objects, rule.sizes[1]
    )
    if name == "chasing" and rules.sizes:
        second = replace(second, size=turn.pick(("small", first.size)))
    things.append(second)
    a, b = len(things) - 2, len(things) - 1
    block = _Block([a, b], faces=turn.pick((1, -1)))
    p, q = _measure(first), _measure(second)
    x, y, bx, by = _PLACING[name](turn, p, q)
    block.spots = {a: [(x, y - p.high / 2, p.high)], b: [(bx, by - q.high / 2, q.high)]}
    block.tilt = {"chasing": {a: 0.16, b: 0.1}, "pushing": {a: 0.14}}.get(name, {})
    block.floats = {"above": {a}, "lifting": {b}}.get(name, set())
    return block


# Each function returns the feet (middle, lowest point) of subject and object, facing right: x, y, x, y.
_Feet = tuple[float, float, float, float]


def _above(turn: Turn, a: _Sized, b: _Sized) -> _Feet:
    return turn.between(-0.25, 0.25) * min(a.wide, b.wide), -b.high - turn.between(0.05, 0.12), 0.0, 0.0


def _in_front(turn: Turn, a: _Sized, b: _Sized) -> _Feet:
    return turn.pick((-1, 1)) * b.wide * turn.between(0.25, 0.4), turn.between(0.02, 0.05), 0.0, -0.02


def _inside(turn: Turn, a: _Sized, b: _Sized) -> _Feet:
    return 0.0, -b.high * (1 - CONTAINERS[b.kind]) + 0.3 * a.high, 0.0, 0.0


def _on(turn: Turn, a: _Sized, b: _Sized) -> _Feet:
    return 0.0, -b.high * (0.97 if b.kind == "house" else 0.9), 0.0, 0.0


def _holding(turn: Turn, a: _Sized, b: _Sized) -> _Feet:
    return 0.0, 0.0, a.wide / 2 + b.wide / 2 + 0.03, -a.high * 0.28


def _lifting(turn: Turn, a: _Sized, b: _Sized) -> _Feet:
    return 0.0, 0.0, 0.0, -a.high - 0.08


def _chasing(turn: Turn, a: _Sized, b: _Sized) -> _Feet:
    return -a.wide / 2 - 0.08, 0.0, b.wide / 2 + 0.08, 0.0


def _pushing(turn: Turn, a: _Sized, b: _Sized) -> _Feet:
    return -a.wide / 2 - 0.02, 0.0, b.wide / 2 + 0.02, 0.0


def _riding(turn: Turn, a: _Sized, b: _Sized) -> _Feet:
    return -0.06 * b.wide, -b.high * (1 - MOUNTS[b.kind]) + 0.08 * a.high, 0.0, 0.0


def _wearing(turn: Turn, a: _Sized, b: _Sized) -> _Feet:
    right, down = HEADS[a.kind]
    return 0.0, 0.0, right * a.high, -a.high * (1 - down) + 0.12 * b.high


_PLACING: dict[str, Callable[[Turn, _Sized, _Sized], _Feet]] = {
    "above": _above, "in front of": _in_front, "inside": _inside, "on": _on, "holding": _holding, "lifting": _lifting,
    "chasing": _chasing, "pushing": _pushing, "riding": _riding, "wearing": _wearing,
}  # fmt: skip


def _stand(turn: Turn, things: list[Thing], blocks: list[_Block]) -> tuple[Thing, ...]:
    """Place the blocks side by side on the ground, all at one scale, so that small and big stay comparable."""
    bounds = [_bounds(things, block) for block in blocks]
    width = sum(bound[1] - bound[0] for bound in bounds)
    gaps = 0.03 * (len(blocks) + 1)
    scale = min(1.0, (1.0 - gaps) / width, *(0.84 / bound[2] for bound in bounds))
    free = 1.0 - gaps - scale * width
    cuts = sorted(turn.next() for _ in blocks)
    x, done = 0.03, 0.0
    placed = list(things)
    for block, (left, right, tall), cut in zip(blocks, bounds, cuts):
        x += (cut - done) * free
        done = cut
        base = turn.between(max(0.7, 0.06 + scale * tall), 0.93)
        near = scale * (0.84 + 0.16 * (base - 0.7) / 0.23)  # further away is higher up and smaller
        slack = (scale - near) * (right - left) / 2
        for index in block.things:
            spots = tuple(
                (x + slack + near * (sx * block.faces - left), base + near * sy, near * high)
                for sx, sy, high in block.spots[index]
            )
            placed[index] = replace(
                things[index],
                spots=spots,
                faces=block.faces,
                tilt=block.tilt.get(index, 0.0),
                floats=index in block.floats,
            )
        x += scale * (right - left) + 0.03
    return tuple(placed)


def _bounds(things: list[Thing], block: _Block) -> tuple[float, float, float]:
    """Left and right end of a block in the direction that it faces, and its height."""
    left = right = top = 0.0
    for index in block.things:
        tilt = block.tilt.get(index, 0.0)
        for x, y, high in block.spots[index]:
            x = x * block.faces
            wide = high * (SHAPES[things[index].kind].aspect + tilt) / 2
            left, right, top = min(left, x - wide), max(right, x + wide), max(top, high / 2 * (1 + tilt) - y)
    return left, right, top
