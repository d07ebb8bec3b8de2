"""Levels of the drawn world: attributes, relations with the kinds that they allow, and levels from simple to full.

Does not know: where things stand, how they look, words.
"""

from __future__ import annotations

from dataclasses import dataclass

from pairloom.errors import Mistake, nearest
from pairloom.world.kinds import CONTAINERS, CREATURES, HEADGEAR, MOUNTS, SHAPES, STANDS

COLOURS: dict[str, tuple[int, int, int]] = {
    "red": (217, 43, 43),
    "orange": (245, 134, 26),
    "yellow": (250, 214, 52),
    "green": (46, 158, 70),
    "blue": (43, 98, 214),
    "purple": (132, 62, 178),
    "pink": (246, 130, 182),
    "brown": (134, 84, 46),
    "white": (244, 244, 240),
    "black": (52, 52, 60),
}
PATTERNS = ("plain", "striped", "dotted", "checked")
SIZES = ("small", "big")
PLACES = ("plain", "meadow", "beach", "desert", "snow", "night", "room", "sea")


KINDS = tuple(SHAPES)
LIGHT = (
    "ball",
    "star",
    "heart",
    "flower",
    "mushroom",
    "umbrella",
    "balloon",
    "kite",
    "cup",
    "hat",
)  # fits a hand
HEAVY = ("box", "basket", "car", "table", "house", "ball", "boat")  # can be pushed


@dataclass(frozen=True)
class Rule:
    """Rule of a relation: which kinds may be its subject and its object, and the size of each ("" = any)."""

    subjects: tuple[str, ...] = KINDS
    objects: tuple[str, ...] = KINDS
    sizes: tuple[str, str] = ("", "")


RULES: dict[str, Rule] = {
    "left of": Rule(),
    "above": Rule(),
    "in front of": Rule(sizes=("small", "big")),
    "inside": Rule(tuple(k for k in KINDS if k not in (*CONTAINERS, *STANDS, *MOUNTS, "tree")), tuple(CONTAINERS), ("small", "big")),
    "on": Rule(tuple(k for k in KINDS if k not in (*STANDS, "kite", "balloon", "tree")), STANDS, ("small", "big")),
    "holding": Rule(CREATURES, LIGHT, ("big", "small")),
    "lifting": Rule(CREATURES, ("box", "basket", "table", "ball", "car", "heart", "boat"), ("big", "small")),
    "chasing": Rule(CREATURES, CREATURES),
    "pushing": Rule(CREATURES, HEAVY),
    "riding": Rule(("cat", "rabbit", "bear", "bird", "frog", "robot", "ghost"), tuple(MOUNTS), ("small", "big")),
    "wearing": Rule(CREATURES, HEADGEAR, ("big", "small")),
}  # fmt: skip


@dataclass(frozen=True)
class Level:
    """A level of difficulty: what may occur in its scenes. things: weights of 1, 2, 3, 4 things."""

    kinds: tuple[str, ...] = KINDS
    colours: tuple[str, ...] = tuple(COLOURS)
    patterns: tuple[str, ...] = PATTERNS
    places: tuple[str, ...] = PLACES
    things: tuple[float, ...] = (0.15, 0.4, 0.3, 0.15)
    relations: tuple[str, ...] = tuple(RULES)
    sizes: bool = True
    groups: float = 0.2  # share of lone things that come as two, three or four

    def __post_init__(self) -> None:
        if len(self.colours) < len(self.things):
            raise ValueError(f"{len(self.things)} things need as many colours to be told apart")
        for name in self.relations:
            for able in (RULES[name].subjects, RULES[name].objects):
                if not set(able) & set(self.kinds):
                    raise ValueError(f"no kind of this level can stand in the relation '{name}'")


LEVELS: dict[str, Level] = {
    "simple": Level(
        kinds=("ball", "star", "house", "tree", "cat", "fish", "car", "flower", "umbrella", "robot"),
        colours=("red", "yellow", "green", "blue", "purple", "pink", "white", "black"),
        patterns=("plain",),
        places=("plain", "meadow", "beach", "night"),
        things=(0.25, 0.75),
        relations=("left of", "above"),
        sizes=False,
        groups=0.0,
    ),
    "medium": Level(
        patterns=("plain", "striped", "dotted"),
        things=(0.2, 0.8),
        relations=("left of", "above", "in front of", "inside", "holding", "chasing"),
        groups=0.15,
    ),
    "full": Level(),
}


def level_of(name: str) -> Level:
    """The level of that name, or a Mistake."""
    if name not in LEVELS:
        raise Mistake(f"There is no level '{name}' of the drawn world.", "", nearest(name, LEVELS))
    return LEVELS[name]
