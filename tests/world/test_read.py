"""The reader: what does a text state, and is it true? Hand-made scenes, hand-made answers, any garbage."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pairloom.world import parse, read
from pairloom.world.claim import Claim, Link, Mention, Stated, check
from pairloom.world.level import LEVELS
from pairloom.world.lexicon import ATTRIBUTE_WORDS, KIND_WORDS, PLACE_WORDS, RELATION_WORDS
from pairloom.world.scene import Relation, Scene, Thing

# a small red cat chases a big striped blue bird on a beach, three green balls lie to their right, a red star above them
CAT = Thing("cat", "red", "small", spots=((0.15, 0.8, 0.2),))
BIRD = Thing("bird", "blue", "big", "striped", spots=((0.42, 0.75, 0.3),))
BALLS = Thing("ball", "green", "small", spots=((0.7, 0.85, 0.1), (0.82, 0.85, 0.1), (0.76, 0.8, 0.1)))
STAR = Thing("star", "red", "small", spots=((0.76, 0.4, 0.2),))
SCENE = Scene(0, LEVELS["full"], "beach", (CAT, BIRD, BALLS, STAR), (Relation("chasing", 0, 1),))


@pytest.mark.parametrize(
    "text",
    [
        "a cat",
        "red cat chasing blue bird",
        "A small red cat is chasing a big striped blue bird on a beach.",
        "A blue bird is chased by a kitten. The bird is big. It is striped.",
        "To the right of the bird there are three green balls.",
        "three balls below a red star",
        "Below a red star are three little green spheres.",
        "The cat is red and the bird is blue.",
        "a bird with stripes, at the beach",
        "something green below something red",
        "A red cat runs after a blue bird and a red star is above the green balls",
        "RED CAT!!! left of ... a Blue Bird",
        "a cat is to the left of a bird. The bird is left of three balls. The balls are under a star.",
        "the the a red red cat",
        "3 balls",
    ],
)
def test_true_texts(text: str) -> None:
    reading = read(text, SCENE)
    assert reading.right, [fact for fact in reading.stated if not fact.true]


@pytest.mark.parametrize(
    ("text", "false"),
    [
        ("a dog and a blue cat", [("colour", "cat blue")]),
        (
            "a red bird chasing a blue cat",
            [("colour", "bird red"), ("colour", "cat blue"), ("relation", "bird chasing cat")],
        ),
        ("a bird chasing a cat", [("relation", "bird chasing cat")]),
        ("a cat chased by a bird", [("relation", "bird chasing cat")]),
        ("a cat to the right of a bird", [("relation", "bird left of cat")]),
        ("two green balls", [("count", "2 ball")]),
        ("four balls above a star", [("count", "4 ball"), ("relation", "ball above star")]),
        ("a red cat in the snow", [("place", "snow")]),
        ("a red cat and a red cat", [("thing", "cat"), ("colour", "cat red")]),
        ("a dotted big bird", [("pattern", "bird dotted")]),
        ("a red blue cat", [("colour", "cat blue")]),
        ("a cat holding a bird", [("relation", "cat holding bird")]),
        ("The cat is blue.", [("colour", "cat blue")]),
        ("a fish", [("thing", "fish")]),
        ("something purple", [("colour", "thing purple")]),
        ("a cat on a beach in a room", [("place", "beach/room")]),
    ],
)
def test_false_texts_and_what_is_false_of_them(text: str, false: list[tuple[str, str]]) -> None:
    reading = read(text, SCENE)
    assert not reading.right
    assert [(fact.sort, fact.fact) for fact in reading.stated if not fact.true] == false


@pytest.mark.parametrize(
    "text",
    ["", "   ", "\0", "Click to enlarge", "IMG_0042.JPG", "red", "left of", "the of and", "Котик", "a a a ."],
)
def test_texts_that_state_nothing_or_no_thing(text: str) -> None:
    reading = read(text, SCENE)
    assert reading.right is (text == "red")  # something is red here; the others state nothing at all
    assert (reading.stated == ()) is (text != "red")


def test_what_a_sentence_is_parsed_into() -> None:
    claim = parse("A small red cat chases two striped birds in the snow. The cat is left of a ball.")
    cat = Mention("cat", (("size", "small"), ("colour", "red")))
    birds = Mention("bird", (("pattern", "striped"),), 2)
    assert claim == Claim(
        (cat, birds, Mention("ball")), (Link("chasing", 0, 1), Link("left of", 0, 2)), "snow"
    )


def test_the_other_ball_is_another_one() -> None:
    claim = parse("A red ball is left of a blue ball. The blue ball is below a star.")
    assert [mention.kind for mention in claim.mentions] == ["ball", "ball", "star"]
    assert claim.links == (Link("left of", 0, 1), Link("above", 2, 1))


def test_the_best_meaning_counts() -> None:
    """With two cats, "a cat left of a bird" is true if one of them is."""
    scene = Scene(
        0,
        LEVELS["full"],
        "plain",
        (
            Thing("cat", "red", spots=((0.9, 0.8, 0.1),)),
            Thing("cat", "black", spots=((0.1, 0.8, 0.1),)),
            BIRD,
        ),
        (),
    )
    assert read("a cat left of a bird", scene).right and read("a cat right of a bird", scene).right
    assert not read("a red cat left of a bird", scene).right
    assert not read("two cats left of a bird", scene).right  # no two of them are
    assert read("two cats", scene).right and not read("two black cats", scene).right


def test_a_claim_of_nothing_has_no_facts() -> None:
    assert check(Claim(), SCENE) == ()
    assert check(Claim(place="beach"), SCENE) == (Stated("place", "beach", True),)


@settings(max_examples=100, deadline=None, derandomize=True, database=None)
@given(st.text(max_size=300))
def test_any_text_can_be_read(text: str) -> None:
    reading = read(text, SCENE)
    assert reading.right == (bool(reading.stated) and all(fact.true for fact in reading.stated))


PHRASES = [
    *(word for words in KIND_WORDS.values() for word in words),
    *(word for values in ATTRIBUTE_WORDS.values() for words in values.values() for word in words),
    *(phrase for sides in RELATION_WORDS.values() for phrases in sides for phrase in phrases),
    *(phrase for phrases in PLACE_WORDS.values() for phrase in phrases),
    *("the a an is are it and with . , one two something balls".split()),
]


@settings(max_examples=100, deadline=None, derandomize=True, database=None)
@given(st.lists(st.sampled_from(PHRASES), max_size=40))
def test_any_word_salad_can_be_read(words: list[str]) -> None:
    text = " ".join(words)
    claim = parse(text)
    assert all(max(link.subject, link.object) < len(claim.mentions) for link in claim.links)
    kinds = {kind for kind, options in KIND_WORDS.items() if {*options, f"{kind}s"} & set(words)}
    assert {mention.kind for mention in claim.mentions} - {None} == kinds
    assert read(text, SCENE).right <= bool(claim.mentions or claim.place)


def test_a_flood_of_words_is_read_in_time() -> None:
    assert not read("a red ball left of " * 5000, SCENE).right
    assert len(parse("cat " * 100_000).mentions) < 1000
