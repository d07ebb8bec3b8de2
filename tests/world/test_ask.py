"""Questions, dialogs and statements against an answerer written apart: it reads the words and looks at the scene."""

from __future__ import annotations

import re
from collections import Counter

import pytest

from pairloom.world import read, sample
from pairloom.world.ask import CHOICES, DrawnQuestion, dialog, questions
from pairloom.world.level import KINDS, LEVELS
from pairloom.world.scene import Scene, Thing
from pairloom.world.statements import DrawnStatement, statement, statements

NUMBERS = ["no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
PLURAL = {("boxes" if kind == "box" else kind if kind == "fish" else kind + "s"): kind for kind in KINDS}
PLACES = {
    "in a meadow": "meadow", "on a beach": "beach", "in the desert": "desert", "in the snow": "snow", "at night": "night",
    "in a room": "room", "under water": "sea",
}  # fmt: skip


def find(scene: Scene, name: str) -> list[Thing]:
    """Things that "red ball", "balls", "cat" can mean."""
    *colour, noun = name.split()
    kind = PLURAL.get(noun, noun)
    return [thing for thing in scene.things if thing.kind == kind and colour in ([], [thing.colour])]


def side(a: Thing, b: Thing, words: str) -> bool:
    p, q = a.box(), b.box()
    columns = min(p[2], q[2]) - max(p[0], q[0]) > 0.25 * min(p[2] - p[0], q[2] - q[0])
    return {
        "to the left of": not columns and p[0] < q[0],
        "to the right of": not columns and p[0] > q[0],
        "above": columns and p[3] < q[3] and p[3] - q[1] < 0.3 * (q[3] - q[1]),
        "below": columns and p[3] > q[3] and q[3] - p[1] < 0.3 * (p[3] - p[1]),
    }[words]


def answer(scene: Scene, question: str) -> str | None:
    """The answer from the scene alone; None for questions about depth and actions, which the boxes cannot tell."""
    yes = lambda true: "yes" if true else "no"  # noqa: E731
    if match := re.fullmatch(r"What colour (?:is|are) the (.+)\?", question):
        (thing,) = find(scene, match[1])
        return thing.colour
    if match := re.fullmatch(r"(?:Is|Are) the (.+) small or big\?", question):
        (thing,) = find(scene, match[1])
        return thing.size
    if match := re.fullmatch(r"What pattern (?:is|are) the (.+)\?", question):
        (thing,) = find(scene, match[1])
        return thing.pattern
    if match := re.fullmatch(r"(?:Is|Are) the (.+) (\w+)\?", question):
        (thing,) = find(scene, match[1])
        return yes(thing.colour == match[2])
    if match := re.fullmatch(r"Is there an? (.+)\?", question):
        return yes(find(scene, match[1]))
    if match := re.fullmatch(r"How many (.+) are there\?", question):
        return NUMBERS[sum(thing.count for thing in find(scene, match[1]))]
    if question == "Where is this?":
        return next(words for words, place in PLACES.items() if place == scene.place)
    if match := re.fullmatch(r"What is (to the left of|to the right of|above|below) the (.+)\?", question):
        (known,) = find(scene, match[2])
        (other,) = [thing for thing in scene.things if thing is not known and side(thing, known, match[1])]
        return other.kind
    return None


@pytest.mark.parametrize("level", LEVELS)
def test_answers_follow_from_the_scene(level: str) -> None:
    sorts: Counter[str] = Counter()
    for seed in range(60):
        scene = sample(seed, level)
        for question in questions(scene):
            sorts[question.sort] += 1
            expected = answer(scene, question.question)
            if expected is None:
                assert question.sort in ("what", "who", "whom", "action") and told(scene, question)
            else:
                assert question.answer == expected, (seed, question)
            assert question.choices.count(question.answer) == 1
            assert 2 <= len(set(question.choices)) == len(question.choices) <= CHOICES
            assert max(question.about, default=0) < len(scene.things)
    expected_sorts = {"colour", "count", "exists", "is", "place", "what"}
    if level != "simple":
        expected_sorts |= {"size", "pattern", "who", "whom", "action"}
    assert set(sorts) == expected_sorts


VERBS = {
    "is inside": "inside",
    "is on top of": "on",
    "is on": "on",
    "lifting up": "lifting",
    "running after": "chasing",
}


def told(scene: Scene, question: DrawnQuestion) -> bool:
    """Questions on relations that were laid out: the relation is in the scene, once for that end, with that answer."""
    known = {(scene.things[r.subject].kind, r.name, scene.things[r.object].kind) for r in scene.relations}
    text = question.question
    if match := re.fullmatch(r"What is (in front of|behind) the (.+)\?", text):
        ends = (
            (question.answer, match[2].split()[-1])
            if match[1] == "in front of"
            else (match[2].split()[-1], question.answer)
        )
        return (PLURAL.get(ends[0], ends[0]), "in front of", PLURAL.get(ends[1], ends[1])) in known
    if match := re.fullmatch(r"What is the (.+) doing with the (.+)\?", text):
        return (match[1].split()[-1], question.answer, match[2].split()[-1]) in known
    if match := re.fullmatch(r"What is the (.+) (\w+)\?", text):
        return (match[1].split()[-1], match[2], question.answer) in known
    match = re.fullmatch(r"(?:Who|What) (.+) the (.+)\?", text)
    assert match, text
    verb = VERBS.get(match[1], match[1].removeprefix("is "))
    return (question.answer, verb, match[2].split()[-1]) in known


def test_right_answers_are_spread_over_the_choices() -> None:
    places = Counter(
        q.choices.index(q.answer)
        for seed in range(40)
        for q in questions(sample(seed))
        if len(q.choices) == 4
    )
    assert min(places.values()) > 0.18 * sum(places.values())


def test_yes_and_no_are_both_common() -> None:
    answers = Counter(
        q.answer for seed in range(80) for q in questions(sample(seed)) if q.sort in ("is", "exists")
    )
    assert 0.3 < answers["yes"] / sum(answers.values()) < 0.7


def test_a_dialog_goes_on_about_a_thing_by_pronoun() -> None:
    pronouns = 0
    for seed in range(60):
        scene = sample(seed)
        talk = dialog(scene, rounds=6)
        assert read(talk.caption, scene).right
        assert 3 <= len(talk.rounds) <= 6 and len({q.question for q in talk.rounds}) >= len(talk.rounds) - 2
        for before, now in zip(talk.rounds, talk.rounds[1:]):
            if re.search(r"\b(it|they)\b", now.question):
                pronouns += 1
                assert len(before.about) == 1 and before.about == now.about
                thing = scene.things[now.about[0]]
                plain = re.sub(r"\b(it|they)\b", f"the {thing.colour} {thing.kind}", now.question)
                assert answer(scene, plain) in (now.answer, None)
    assert pronouns > 20


def test_statements_about_one_picture() -> None:
    for seed in range(60):
        scene = sample(seed)
        for wanted in (True, False):
            made = statement(scene, wanted)
            assert made.true == wanted == read(made.text, scene).right, made


def truth(left: Scene, right: Scene, made: DrawnStatement) -> bool:
    text = made.text.rstrip(".")
    sides = {"left": (left, right), "right": (right, left)}
    number = lambda scene, name: sum(thing.count for thing in find(scene, name))  # noqa: E731
    if match := re.fullmatch(r"Both pictures show something (\w+)", text):
        return all(any(thing.colour == match[1] for thing in scene.things) for scene in (left, right))
    if match := re.fullmatch(r"Both pictures show an? (.+)", text):
        return bool(find(left, match[1]) and find(right, match[1]))
    if match := re.fullmatch(r"Only the (\w+) picture has an? (.+)", text):
        here, there = sides[match[1]]
        return bool(find(here, match[2])) and not find(there, match[2])
    if match := re.fullmatch(r"There are more (\w+) in the (\w+) picture than in the other one", text):
        here, there = sides[match[2]]
        return number(here, match[1]) > number(there, match[1])
    if match := re.fullmatch(r"Together the pictures show exactly (\w+) (\w+)", text):
        return number(left, match[2]) + number(right, match[2]) == NUMBERS.index(match[1])
    if match := re.fullmatch(r"Both pictures are (.+)", text):
        return left.place == right.place == PLACES[match[1]]
    if match := re.fullmatch(r"The (\w+) picture is (.+)", text):
        return sides[match[1]][0].place == PLACES[match[2]]
    match = re.fullmatch(r"There is no (\w+) in either picture", text)
    assert match, text
    return not find(left, match[1]) and not find(right, match[1])


def test_statements_about_two_pictures() -> None:
    drawn: Counter[tuple[str, bool]] = Counter()
    for seed in range(0, 240, 2):
        left, right = sample(seed), sample(seed + 1)
        for made in statements(left, right):
            drawn[made.sort, made.true] += 1
            assert made.true == truth(left, right, made), (seed, made)
    assert {sort for sort, _ in drawn} == {"both", "one", "more", "sum", "place", "neither"}
    for sort in {sort for sort, _ in drawn}:
        share = drawn[sort, True] / (drawn[sort, True] + drawn[sort, False])
        assert (0.15 if sort == "both" else 0.35) < share < 0.65, (sort, share)
