"""Captions are true in every style, and hard negatives are false in the same words."""

from __future__ import annotations

from collections import Counter

import pytest

from pairloom.world import STYLES, caption, negative, negatives, parse, read, sample
from pairloom.world.claim import is_true
from pairloom.world.level import LEVELS
from pairloom.world.negatives import SWAPS
from pairloom.world.words import claim_of


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("style", STYLES)
def test_every_caption_is_true_and_read_as_it_was_meant(level: str, style: str) -> None:
    for seed in range(48):
        scene = sample(seed, level)
        for variant in range(2):
            text, meant = caption(scene, style, variant), claim_of(scene, style, variant)
            reading, heard = read(text, scene), parse(text)
            assert reading.right, (text, [fact for fact in reading.stated if not fact.true])
            assert is_true(meant, scene)
            assert Counter(m.kind for m in heard.mentions) == Counter(m.kind for m in meant.mentions), text
            assert Counter(frozenset(m.attributes) for m in heard.mentions) == Counter(
                frozenset(m.attributes) for m in meant.mentions
            ), text
            assert Counter(m.count for m in heard.mentions) == Counter(m.count for m in meant.mentions), text
            assert heard.place == meant.place
            assert len(heard.links) <= len(meant.links)
            if style != "alt":  # alt leaves out a relation between things already named
                assert Counter(link.name for link in heard.links) == Counter(
                    link.name for link in meant.links
                ), text


def test_the_full_style_tells_everything() -> None:
    for seed in range(48):
        scene = sample(seed)
        claim = parse(caption(scene, "full"))
        said = {(m.kind, value) for m in claim.mentions for _, value in m.attributes}
        for thing in scene.things:
            assert {(thing.kind, thing.colour), (thing.kind, thing.size)} <= said
            assert ((thing.kind, thing.pattern) in said) or thing.pattern == "plain"
        assert len(claim.links) == len(scene.relations)


def test_styles_and_variants_are_worded_differently() -> None:
    scenes = [sample(seed) for seed in range(60)]
    told = {style: [caption(scene, style) for scene in scenes] for style in STYLES}
    for first in STYLES:
        for second in STYLES:
            same = sum(a == b for a, b in zip(told[first], told[second]))
            assert same == 60 if first == second else same < 5
    assert (
        sum(caption(scene, "paraphrase", 1) != text for scene, text in zip(scenes, told["paraphrase"])) > 45
    )
    assert all(len(terse) < len(full) for terse, full in zip(told["terse"], told["full"]))


def test_an_unknown_style_is_refused() -> None:
    with pytest.raises(ValueError, match="terse"):
        caption(sample(0), "tersee")


@pytest.mark.parametrize("level", LEVELS)
def test_hard_negatives_are_false_and_their_captions_true(level: str) -> None:
    found: Counter[str] = Counter()
    for seed in range(48):
        scene, style = sample(seed, level), STYLES[seed % len(STYLES)]
        for made in negatives(scene, style):
            found[made.swap] += 1
            assert made.caption == caption(scene, style)
            assert read(made.caption, scene).right
            assert not read(made.negative, scene).right, (made.swap, made.negative, made.caption)
            assert not is_true(made.claim, scene)
    able = set(SWAPS) - ({"replace_verb", "replace_count"} if level == "simple" else set())
    assert set(found) == able and min(found.values()) >= 3


def words(text: str) -> Counter[str]:
    return Counter(word.strip(".,").lower() for word in text.split() if word.lower() not in ("a", "an"))


def test_swaps_do_what_they_are_called() -> None:
    for seed in range(60):
        scene = sample(seed, "simple")
        for made in negatives(scene, "terse"):
            before, after = words(made.caption), words(made.negative)
            gone, come = before - after, after - before
            if made.swap in ("swap_attribute", "swap_order"):
                assert not gone and not come, made
            elif made.swap == "swap_relation":
                pairs = [({"left"}, {"right"}), ({"above", "over"}, {"below", "under", "beneath"})]
                both = [(a, b) for pair in pairs for a, b in (pair, pair[::-1])]
                assert any(gone.keys() <= a and come.keys() <= b for a, b in both), made
            else:
                assert sum(gone.values()) == sum(come.values()) == 1, made


def test_negatives_stay_in_the_vocabulary_of_the_level() -> None:
    level = LEVELS["simple"]
    for seed in range(40):
        for made in negatives(sample(seed, "simple")):
            for mention in made.claim.mentions:
                assert mention.kind in level.kinds and dict(mention.attributes)["colour"] in level.colours
            assert made.claim.place in (*level.places, "")


def test_there_is_no_swap_for_a_thing_alone() -> None:
    alone = next(
        scene for scene in map(sample, range(100)) if len(scene.things) == 1 and scene.things[0].count == 1
    )
    for swap in (
        "swap_attribute",
        "swap_relation",
        "swap_order",
        "replace_verb",
        "replace_subject",
        "replace_count",
    ):
        assert negative(alone, swap) is None
    assert negative(alone, "replace_attribute") is not None
