"""English vocabulary of the drawn world: the words for every kind, attribute, relation and place, the plainest first.

Does not know: sentences.
"""

from __future__ import annotations

KIND_WORDS: dict[str, tuple[str, ...]] = {
    "ball": ("ball", "sphere"), "star": ("star",), "heart": ("heart",), "box": ("box", "crate"), "basket": ("basket",),
    "cup": ("cup", "mug"), "house": ("house", "cottage"), "tree": ("tree",), "flower": ("flower", "blossom"),
    "mushroom": ("mushroom", "toadstool"), "umbrella": ("umbrella", "parasol"), "balloon": ("balloon",), "kite": ("kite",),
    "boat": ("boat", "sailboat"), "car": ("car", "automobile"), "hat": ("hat",), "crown": ("crown",),
    "table": ("table", "desk"), "cat": ("cat", "kitten"), "rabbit": ("rabbit", "bunny"), "bear": ("bear", "teddy"),
    "bird": ("bird",), "fish": ("fish",), "frog": ("frog", "toad"), "snail": ("snail",), "turtle": ("turtle", "tortoise"),
    "robot": ("robot", "android"), "ghost": ("ghost", "spook"),
}  # fmt: skip
PLURALS = {"box": "boxes", "fish": "fish", "bunny": "bunnies", "teddy": "teddies"}
ATTRIBUTE_WORDS: dict[str, dict[str, tuple[str, ...]]] = {
    "size": {"small": ("small", "little", "tiny"), "big": ("big", "large", "huge")},
    "pattern": {"plain": ("plain",), "striped": ("striped", "stripy"), "dotted": ("dotted", "spotted"), "checked": ("checked", "checkered")},
    "colour": {
        "red": ("red", "scarlet"), "orange": ("orange",), "yellow": ("yellow",), "green": ("green",), "blue": ("blue",),
        "purple": ("purple", "violet"), "pink": ("pink",), "brown": ("brown",), "white": ("white",), "black": ("black",),
    },
}  # fmt: skip
PATTERN_TAILS = {
    "striped": ("with stripes",),
    "dotted": ("with dots", "with spots"),
    "checked": ("with checks",),
}
NUMBERS = {1: "one", 2: "two", 3: "three", 4: "four", 5: "five", 6: "six", 7: "seven", 8: "eight", 9: "nine"}

# relation -> (after the subject without a verb, with one, the same from the object's side)
RELATION_WORDS: dict[str, tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...], tuple[str, ...]]] = {
    "left of": (("left of", "to the left of"), ("is to the left of", "is left of"), ("right of", "to the right of"), ("is to the right of", "is right of")),
    "above": (("above", "over"), ("is above", "floats above"), ("below", "under", "beneath"), ("is below", "is under")),
    "in front of": (("in front of",), ("is in front of", "stands in front of"), ("behind",), ("is behind", "is half hidden behind")),
    "inside": (("inside", "in"), ("is inside", "sits in"), ("containing",), ("contains",)),
    "on": (("on top of", "on"), ("is on", "stands on top of"), (), ()),
    "holding": (("holding",), ("is holding", "holds"), ("held by",), ("is held by",)),
    "lifting": (("lifting", "lifting up"), ("is lifting", "lifts"), ("lifted by",), ("is lifted by",)),
    "chasing": (("chasing", "running after"), ("is chasing", "chases", "runs after"), ("chased by",), ("is chased by", "runs away from")),
    "pushing": (("pushing",), ("is pushing", "pushes"), ("pushed by",), ("is pushed by",)),
    "riding": (("riding", "riding on"), ("is riding", "rides"), ("ridden by",), ("is ridden by",)),
    "wearing": (("wearing",), ("is wearing", "wears"), ("worn by", "on the head of"), ("is worn by",)),
}  # fmt: skip
SPATIAL = ("left of", "above", "in front of")

PLACE_WORDS: dict[str, tuple[str, ...]] = {
    "plain": ("on a plain background",),
    "meadow": ("in a meadow", "on the grass"),
    "beach": ("on a beach", "at the beach"),
    "desert": ("in the desert", "on desert sand"),
    "snow": ("in the snow", "on a snowy day"),
    "night": ("at night", "under the night sky"),
    "room": ("in a room", "indoors"),
    "sea": ("under water", "on the sea floor"),
}


def plural(word: str) -> str:
    return PLURALS.get(word, word + "s")
