"""Hard negatives: a true caption in which one fact is made false and all other words stay.

Each negative has the name of its swap, stays within the level of the scene, and is checked to be false of the scene.
Does not know: pixels. Some negatives are odd by the text alone (a house that chases a cat); docs/world.md says which swaps
never are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from pairloom.world.claim import Claim, Link, Mention, is_true
from pairloom.world.level import RULES, SIZES, Level
from pairloom.world.lexicon import SPATIAL
from pairloom.world.scene import Scene, Turn, turn_of
from pairloom.world.words import claim_of, say

TRIES = 6  # draws before a swap is given up for a scene


@dataclass(frozen=True)
class Negative:
    """A hard negative. caption: the true one. negative: the false one. swap: the name of the change. claim: of the
    negative."""

    swap: str
    caption: str
    negative: str
    claim: Claim


def negatives(scene: Scene, style: str = "full", variant: int = 0) -> list[Negative]:
    """One hard negative for every swap that the caption allows."""
    candidates = (negative(scene, swap, style, variant) for swap in SWAPS)
    return [one for one in candidates if one is not None]


def negative(scene: Scene, swap: str, style: str = "full", variant: int = 0) -> Negative | None:
    """A hard negative of one kind; None where the caption has nothing to swap (one thing, no number ...)."""
    claim = claim_of(scene, style, variant)
    turn = turn_of(scene.seed, "negative", swap, style, variant)
    caption = say(claim, style, scene.seed, variant)
    for _ in range(TRIES):
        bent = SWAPS[swap](claim, turn, scene.level)
        if bent is None:
            return None
        text = say(bent, style, scene.seed, variant)
        if text != caption and _distinct(bent) and not is_true(bent, scene):
            return Negative(swap, caption, text, bent)
    return None


def _distinct(claim: Claim) -> bool:
    """No two mentions of one kind and colour: "the red ball" would be unclear."""
    names = [(mention.kind, dict(mention.attributes).get("colour")) for mention in claim.mentions]
    return len(set(names)) == len(names)


def _with(claim: Claim, changes: dict[int, Mention]) -> Claim:
    return replace(claim, mentions=tuple(changes.get(index, old) for index, old in enumerate(claim.mentions)))


def _with_value(mention: Mention, sort: str, value: str) -> Mention:
    return replace(mention, attributes=tuple((s, value if s == sort else v) for s, v in mention.attributes))


def _swap_attribute(claim: Claim, turn: Turn, level: Level) -> Claim | None:
    """Two things exchange a colour, pattern or size."""
    options = list(_exchanges(claim))
    if not options:
        return None
    sort, first, second = turn.pick(options)
    a, b = claim.mentions[first], claim.mentions[second]
    return _with(
        claim,
        {
            first: _with_value(a, sort, dict(b.attributes)[sort]),
            second: _with_value(b, sort, dict(a.attributes)[sort]),
        },
    )


def _exchanges(claim: Claim) -> Iterator[tuple[str, int, int]]:
    for first, a in enumerate(claim.mentions):
        for second in range(first + 1, len(claim.mentions)):
            other = dict(claim.mentions[second].attributes)
            yield from (
                (sort, first, second) for sort, value in a.attributes if other.get(sort, value) != value
            )


def _swap_relation(claim: Claim, turn: Turn, level: Level) -> Claim | None:
    """left becomes right, above becomes below, before becomes behind; the words before and after stay."""
    return _relink(claim, turn, SPATIAL, lambda link: Link(link.name, link.object, link.subject, True))


def _swap_order(claim: Claim, turn: Turn, level: Level) -> Claim | None:
    """The two ends of a relation trade places: "a cat chases a bird" -> "a bird chases a cat"."""
    return _relink(
        claim, turn, tuple(RULES), lambda link: Link(link.name, link.object, link.subject, link.turned)
    )


def _replace_verb(claim: Claim, turn: Turn, level: Level) -> Claim | None:
    """Another action between the same two."""
    actions = tuple(name for name in level.relations if name not in SPATIAL)
    return _relink(
        claim, turn, actions, lambda link: replace(link, name=turn.pick(_alike(actions, claim, link)))
    )


def _alike(actions: tuple[str, ...], claim: Claim, link: Link) -> list[str]:
    """Actions that these two could be in, or all."""
    a, b = claim.mentions[link.subject].kind, claim.mentions[link.object].kind
    able = [
        name
        for name in actions
        if name != link.name and a in RULES[name].subjects and b in RULES[name].objects
    ]
    return able or [name for name in actions if name != link.name] or [link.name]


def _relink(claim: Claim, turn: Turn, names: tuple[str, ...], bend: Callable[[Link], Link]) -> Claim | None:
    options = [index for index, link in enumerate(claim.links) if link.name in names]
    if not options:
        return None
    chosen = turn.pick(options)
    return replace(
        claim, links=tuple(bend(link) if index == chosen else link for index, link in enumerate(claim.links))
    )


def _replace_subject(claim: Claim, turn: Turn, level: Level) -> Claim | None:
    """Another kind of thing does it."""
    return _replace_end(claim, turn, level, "subject")


def _replace_object(claim: Claim, turn: Turn, level: Level) -> Claim | None:
    """It is done to another kind of thing; a thing alone becomes another kind."""
    return _replace_end(claim, turn, level, "object")


def _replace_end(claim: Claim, turn: Turn, level: Level, end: str) -> Claim | None:
    if not claim.links:
        return (
            _with(claim, {0: replace(claim.mentions[0], kind=turn.pick(level.kinds))})
            if end == "object"
            else None
        )
    link = turn.pick(claim.links)
    rule, index = RULES[link.name], getattr(link, end)
    kinds = [kind for kind in (rule.subjects if end == "subject" else rule.objects) if kind in level.kinds]
    return _with(claim, {index: replace(claim.mentions[index], kind=turn.pick(kinds))})


def _replace_attribute(claim: Claim, turn: Turn, level: Level) -> Claim | None:
    """One colour, pattern or size becomes another."""
    index = turn.pick(range(len(claim.mentions)))
    mention = claim.mentions[index]
    if not mention.attributes:
        return None
    sort, value = turn.pick(mention.attributes)
    values = {"colour": level.colours, "pattern": level.patterns, "size": SIZES}[sort]
    others = [other for other in values if other not in (value, "plain")]
    return _with(claim, {index: _with_value(mention, sort, turn.pick(others))}) if others else None


def _replace_count(claim: Claim, turn: Turn, level: Level) -> Claim | None:
    """Another number."""
    options = [index for index, mention in enumerate(claim.mentions) if mention.count is not None]
    if not options:
        return None
    mention = claim.mentions[index := turn.pick(options)]
    return _with(
        claim, {index: replace(mention, count=turn.pick([n for n in (2, 3, 4, 5) if n != mention.count]))}
    )


def _replace_place(claim: Claim, turn: Turn, level: Level) -> Claim | None:
    """Another place."""
    if not claim.place:
        return None
    others = [place for place in level.places if place not in (claim.place, "plain")]
    return replace(claim, place=turn.pick(others)) if others else None


SWAPS: dict[str, Callable[[Claim, Turn, Level], Claim | None]] = {
    "swap_attribute": _swap_attribute,
    "swap_relation": _swap_relation,
    "swap_order": _swap_order,
    "replace_subject": _replace_subject,
    "replace_verb": _replace_verb,
    "replace_object": _replace_object,
    "replace_attribute": _replace_attribute,
    "replace_count": _replace_count,
    "replace_place": _replace_place,
}
