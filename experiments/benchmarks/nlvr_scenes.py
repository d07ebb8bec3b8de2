"""Synthetic scenes like NLVR's (Suhr et al., 2017: three grey boxes of yellow, black and blue things, scattered or stacked),
and statements about them in a small grammar, true or false by construction. They serve for pre-training, since there are only
a few thousand statements of people.

No data of NLVR is in it: sizes and colours follow its training pictures, and forms of words its training sentences.


B boxes.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

import numpy
from PIL import Image, ImageDraw

SIDE = 100  # of a box, in pixels
GREY = (211, 211, 211)
COLOURS = {"yellow": (255, 255, 0), "black": (0, 0, 0), "blue": (0, 153, 255)}
SHAPES = ("triangle", "circle", "square")
SORTS = [(shape, colour) for shape in SHAPES for colour in COLOURS]
NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight")


@dataclass(frozen=True)
class Thing:
    """A thing of a box. x, y: its upper left corner; size: its side."""

    shape: str
    colour: str
    x: int
    y: int
    size: int

    def touches(self, wall: str) -> bool:
        """Whether the thing touches a wall: "left", "right", "top", "bottom", "edge" for any, "corner" for two at once."""
        end = SIDE - self.size
        walls = {"left": self.x == 0, "right": self.x == end, "top": self.y == 0, "bottom": self.y == end}
        if wall == "corner":
            return (walls["left"] or walls["right"]) and (walls["top"] or walls["bottom"])
        return any(walls.values()) if wall in ("edge", "wall") else walls[wall]


Box = tuple[Thing, ...]
Scene = tuple[Box, Box, Box]
Statement = tuple[str, Callable[[Scene], bool]]
Test = Callable[[Box], list[Thing]]


def scattered(draw: random.Random) -> Box:
    """A box with one to eight things that do not overlap, some of them at a wall."""
    things: list[Thing] = []
    for _ in range(draw.randint(1, 8)):
        size = draw.choice((10, 20, 30))
        x, y = draw.randint(0, SIDE - size), draw.randint(0, SIDE - size)
        if draw.random() < 0.35:
            x, y = draw.choice(
                ((0, y), (SIDE - size, y), (x, 0), (x, SIDE - size), (SIDE - size, SIDE - size))
            )
        free = all(
            x + size < one.x or one.x + one.size < x or y + size < one.y or one.y + one.size < y
            for one in things
        )
        if free:
            things.append(Thing(draw.choice(SHAPES), draw.choice(list(COLOURS)), x, y, size))
    return tuple(things)


def tower(draw: random.Random) -> Box:
    """A box with a tower of one to four blocks, the lowest first."""
    blocks = range(draw.randint(1, 4))
    return tuple(Thing("square", draw.choice(list(COLOURS)), 40, 80 - 21 * at, 20) for at in blocks)


def picture(box: Box, size: int) -> numpy.ndarray:
    """Draw a box: uint8 [size size 3]."""
    image = Image.new("RGB", (SIDE, SIDE), GREY)
    pen = ImageDraw.Draw(image)
    for one in box:
        x, y, far, low = one.x, one.y, one.x + one.size - 1, one.y + one.size - 1
        if one.shape == "square":
            pen.rectangle((x, y, far, low), COLOURS[one.colour])
        elif one.shape == "circle":
            pen.ellipse((x, y, far, low), COLOURS[one.colour])
        else:
            pen.polygon([(x, low), (far, low), ((x + far) / 2, y)], COLOURS[one.colour])
    return numpy.asarray(image.resize((size, size)))


def cells(box: Box, side: int) -> numpy.ndarray:
    """Labels of the cells of a grid over a box [side * side, 9 + 5]: the sorts of thing with their centre in the cell, and the
    walls and corner that these touch."""
    table = numpy.zeros((side, side, len(SORTS) + 5), numpy.float32)
    for one in box:
        row, column = (int((start + one.size / 2) * side / SIDE) for start in (one.y, one.x))
        table[row, column, SORTS.index((one.shape, one.colour))] = 1
        for at, wall in enumerate(("left", "right", "top", "bottom", "corner")):
            table[row, column, len(SORTS) + at] = max(table[row, column, len(SORTS) + at], one.touches(wall))
    return table.reshape(side * side, -1)


# -- words -------------------------------------------------------------------------------------------------------------


def number(draw: random.Random, value: int) -> str:
    return str(value) if draw.random() < 0.2 else NUMBERS[value]


def quantity(draw: random.Random, most: int = 4) -> tuple[str, Callable[[int], bool], bool]:
    """A random quantity: its words, the test of a count, and whether its noun is in the plural."""
    value = draw.randint(1, most)
    way = draw.choice(("a", "exactly", "at least", "plain", "only", "at most" if value > 1 else "a"))
    if way == "a":
        return draw.choice(("a", "one", "at least one")), lambda count: count >= 1, False
    words = number(draw, value)
    words = words if way == "plain" else f"{way} {words}"
    tests: dict[str, Callable[[int], bool]] = {
        "at least": lambda count: count >= value,
        "at most": lambda count: count <= value,
        "plain": lambda count: count >= value,
    }
    return words, tests.get(way, lambda count: count == value), value > 1


def kind(draw: random.Random, blocks: bool) -> tuple[str, Test]:
    """A random kind of thing: its words, and the function that lists such things of a box."""
    colour = draw.choice([*COLOURS, "", ""]) if not blocks else draw.choice([*COLOURS, *COLOURS, ""])
    shape = "" if blocks else draw.choice([*SHAPES, ""])
    noun = "block" if blocks else shape or draw.choice(("item", "object"))

    def test(box: Box) -> list[Thing]:
        return [one for one in box if shape in ("", one.shape) and colour in ("", one.colour)]

    return f"{colour} {noun}".strip(), test


def some(draw: random.Random, blocks: bool, most: int = 4) -> tuple[str, Callable[[Box], bool]]:
    """A random noun phrase ("two yellow squares", "exactly one black block touching the edge"), and the test of a box."""
    (many, fits, plural), (words, test) = quantity(draw, most), kind(draw, blocks)
    words = f"{many} {words}{'s' * plural}"
    if blocks or draw.random() < 0.7:
        return words, lambda box: fits(len(test(box)))
    wall, inside = (
        draw.choice(("edge", "wall", "corner", "left", "right", "top", "bottom")),
        draw.random() < 0.3,
    )
    wall_words = f"the {wall} wall" if wall in ("left", "right") else f"the {wall}"
    words = f"{words} {'not ' * inside}{draw.choice(('touching', 'closely touching'))} {wall_words}"
    return words, lambda box: fits(sum(one.touches(wall) != inside for one in test(box)))


def _there(draw: random.Random, words: str) -> str:
    return f"there {'are' if words.split()[-1].endswith('s') and draw.random() < 0.8 else 'is'} {words}"


def _place(draw: random.Random, blocks: bool) -> tuple[str, str]:
    return (
        ("tower", "towers")
        if blocks
        else draw.choice((("box", "boxes"), ("grey box", "grey boxes"), ("grey square", "grey squares")))
    )


def in_a_box(draw: random.Random, blocks: bool) -> Statement:
    words, test = some(draw, blocks)
    more, also = some(draw, blocks) if draw.random() < 0.4 and not blocks else ("", lambda box: True)
    place, _ = _place(draw, blocks)
    text = f"there is {draw.choice(('a', 'one', 'at least one'))} {place} with {words}{' and ' * bool(more)}{more}"
    return text, lambda scene: any(test(box) and also(box) for box in scene)


def in_boxes(draw: random.Random, blocks: bool) -> Statement:
    words, test = some(draw, blocks, 3)
    place, places = _place(draw, blocks)
    if draw.random() < 0.5:
        every = draw.choice((f"each {place} has", f"every {place} contains", f"all {places} contain"))
        return f"{every} {words}", lambda scene: all(map(test, scene))
    many, fits, plural = quantity(draw, 3)
    text = f"there {'are' if plural else 'is'} {many} {places if plural else place} with {words}"
    return text, lambda scene: fits(sum(map(test, scene)))


def in_all(draw: random.Random, blocks: bool) -> Statement:
    words, test = some(draw, blocks, 6)
    return _there(draw, words), lambda scene: test(sum(scene, ()))


def of_colours(draw: random.Random, blocks: bool) -> Statement:
    """A random statement on colours: "there is a box with only yellow and blue items", "with items of the same colour"."""
    place, noun = _place(draw, blocks)[0], "blocks" if blocks else draw.choice(("items", "objects"))
    if draw.random() < 0.3:
        text = f"there is a {place} with all {noun} of the same color"
        return text, lambda scene: any(
            len({one.colour for one in box}) == 1 and len(box) > 1 for box in scene
        )
    colours = draw.sample(list(COLOURS), draw.choice((1, 2)))
    text = f"there is a {place} with only {' and '.join(colours)} {noun}"
    return text, lambda scene: any({one.colour for one in box} == set(colours) for box in scene)


def of_towers(draw: random.Random, blocks: bool) -> Statement:
    """A random statement on towers: height, top, base, and the order of blocks."""
    way, colour, other = draw.randint(0, 3), draw.choice(list(COLOURS)), draw.choice(list(COLOURS))
    many, fits, plural = quantity(draw, 3)
    towers = f"there {'are' if plural else 'is'} {many} tower{'s' * plural}"
    if way == 0:
        words, tall, more = quantity(draw, 4)
        text = f"{towers} with {words} block{'s' * more}"
        return text, lambda scene: fits(sum(tall(len(box)) for box in scene))
    if way == 1:
        end = draw.choice((0, -1))
        place = draw.choice(("at the base", "as the base") if end == 0 else ("at the top", "on top"))
        text = f"{towers} with a {colour} block {place}"
        return text, lambda scene: fits(sum(box[end].colour == colour for box in scene))
    low, high = (other, colour) if way == 2 else (colour, other)
    where = draw.choice(("on", "above", "over") if way == 2 else ("below", "under"))
    text = f"there is a {colour} block {where} a {other} block"
    return text, lambda scene: any(
        (one.colour, two.colour) == (low, high) for box in scene for one, two in zip(box, box[1:])
    )


def phrase(draw: random.Random, blocks: bool) -> tuple[str, Callable[[Box], int]]:
    """A random phrase ("black items touching the wall", "yellow block on a blue block"), and the count of such things in a
    box."""
    words, test = kind(draw, blocks)
    if blocks and draw.random() < 0.5:
        colour, other, way = draw.choice(list(COLOURS)), draw.choice(list(COLOURS)), draw.randint(0, 3)
        if way > 1:
            place, at = (("base", 0), ("top", -1))[way - 2]
            return f"{colour} block at the {place}", lambda box: int(box[at].colour == colour)
        pair = (other, colour) if way else (colour, other)
        return f"{colour} block {('below', 'on')[way]} a {other} block", lambda box: sum(
            (low.colour, high.colour) == pair for low, high in zip(box, box[1:])
        )
    if blocks or draw.random() < 0.7:
        return words, lambda box: len(test(box))
    wall = draw.choice(("edge", "wall", "corner", "left", "right", "top", "bottom"))
    return f"{words} touching the {wall}", lambda box: sum(one.touches(wall) for one in test(box))


FORMS = (in_a_box, in_boxes, in_all, of_colours)


def example(seed: int) -> tuple[str, Scene, Scene]:
    """A statement, a scene in which it is true and one in which it is false, so that its words alone do not tell its truth."""
    draw = random.Random(seed)
    while True:
        blocks = draw.random() < 0.5
        box, forms = (tower, (of_towers, *FORMS)) if blocks else (scattered, FORMS)
        text, test = draw.choice(forms)(draw, blocks)
        scenes_by_truth: dict[bool, Scene] = {}
        for _ in range(30):
            scene = (box(draw), box(draw), box(draw))
            scenes_by_truth.setdefault(test(scene), scene)
            if len(scenes_by_truth) == 2:
                return text, scenes_by_truth[True], scenes_by_truth[False]


def stacked(scene: Scene) -> bool:
    """Whether the boxes of a scene hold towers: no scattered thing of 20 px lies on the floor in the middle of all three."""
    return all(box[0].x == 40 and box[0].y == 80 and box[0].shape == "square" for box in scene)
