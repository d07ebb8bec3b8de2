"""Wording alone: likelihoods by hand, nothing read of a text's own cases, and sets that give their false texts away."""

import math
from pathlib import Path

import numpy as np
import pytest

from pairloom.bench import gdbench
from pairloom.bench._case import Case
from pairloom.bench._judging import Scorer
from pairloom.bench._scoring import score
from pairloom.bench._wording import Wording


def cases(*texts: tuple[str, ...]) -> list[Case]:
    return [Case(str(at), (), row) for at, row in enumerate(texts)]


def test_a_text_is_judged_by_the_others_by_hand() -> None:
    """Others: "a cat", "a cat". Firsts: end 2, a 2, cat 2, 6 in all; of the four kinds with the unseen one (the own text adds
    "dog": five). "a dog": P(a | end) = (2 + 3/11) / 3, P(dog | a) = (0 + 1/11) / 3, P(end | dog) = (0 + 3/11) / 1."""
    scorer = Wording(cases(("a cat",), ("A cat!",), ("a dog",)))
    assert isinstance(scorer, Scorer) and scorer.cost == {"texts": 0}
    [found] = scorer.scores([], ["a dog"], [(0, 0)])
    by_hand = [(2 + 3 / 11) / 3, (1 / 11) / 3, 3 / 11]
    assert found == pytest.approx(sum(map(math.log, by_hand)) / 3) and scorer.cost == {"texts": 1}


def test_nothing_is_known_of_the_cases_that_a_text_stands_in() -> None:
    """A case alone, or the same candidates in every case: all texts of one length and of unseen words are alike."""
    scorer = Wording(cases(("red cat", "cat red"), ("red cat", "cat red")))
    one, two = scorer.scores([], ["red cat", "cat red"], [(0, 0), (5, 1)])
    assert one == two
    more = Wording(cases(("red cat", "cat red"), ("a red cat sat", "one")))
    one, two = more.scores([], ["red cat", "cat red"], [(0, 0), (0, 1)])
    assert one > two  # another case has the pair
    assert np.isfinite(more.scores([], ["", "words that nobody said"], [(0, 0), (0, 1)])).all()


def test_the_order_of_cases_and_pictures_does_not_matter() -> None:
    rows = [("a b c", "c b a"), ("b c", "c a"), ("a c", "b")]
    texts = [text for row in rows for text in row]
    pairs = [(at % 2, at) for at in range(len(texts))]
    one = Wording(cases(*rows)).scores([], texts, pairs)
    assert Wording(cases(*rows[::-1])).scores([], texts, pairs) == pytest.approx(one)


@pytest.mark.parametrize(
    ("name", "told"), [("coco_order", True), ("flickr_order", True), ("svo_probes", False), ("pets", False)]
)
def test_it_tells_shuffled_words_and_nothing_of_pictures(name: str, told: bool, tmp_path: Path) -> None:
    """The order sets give themselves away (as they are known to do); sets of pictures, or of the same texts, do not."""
    module = gdbench.benchmarks()[name]
    module.mini(tmp_path / "set", 0, count=20 if name != "pets" else 3)
    asked = module.read(tmp_path / "set").cases
    found = score(lambda: Wording(asked), "", asked, tmp_path / "set", tmp_path / "scores")
    one = module.measures(asked, [found.grids[case.key] for case in asked])[0]
    if told:
        assert one.interval.low > one.chance + 0.1
    else:
        assert one.interval.value == pytest.approx(one.chance)
