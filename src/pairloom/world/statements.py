"""Statements, true or false, about one picture or about two side by side. The truth value is drawn first, then a sentence
with that value is searched for; "both" still is false three times in four, as two pictures seldom share a thing.

Does not know: pixels.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from pairloom.world.lexicon import NUMBERS, PLACE_WORDS, plural
from pairloom.world.negatives import SWAPS, negative
from pairloom.world.scene import Scene, Turn, turn_of
from pairloom.world.words import caption


@dataclass(frozen=True)
class DrawnStatement:
    """A statement with its truth. sort: "caption" or the swap that made it false (one picture); "both", "one", "more", "sum",
    "place", "neither" (two pictures)."""

    text: str
    true: bool
    sort: str


def statement(scene: Scene, true: bool, variant: int = 0) -> DrawnStatement:
    """A statement about one picture that is true, or false by one swap."""
    turn = turn_of(scene.seed, "statement", variant)
    style = turn.pick(("full", "paraphrase"))
    for swap in turn.shuffle(list(SWAPS)) if not true else ():
        bent = negative(scene, swap, style, variant)
        if bent is not None:
            return DrawnStatement(bent.negative, False, swap)
    return DrawnStatement(caption(scene, style, variant), True, "caption")


def statements(left: Scene, right: Scene, variant: int = 0) -> list[DrawnStatement]:
    """Statements about two pictures, one of each sort. The truth value of each is drawn, where the pictures allow it."""
    turn = turn_of(left.seed, "statements", right.seed, variant)
    return [
        statement
        for make in _MAKERS
        for statement in (_aim(make, left, right, turn, turn.chance(0.5)),)
        if statement
    ]


def _aim(make: _Maker, left: Scene, right: Scene, turn: Turn, true: bool) -> DrawnStatement | None:
    """Try up to eight draws for the truth value; then take the last."""
    statement = None
    for _ in range(8):
        statement = make(left, right, turn)
        if statement is not None and statement.true == true:
            break
    return statement


_Maker = Callable[[Scene, Scene, Turn], DrawnStatement | None]


def _some(left: Scene, right: Scene, turn: Turn) -> tuple[str, str]:
    """A kind and a colour: of a thing in the pictures, or with one of the two from another thing."""
    things = (*left.things, *right.things)
    first, second = turn.pick(things), turn.pick(things)
    return first.kind, first.colour if turn.chance(0.6) else second.colour


def _number(scene: Scene, kind: str, colour: str = "") -> int:
    return sum(thing.count for thing in scene.things if thing.kind == kind and colour in ("", thing.colour))


def _a(words: str) -> str:
    return f"an {words}" if words[0] in "aeiou" else f"a {words}"


def _both(left: Scene, right: Scene, turn: Turn) -> DrawnStatement:
    """A statement about a kind, a colour, or a kind in a colour; half of them about what the two pictures share, if
    anything."""
    if turn.chance(0.5):
        shared = [t.colour for t in left.things if any(t.colour == other.colour for other in right.things)]
        colour = turn.pick(shared) if shared and turn.chance(0.5) else _some(left, right, turn)[1]
        true = all(any(thing.colour == colour for thing in scene.things) for scene in (left, right))
        return DrawnStatement(f"Both pictures show something {colour}.", true, "both")
    shared = [t.kind for t in left.things if _number(right, t.kind)]
    kind, colour = _some(left, right, turn)
    kind, colour = (turn.pick(shared), "") if shared and turn.chance(0.5) else (kind, colour)
    true = _number(left, kind, colour) > 0 and _number(right, kind, colour) > 0
    return DrawnStatement(f"Both pictures show {_a(f'{colour} {kind}'.strip())}.", true, "both")


def _one(left: Scene, right: Scene, turn: Turn) -> DrawnStatement:
    kind, colour = _some(left, right, turn)
    side = turn.pick(("left", "right"))
    here, there = (left, right) if side == "left" else (right, left)
    true = _number(here, kind, colour) > 0 and _number(there, kind, colour) == 0
    return DrawnStatement(f"Only the {side} picture has {_a(f'{colour} {kind}')}.", true, "one")


def _more(left: Scene, right: Scene, turn: Turn) -> DrawnStatement:
    kind, _ = _some(left, right, turn)
    side = turn.pick(("left", "right"))
    here, there = (left, right) if side == "left" else (right, left)
    text = f"There are more {plural(kind)} in the {side} picture than in the other one."
    return DrawnStatement(text, _number(here, kind) > _number(there, kind), "more")


def _sum(left: Scene, right: Scene, turn: Turn) -> DrawnStatement:
    kind, _ = _some(left, right, turn)
    number = _number(left, kind) + _number(right, kind)
    number_ = number if turn.chance(0.5) else max(1, number + turn.pick((-1, 1)))
    noun = plural(kind) if number_ > 1 else kind
    text = f"Together the pictures show exactly {NUMBERS[min(number_, 9)]} {noun}."
    return DrawnStatement(text, min(number_, 9) == number, "sum")


def _place(left: Scene, right: Scene, turn: Turn) -> DrawnStatement | None:
    places = [scene.place for scene in (left, right) if scene.place != "plain"]
    if not places:
        return None
    place = turn.pick(places)
    if turn.chance(0.5):
        return DrawnStatement(
            f"Both pictures are {PLACE_WORDS[place][0]}.", left.place == right.place == place, "place"
        )
    side = turn.pick(("left", "right"))
    true = (left if side == "left" else right).place == place
    return DrawnStatement(f"The {side} picture is {PLACE_WORDS[place][0]}.", true, "place")


def _neither(left: Scene, right: Scene, turn: Turn) -> DrawnStatement:
    kind = _some(left, right, turn)[0] if turn.chance(0.5) else turn.pick(left.level.kinds)
    return DrawnStatement(
        f"There is no {kind} in either picture.", _number(left, kind) + _number(right, kind) == 0, "neither"
    )


_MAKERS: tuple[_Maker, ...] = (_both, _one, _more, _sum, _place, _neither)
