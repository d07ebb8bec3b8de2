"""Claims: the facts that a text states about a picture, and whether each of them is true of a scene.

words.py turns claims into sentences, read.py turns sentences into claims, negatives.py changes claims.
Does not know: words, pixels.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field

from pairloom.world.scene import Scene, Thing, holds

MOST_MENTIONS = 8  # the truth of further mentions is decided apart from the relations


@dataclass(frozen=True, slots=True)
class Mention:
    """A thing that a text mentions. kind None: "something red". attributes: ("colour" | "pattern" | "size", value), as in the
    text. count: the number in the text, None where there is none.
    """

    kind: str | None
    attributes: tuple[tuple[str, str], ...] = ()
    count: int | None = None


@dataclass(frozen=True, slots=True)
class Link:
    """A relation between two mentions: mentions[subject] NAME mentions[object], NAME as in scene.Relation.

    turned: worded from the object's side ("b is right of a" for "a is left of b"); the claim is the same.
    """

    name: str
    subject: int
    object: int
    turned: bool = field(default=False, compare=False)


@dataclass(frozen=True, slots=True)
class Claim:
    """All facts that a text states. place: "" where it names none."""

    mentions: tuple[Mention, ...] = ()
    links: tuple[Link, ...] = ()
    place: str = ""


@dataclass(frozen=True, slots=True)
class Stated:
    """One fact of a text and its truth. sort: "thing", "colour", "pattern", "size", "count", "relation" or "place"."""

    sort: str
    fact: str
    true: bool


def fits(mention: Mention, thing: Thing) -> bool:
    """Whether a thing has the kind and all attributes of a mention; the number is not compared."""
    return (mention.kind is None or mention.kind == thing.kind) and all(
        has(thing, *pair) for pair in mention.attributes
    )


def has(thing: Thing, sort: str, value: str) -> bool:
    """Whether a thing has an attribute."""
    return bool(getattr(thing, sort) == value)


def check(claim: Claim, scene: Scene) -> tuple[Stated, ...]:
    """Each fact of a claim with its truth.

    Two mentions are two things (read.py has merged mentions of the same thing). Where a mention could mean several things,
    the assignment with the most true facts counts.
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
    """Whether every fact of a claim is true; False for a claim without facts."""
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
