"""What a text says about a picture, as facts; and whether each fact is true of a scene.

Writers (words.py) put claims into sentences, the reader (read.py) gets claims out of sentences, negatives bend them.
Does not know: words, pixels.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field

from pairloom.world.scene import Scene, Thing, holds

MOST_MENTIONS = 8  # further mentions are judged, but no longer jointly with the relations


@dataclass(frozen=True, slots=True)
class Mention:
    """One thing spoken of. kind None: "something red". attributes: ("colour" | "pattern" | "size", value), as stated.

    count: a number that was stated, None where none was.
    """

    kind: str | None
    attributes: tuple[tuple[str, str], ...] = ()
    count: int | None = None


@dataclass(frozen=True, slots=True)
class Link:
    """mentions[subject] NAME mentions[object], NAME as in scene.Relation.

    turned: to be worded from the other side than it would have been (changes the words, not the claim).
    """

    name: str
    subject: int
    object: int
    turned: bool = field(default=False, compare=False)


@dataclass(frozen=True, slots=True)
class Claim:
    """All that a text says. place "" where it names none."""

    mentions: tuple[Mention, ...] = ()
    links: tuple[Link, ...] = ()
    place: str = ""


@dataclass(frozen=True, slots=True)
class Stated:
    """One stated fact. sort: "thing", "colour", "pattern", "size", "count", "relation" or "place"."""

    sort: str
    fact: str
    true: bool


def fits(mention: Mention, thing: Thing) -> bool:
    """Whether a thing is all that a mention says of it, its number aside."""
    return (mention.kind is None or mention.kind == thing.kind) and all(
        has(thing, *pair) for pair in mention.attributes
    )


def has(thing: Thing, sort: str, value: str) -> bool:
    """Whether a thing has an attribute."""
    return bool(getattr(thing, sort) == value)


def check(claim: Claim, scene: Scene) -> tuple[Stated, ...]:
    """Every stated fact with its truth.

    Two mentions are two things (read.py has merged those that mean the same one). Where several things could be
    meant, the reading under which most facts are true counts.
    """
    jointly = claim.mentions[:MOST_MENTIONS]
    options = [_candidates(mention, scene) for mention in jointly]
    best: tuple[Stated, ...] = ()
    for meant in itertools.product(*options):
        real = [index for index in meant if index is not None]
        if len(set(real)) < len(real):
            continue
        stated = _judge(claim, scene, meant)
        if not best or sum(fact.true for fact in stated) > sum(fact.true for fact in best):
            best = stated
        if all(fact.true for fact in best):
            break
    return best


def is_true(claim: Claim, scene: Scene) -> bool:
    """Whether every stated fact is true; a claim that states nothing is not."""
    stated = check(claim, scene)
    return bool(stated) and all(fact.true for fact in stated)


def _candidates(mention: Mention, scene: Scene) -> list[int | None]:
    """Things that may be meant, the best fitting first; None (no such thing) last."""
    same = [i for i, thing in enumerate(scene.things) if mention.kind is None or thing.kind == mention.kind]
    same.sort(key=lambda i: -sum(has(scene.things[i], *pair) for pair in mention.attributes))
    return [*same, None]


def _judge(claim: Claim, scene: Scene, meant: tuple[int | None, ...]) -> tuple[Stated, ...]:
    stated: list[Stated] = []
    for mention, index in itertools.zip_longest(claim.mentions, meant):
        thing = None if index is None else scene.things[index]
        name = mention.kind or "thing"
        if mention.kind is not None:
            stated.append(Stated("thing", name, thing is not None))
        for sort, value in mention.attributes:
            stated.append(Stated(sort, f"{name} {value}", thing is not None and has(thing, sort, value)))
        if mention.count is not None:
            number = sum(other.count for other in scene.things if fits(mention, other))
            stated.append(
                Stated("count", f"{mention.count} {name}", thing is not None and number == mention.count)
            )
    for link in claim.links:
        first, second = (_all_meant(claim, scene, meant, end) for end in (link.subject, link.object))
        true = bool(first and second) and all(holds(scene, link.name, a, b) for a in first for b in second)
        names = [claim.mentions[end].kind or "thing" for end in (link.subject, link.object)]
        stated.append(Stated("relation", f"{names[0]} {link.name} {names[1]}", true))
    if claim.place:
        stated.append(Stated("place", claim.place, claim.place == scene.place))
    return tuple(stated)


def _all_meant(claim: Claim, scene: Scene, meant: tuple[int | None, ...], end: int) -> list[int]:
    """The things that an end of a link stands for: "two cats" may be a red one and a black one."""
    index = meant[end] if end < len(meant) else None
    if index is None:
        return []
    mention = claim.mentions[end]
    every = [other for other, thing in enumerate(scene.things) if fits(mention, thing)]
    return every if (mention.count or 1) > 1 and every else [index]
