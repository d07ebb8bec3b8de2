"""Writers of the folds: what they say of a text's words, and the views that they learn from."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from pairloom import model as models
from pairloom.clean.views import FixedViews
from pairloom.clean.writers import Writers
from pairloom.data.batch import Batch
from pairloom.data.tokens import Tokens
from pairloom.regression.lexicon import Lexicon
from pairloom.regression.word_fit import written_ratios

COLOURS, THINGS = ("red", "blue", "green"), ("ball", "cat", "tree")
TEXTS = [
    f"a {colour} {thing} {end}" for colour in COLOURS for thing in THINGS for end in ("here", "on the grass")
] * 2
PIXELS = np.random.default_rng(0).integers(0, 255, (4, 32, 32, 3)).astype(np.uint8)


class Pictures:
    """Picture source of PIXELS, of which the last cannot be read."""

    def keys(self, rows: Sequence[int]) -> list[str]:
        return [str(row) for row in rows]

    def encoded(self, rows: Sequence[int]) -> Iterator[tuple[int, bytes]]:
        raise NotImplementedError

    def pixels(self, rows: Sequence[int], size: int) -> tuple[np.ndarray, np.ndarray]:
        return PIXELS[list(rows)], np.asarray(rows) < 3


@pytest.fixture(scope="module")
def writers() -> Writers:
    tokens = Tokens.train(TEXTS, 200)
    settings = ("image_size=32", "itc=0.0", "itm=0.0", "queue=0", "momentum=0")
    return Writers(tuple(models.build("blip", tokens, "tiny", settings, seed).eval() for seed in (1, 2)), 32)


def expected(model: models.Model, lexicon: Lexicon, row: int, text: str) -> dict[str, tuple[float, float]]:
    """Ratios by the definition, where every word is one token and stands once in the text."""
    words = text.split()
    images = torch.from_numpy(model.pixels.normalise(PIXELS[row][None]))[:, None]
    with torch.no_grad():
        logits = model.system.logits(Batch(images=images, texts=model.texts([text])))[0].log_softmax(-1)
    ids = {word: model.tokens.bare([word])[0][0] for word in lexicon.words}
    ratios = {}
    for at, word in enumerate(words):
        alike = [lexicon.words[place] for place in lexicon.alike(lexicon.places[word])]
        new, own = ([ids[other] for other in alike if (other in words) == inside] for inside in (False, True))
        if new:
            row = logits[at, ids[word]] - logits[at]
            ratios[word] = float(row[new].min()), min([0.0, *row[own].tolist()])
    return ratios


def test_ratios_compare_a_word_with_the_likeliest_of_its_class_that_the_text_does_not_have(
    writers: Writers,
) -> None:
    lexicon = Lexicon.learn(TEXTS)
    rows, texts = (
        [0, 1, 2, 0],
        [
            "a red ball here",
            "a blue cat red tree here",
            "a green tree red ball blue cat",
            "a red ball on the grass",
        ],
    )
    groups = np.array([4, 7, 2, 4])
    known = writers.ratios(Pictures(), rows, texts, groups, lexicon)
    for row, text, group, ratios in zip(rows, texts, groups.tolist(), known):
        right = expected(writers.folds[group % 2], lexicon, row, text)
        assert right or row == 2  # which has all words of both classes
        assert {lexicon.words[place] for place in ratios} == set(right)
        for place, value in ratios.items():
            assert value == pytest.approx(right[lexicon.words[place]], abs=1e-4)
    assert min(order for _, order in known[1].values()) < 0  # red for blue, or tree for cat
    alone = writers.ratios(Pictures(), [0], texts[3:], groups[3:], lexicon)
    assert alone == known[3:]  # to the last bit, whatever else is asked


def test_the_least_ratio_of_a_word_counts_and_unreadable_pictures_have_none(writers: Writers) -> None:
    lexicon = Lexicon.learn(TEXTS)
    twice, once, unreadable, nothing = writers.ratios(
        Pictures(),
        [0, 0, 3, 0],
        ["a red ball red", "a red ball", "a red ball", "unheard"],
        np.zeros(4, np.int64),
        lexicon,
    )
    red = lexicon.places["red"]
    assert twice[red][0] <= once[red][0] and unreadable == nothing == {}
    assert written_ratios([twice, unreadable], [[red], [red]]).tolist() == [list(twice[red]), [0.0, 0.0]]


def test_saved_writers_say_the_same(writers: Writers, tmp_path: Path) -> None:
    writers.save(tmp_path)
    again = Writers.load(tmp_path, 32, 2)
    assert again.parts() == writers.parts()


def test_words_alike_are_of_one_class() -> None:
    lexicon = Lexicon.learn(TEXTS)
    for group in (COLOURS, THINGS):
        for word in group:
            assert {lexicon.words[place] for place in lexicon.alike(lexicon.places[word])} == set(group) - {
                word
            }


def test_views_are_fixed_and_a_text_with_a_side_forbids_the_mirror(writers: Writers) -> None:
    pixels = np.repeat(PIXELS[:1], 40, axis=0)
    texts = [["a ball left of a cat"]] * 20 + [["a ball"]] * 20
    views, rows = FixedViews(pixels, texts, writers.folds[0].pixels, 5), np.arange(40)
    plain = torch.from_numpy(writers.folds[0].pixels.normalise(pixels))
    assert torch.equal(views(rows, 0), plain)
    changed = views(rows, 1)
    assert torch.equal(changed[7:9], views(rows[7:9], 1)) and not torch.equal(changed, views(rows, 2))
    nearer = (changed - plain).abs().mean((1, 2, 3)) < (changed - plain.flip(3)).abs().mean((1, 2, 3))
    assert nearer[:20].all() and not nearer[20:].all()
