"""Caption metrics: published values to the digits published, hand-derived ones, and laws."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pairloom.errors import Mistake
from pairloom.metrics import captions, diversity, overlap
from pairloom.metrics.words import tokenize

DATA = Path(__file__).parents[3] / "shared" / "data" / "metrics"
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason="../shared/data/metrics is not here")


def case(name):
    """Captions and references of one published case, tokenised as its source did."""
    held = lambda file: json.loads((DATA / file).read_text())  # noqa: E731
    if name == "nlgeval":
        lines = [
            (DATA / f"nlgeval_{part}.txt").read_text().strip().split("\n") for part in ("hyp", "ref1", "ref2")
        ]
        return lines[0], [list(pair) for pair in zip(*lines[1:])]
    if name == "coco1000":
        said, wanted = held("coco1000_res.json"), held("coco1000_gts.json")
        return [said[image][0] for image in wanted], list(wanted.values())
    said, wanted = held(f"{name}_captions.json"), held("clipscore_refs.json")
    return tokenize(said.values()), [tokenize(wanted[image]) for image in said]


@needs_data
@pytest.mark.parametrize(
    "name, digits", [("coco1000", 14), ("clipscore_good", 4), ("clipscore_bad", 4), ("nlgeval", 6)]
)
def test_published_values(name, digits):
    expected = json.loads((DATA / "expected.json").read_text())[name]
    said, wanted = case(name)
    made = overlap.bleu(said, wanted)
    values = {f"Bleu_{n}": score.value for n, score in enumerate(made.scores, 1)}
    values |= {"ROUGE_L": overlap.rouge_l(said, wanted).value, "CIDEr": overlap.cider_d(said, wanted).value}
    assert {key: round(value, digits) for key, value in values.items()} == {
        key: round(expected[key], digits) for key in values
    }
    counts = {
        "correct": list(made.correct),
        "guess": list(made.guessed),
        "testlen": made.length,
        "reflen": made.wanted,
    }
    assert all(counts[key] == expected[key] for key in counts if key in expected)


def test_bleu_by_hand():
    made = overlap.bleu(["the the the cat"], [["the cat sat on it", "a the the"]])
    # clipped: the 2 (second reference), cat 1 -> 3/4; bigrams: the the 1 (of 2), the cat 1 -> 2/3; length 4, closest 3
    assert (
        made.correct[:2] == (3, 2) and made.guessed == (4, 3, 2, 1) and (made.length, made.wanted) == (4, 3)
    )
    assert made.scores[0].value == pytest.approx(0.75) and made.scores[1].value == pytest.approx(
        math.sqrt(0.75 * 2 / 3)
    )
    short = overlap.bleu(["a cat"], [["a cat sat here"]])
    assert short.scores[0].value == pytest.approx(math.exp(1 - 4 / 2))  # precision 1, brevity penalty


def test_rouge_by_hand():
    # common subsequence "a b d": precision 3/4, recall 3/5, beta 1.2
    made = overlap.rouge_l(["a b c d"], [["a x b d y"]])
    assert made.value == pytest.approx(2.44 * 0.75 * 0.6 / (0.6 + 1.44 * 0.75))
    assert overlap.rouge_l([""], [["a"]]).value == 0


def naive_common(one, two):
    table = np.zeros((len(one) + 1, len(two) + 1), int)
    for i, a in enumerate(one):
        for j, b in enumerate(two):
            table[i + 1, j + 1] = table[i, j] + 1 if a == b else max(table[i, j + 1], table[i + 1, j])
    return table[-1, -1]


letters = st.lists(st.sampled_from("abc"), max_size=14)


@given(letters, letters)
def test_common_subsequence(one, two):
    assert overlap.common(one, two) == naive_common(one, two)


def test_cider_by_hand():
    # 2 images; "red" is in both images' references, so it weighs nothing; "cat" and "dog" weigh log 2
    said, wanted = ["red cat", "red dog"], [["red cat"], ["red dog"]]
    assert overlap.cider(said, wanted).each == pytest.approx(
        10 * np.array([2, 2]) / 4
    )  # uni- and bigram cosines 1, no longer ones
    half = overlap.cider(["red cat dog", "red dog"], wanted)
    # unigram cosine 1/sqrt 2, bigram "red cat" of {red cat, cat dog}: cat dog is in no reference, log 2 too: 1/sqrt 2
    assert half.each[0] == pytest.approx(10 * (2 / math.sqrt(2)) / 4)
    fewer = overlap.cider_d(["red cat dog", "red dog"], wanted)
    assert fewer.each[0] == pytest.approx(half.each[0] * math.exp(-1 / 72))  # one word longer, sigma 6
    again = overlap.cider_d(["cat cat cat", "red dog"], [["cat"], ["red dog"]])
    plain = overlap.cider(["cat cat cat", "red dog"], [["cat"], ["red dog"]])
    assert plain.each[0] == pytest.approx(10 * 1 / 4)  # cosine of (3) and (1)
    assert again.each[0] == pytest.approx(10 / 3 / 4 * math.exp(-4 / 72))  # clipped to one cat


sentences = st.lists(st.sampled_from("a red cat dog sits on mat".split()), min_size=1, max_size=8).map(
    " ".join
)
sets = st.lists(st.tuples(sentences, st.lists(sentences, min_size=1, max_size=3)), min_size=2, max_size=6)


@settings(max_examples=60, deadline=None)
@given(sets, st.randoms())
def test_laws(rows, random):
    said, wanted = [row[0] for row in rows], [row[1] for row in rows]
    for metric, top in ((overlap.rouge_l, 1), (overlap.cider, 10), (overlap.cider_d, 10)):
        made = metric(said, wanted)
        assert (made.each >= 0).all() and (made.each <= top + 1e-9).all()
        order = list(range(len(rows)))
        random.shuffle(order)
        mixed = metric([said[i] for i in order], [wanted[i][::-1] for i in order])
        assert mixed.each == pytest.approx(made.each[order])
    assert overlap.rouge_l([group[0] for group in wanted], wanted).value == pytest.approx(1)
    assert overlap.bleu([group[0] for group in wanted], wanted).scores[0].value == pytest.approx(1)


@settings(max_examples=20, deadline=None)
@given(sets)
def test_frequencies_of_the_same_references_change_nothing(tmp_path_factory, rows):
    said, wanted = [row[0] for row in rows], [row[1] for row in rows]
    path = tmp_path_factory.mktemp("df") / "df.json"
    overlap.frequencies(wanted).save(path)
    known = overlap.Frequencies.load(path)
    assert overlap.cider_d(said, wanted, known).each == pytest.approx(overlap.cider_d(said, wanted).each)
    alone = [overlap.cider_d([text], [group], known).value for text, group in zip(said, wanted)]
    assert alone == pytest.approx(
        overlap.cider_d(said, wanted).each.tolist()
    )  # one image at a time is now comparable


def test_frequencies_by_hand():
    made = overlap.frequencies([["a cat", "a dog"], ["a cat a cat"]])
    assert (
        made.images == 2 and made.counts["a"] == 2 and made.counts["a cat"] == 2 and made.counts["dog"] == 1
    )
    assert made.counts["a cat a cat"] == 1 and "dog a" not in made.counts


def test_a_wrong_frequency_file_is_a_mistake(tmp_path):
    for text in ("{}", "[1]", "no json", '{"images": 2, "counts": {"a": "x"}}'):
        (tmp_path / "df.json").write_text(text)
        with pytest.raises(Mistake, match="document frequencies"):
            overlap.Frequencies.load(tmp_path / "df.json")


def test_misuse():
    with pytest.raises(ValueError, match="2 captions and references for 1"):
        overlap.bleu(["a", "b"], [["a"]])
    with pytest.raises(ValueError, match="at least one"):
        overlap.rouge_l(["a"], ["a"])
    with pytest.raises(ValueError, match="two images"):
        overlap.cider(["a"], [["a"]])


def test_diversity_by_hand():
    texts = ["a cat a cat", "a dog"]
    assert diversity.vocabulary(texts) == 3
    assert diversity.distinct(texts, 1) == 3 / 6 and diversity.distinct(texts, 2) == 3 / 4
    assert diversity.repetition(texts) == pytest.approx((1 / 3 + 0) / 2)
    assert diversity.distinct([], 2) == 0 and diversity.repetition([]) == 0


def test_evaluate_says_what_it_did_not_compute(monkeypatch):
    monkeypatch.setattr("shutil.which", lambda name: None)
    said = {"one": "A cat, sitting.", "two": "a dog"}
    wanted = {"one": ["a cat sitting"], "two": ["the dog"], "three": ["unused"]}
    made = captions.evaluate(said, wanted).values()
    assert made["BLEU-1"] == pytest.approx(4 / 5) and made["CIDEr-D"] > 0
    assert made["METEOR"].startswith("not computed: needs") and made["SPICE"].startswith(
        "not computed: needs"
    )
    one = captions.evaluate({"one": "a cat"}, wanted, with_java=False).values()
    assert "single image" in one["CIDEr-D"] and one["METEOR"] == "not computed: not asked for"
    with pytest.raises(Mistake, match="1 of 1 captioned images have no reference"):
        captions.evaluate({"four": "a"}, wanted)
    with pytest.raises(Mistake, match="no caption"):
        captions.evaluate({}, wanted)


@needs_data
def test_meteor_is_the_published_number_where_java_is():
    pytest.importorskip("pycocoevalcap.meteor.meteor", reason="the [java] extra is not installed")
    from pairloom.metrics import java

    if java.missing("METEOR"):
        pytest.skip(java.missing("METEOR"))
    assert round(java.meteor(*case("clipscore_good")).value, 4) == 0.3444
    assert round(java.meteor(*case("nlgeval")).value, 6) == 0.295797
