"""Questions with answers, and dialogs, about a scene. Every answer follows from the scene; wrong choices come along.

Does not know: pixels, several pictures (statements.py does).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from pairloom.world.level import SIZES
from pairloom.world.lexicon import NUMBERS, PLACE_WORDS, RELATION_WORDS, SPATIAL, plural
from pairloom.world.scene import Relation, Scene, Turn, holds, turn_of
from pairloom.world.words import caption

CHOICES = 4  # the right answer and up to three wrong ones of the same sort
INVERSE = {"left of": "to the right of", "above": "below", "in front of": "behind"}
FORWARD = {"left of": "to the left of", "above": "above", "in front of": "in front of"}


@dataclass(frozen=True)
class DrawnQuestion:
    """A question about a scene, with its answer.

    sort: "colour", "size", "pattern", "count", "exists", "is", "place", "what", "who", "action" or "whom". choices: the
    answer among plausible wrong ones, in random order. about: indices of the things that the question is about.
    """

    sort: str
    question: str
    answer: str
    choices: tuple[str, ...]
    about: tuple[int, ...] = ()


@dataclass(frozen=True)
class DrawnDialog:
    """A caption, then questions and answers; later questions say "it" or "they" for the thing spoken of just before."""

    caption: str
    rounds: tuple[DrawnQuestion, ...]


def name_of(scene: Scene, index: int) -> str:
    """Shortest unambiguous name of a thing: "ball", or "red ball" where there are two of the kind; plural for a group."""
    thing = scene.things[index]
    noun = plural(thing.kind) if thing.count > 1 else thing.kind
    alone = sum(other.kind == thing.kind for other in scene.things) == 1
    return noun if alone else f"{thing.colour} {noun}"


def questions(scene: Scene, variant: int = 0) -> list[DrawnQuestion]:
    """Questions of every sort that the scene allows, in random order. Answers are one word or a few."""
    turn = turn_of(scene.seed, "questions", variant)
    questions_ = [
        question for ask in (_attributes, _counts, _exists, _place, _ends) for question in ask(scene, turn)
    ]
    return turn.shuffle(questions_)


def dialog(scene: Scene, rounds: int = 5, variant: int = 0) -> DrawnDialog:
    """A dialog: a terse caption and up to `rounds` questions. A second question about the same thing names it by a
    pronoun."""
    turn = turn_of(scene.seed, "dialog", variant)
    left = questions(scene, variant)
    rounds_: list[DrawnQuestion] = []
    topic: int | None = None
    while left and len(rounds_) < rounds:
        same = [question for question in left if question.about == (topic,)]
        chosen = turn.pick(same) if same and turn.chance(0.7) else left[0]
        left.remove(chosen)
        if topic is not None and chosen.about == (topic,):
            chosen = _with_pronoun(chosen, scene, topic)
        rounds_.append(chosen)
        topic = chosen.about[0] if len(chosen.about) == 1 else None
    return DrawnDialog(caption(scene, "terse", variant), tuple(rounds_))


def _with_pronoun(question: DrawnQuestion, scene: Scene, topic: int) -> DrawnQuestion:
    many = scene.things[topic].count > 1
    name = f"the {name_of(scene, topic)}"
    return replace(question, question=question.question.replace(name, "they" if many else "it"))


def _question(
    turn: Turn,
    sort: str,
    text: str,
    answer: str,
    others: tuple[str, ...] | list[str],
    about: tuple[int, ...] = (),
) -> DrawnQuestion:
    wrong = turn.shuffle([other for other in dict.fromkeys(others) if other != answer])[: CHOICES - 1]
    return DrawnQuestion(sort, text, answer, tuple(turn.shuffle([answer, *wrong])), about)


def _attributes(scene: Scene, turn: Turn) -> Iterator[DrawnQuestion]:
    level = scene.level
    for index, thing in enumerate(scene.things):
        name, about = f"the {name_of(scene, index)}", (index,)
        verb = "are" if thing.count > 1 else "is"
        if name_of(scene, index) in (thing.kind, plural(thing.kind)):
            yield _question(turn, "colour", f"What colour {verb} {name}?", thing.colour, level.colours, about)
        if thing.size:
            yield _question(
                turn, "size", f"{verb.capitalize()} {name} small or big?", thing.size, SIZES, about
            )
        if len(level.patterns) > 1:
            yield _question(
                turn, "pattern", f"What pattern {verb} {name}?", thing.pattern, level.patterns, about
            )
        guess = thing.colour if turn.chance(0.5) else turn.pick(level.colours)
        if name == f"the {thing.kind}" or name == f"the {plural(thing.kind)}":
            yield _yes_no(turn, "is", f"{verb.capitalize()} {name} {guess}?", guess == thing.colour, about)


def _yes_no(turn: Turn, sort: str, text: str, true: bool, about: tuple[int, ...] = ()) -> DrawnQuestion:
    return _question(turn, sort, text, "yes" if true else "no", ("yes", "no"), about)


def _counts(scene: Scene, turn: Turn) -> Iterator[DrawnQuestion]:
    for kind in dict.fromkeys(thing.kind for thing in scene.things):
        number = sum(thing.count for thing in scene.things if thing.kind == kind)
        about = tuple(index for index, thing in enumerate(scene.things) if thing.kind == kind)
        near = [NUMBERS[n] for n in range(max(1, number - 2), number + 3)]
        yield _question(turn, "count", f"How many {plural(kind)} are there?", NUMBERS[number], near, about)


def _exists(scene: Scene, turn: Turn) -> Iterator[DrawnQuestion]:
    thing = turn.pick(scene.things)
    for kind, colour in (
        (thing.kind, thing.colour),
        (turn.pick(scene.level.kinds), turn.pick(scene.level.colours)),
    ):
        true = any(other.kind == kind and other.colour == colour for other in scene.things)
        article = "an" if colour[0] in "aeiou" else "a"
        yield _yes_no(turn, "exists", f"Is there {article} {colour} {kind}?", true)
    kind = turn.pick(scene.level.kinds)
    article = "an" if kind[0] in "aeiou" else "a"
    yield _yes_no(
        turn, "exists", f"Is there {article} {kind}?", any(other.kind == kind for other in scene.things)
    )


def _place(scene: Scene, turn: Turn) -> Iterator[DrawnQuestion]:
    if scene.place != "plain":
        others = [PLACE_WORDS[place][0] for place in scene.level.places if place != "plain"]
        yield _question(turn, "place", "Where is this?", PLACE_WORDS[scene.place][0], others)


def _ends(scene: Scene, turn: Turn) -> Iterator[DrawnQuestion]:
    """Who does what to whom, and what lies on which side, where there is one answer alone."""
    for relation in scene.relations:
        yield from (_sides if relation.name in SPATIAL else _actions)(scene, turn, relation)


def _sides(scene: Scene, turn: Turn, relation: Relation) -> Iterator[DrawnQuestion]:
    a, b, things = relation.subject, relation.object, range(len(scene.things))
    before = [index for index in things if holds(scene, relation.name, index, b)]
    after = [index for index in things if holds(scene, relation.name, a, index)]
    for words, known, nearest in ((FORWARD[relation.name], b, before), (INVERSE[relation.name], a, after)):
        if len(nearest) == 1:
            text = f"What is {words} the {name_of(scene, known)}?"
            yield _question(turn, "what", text, scene.things[nearest[0]].kind, scene.level.kinds, (known,))


def _actions(scene: Scene, turn: Turn, relation: Relation) -> Iterator[DrawnQuestion]:
    a, b, kinds = relation.subject, relation.object, scene.level.kinds
    first, second = name_of(scene, a), name_of(scene, b)
    doing, verb = RELATION_WORDS[relation.name][0][0], RELATION_WORDS[relation.name][1][0]
    if relation.name in ("inside", "on"):
        yield _question(turn, "who", f"What {verb} the {second}?", scene.things[a].kind, kinds, (b,))
        return
    others = [
        RELATION_WORDS[name][0][0] for name in scene.level.relations if name not in (*SPATIAL, "inside", "on")
    ]
    yield _question(turn, "who", f"Who {verb} the {second}?", scene.things[a].kind, kinds, (b,))
    yield _question(turn, "whom", f"What is the {first} {doing}?", scene.things[b].kind, kinds, (a,))
    yield _question(turn, "action", f"What is the {first} doing with the {second}?", doing, others, (a, b))
