"""Explain: maps that can be known beforehand, for each way; and the test that tells a right map from a wrong one."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from vocabularies import sentencepiece

from pairloom import registry
from pairloom.data.batch import Batch, Texts
from pairloom.data.tokens import Tokens
from pairloom.data.transform import Transform
from pairloom.errors import Mistake
from pairloom.model import Model
from pairloom.tasks import explain as task
from pairloom.tasks.explain import Explaining, Explanation, explain, faithfulness, paint, words_of
from pairloom.verbs import MATCH

TOKENS = Tokens.train(["a red square on unbelievable grass", "two blue circles", "a green star"] * 3, 128)


class Corner(nn.Module):
    """Matches by the brightness of the top left quarter of a picture, and by nothing else."""

    abilities = (MATCH,)

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(()))
        self.config = SimpleNamespace(length=12, image_size=28)

    def match(self, batch: Batch) -> Tensor:
        return self.weight * batch.images[:, 0, :, :14, :14].mean((1, 2, 3))


class Steady(nn.Module):
    """Matches by the smallest difference of a picture from grey: every cell matters as little as any other."""

    abilities = (MATCH,)

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(()))
        self.config = SimpleNamespace(length=12, image_size=28)

    def match(self, batch: Batch) -> Tensor:
        return self.weight * batch.images.mean((1, 2, 3, 4)) + 1.0


def of(system: Any) -> Model:
    return Model("stub", system, TOKENS, Transform(28))


def bright() -> Tensor:
    """A picture whose top left quarter is bright."""
    image = torch.zeros(3, 28, 28)
    image[:, :14, :14] = 1.0
    return image


def tiny(name: str) -> Any:
    module = registry.find("systems", name)
    torch.manual_seed(0)
    system = module.System(replace(module.TINY, vocabulary=TOKENS.size, dec=TOKENS.dec, enc=TOKENS.enc)
                           if name == "blip" else replace(module.TINY, vocabulary=TOKENS.size)).eval()  # fmt: skip
    with torch.no_grad():
        for parameter in system.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
    return system


def picture(size: int = 32) -> Tensor:
    return torch.randn(3, size, size, generator=torch.Generator().manual_seed(3))


# occlusion


def test_what_is_hidden_and_missed_is_what_counts() -> None:
    """Cells of 4 px: hiding one in the quarter lowers the score, hiding another does not."""
    made = explain(of(Corner()), bright(), "a red square")
    assert (made.way, made.by, made.words) == ("occlusion", "match head", ())
    assert made.whole.shape == (7, 7) and made.score == pytest.approx(1.0)
    inside = torch.zeros(7, 7)
    inside[:3, :3], inside[3, :3], inside[:3, 3], inside[3, 3] = (
        1.0,
        0.5,
        0.5,
        0.25,
    )  # a side of 14 px is 3.5 cells
    expected = inside * 16 / 196 * (1 - 0.25)  # each cell goes from 1 to the picture's mean of 1/4
    torch.testing.assert_close(made.whole, expected, atol=1e-6, rtol=1e-5)


def test_painting_over() -> None:
    hidden = torch.zeros(2, 2, 2, dtype=torch.bool)
    hidden[0, 0, 0] = True
    first, second = paint(bright(), hidden)
    assert torch.equal(second, bright())
    assert first[:, :14, :14].unique().tolist() == [0.25] and torch.equal(first[:, 14:], bright()[:, 14:])


# faithfulness


def test_a_right_map_stands_out_and_a_wrong_one_falls_back() -> None:
    right = torch.zeros(7, 7)
    right[:4, :4] = 1.0
    for whole, rank in ((right, 1.0), (1 - right, 0.0)):
        made = Explanation(
            "a red square", (2, 7, 3), (), torch.zeros(0, 7, 7), whole, "occlusion", "match head", 1.0
        )
        (found,) = faithfulness(of(Corner()), bright(), made, shares=(0.15,), times=40)
        assert found.rank == pytest.approx(rank, abs=0.05)
    assert found.first == pytest.approx(1.0)  # nothing of the quarter was hidden
    made = replace(made, whole=right)
    (found,) = faithfulness(of(Corner()), bright(), made, shares=(16 / 49,), times=40)
    assert found.first == pytest.approx(0.25) and found.random == pytest.approx(1 - 0.75 * 16 / 49, abs=0.06)


def test_a_map_of_nothing_is_as_good_as_any() -> None:
    made = Explanation(
        "a star", (2, 7, 3), (), torch.zeros(0, 7, 7), torch.rand(7, 7), "occlusion", "match head", 1.0
    )
    for found in faithfulness(of(Steady()), bright(), made, times=10):
        assert found.rank == 0.5 and found.deviation == 0.0


def test_random_cells_come_from_the_seed() -> None:
    made = explain(of(Corner()), bright(), "a red square")
    one, same, other = (faithfulness(of(Corner()), bright(), made, times=5, seed=seed) for seed in (1, 1, 2))
    assert one == same != other


# attention


def test_a_writer_that_looks_says_where() -> None:
    """The map of a word is the attention of the step that wrote it: the first one belongs to the first word."""
    system, text = tiny("show_attend_tell"), "a red square"
    made = explain(of(system), picture(), text)
    assert (made.way, made.by, made.words) == ("attention", "likelihood", ("a", "red", "square"))
    ids, keep = TOKENS.encode([text], 12)
    batch = Batch(images=picture()[None, None], texts=Texts(ids, keep))
    with torch.no_grad():
        _, shares, _ = system._write(batch, "all")
    torch.testing.assert_close(made.maps.flatten(1), shares[0, :3])
    torch.testing.assert_close(made.maps.sum((1, 2)), torch.ones(3))
    torch.testing.assert_close(made.whole, made.maps.mean(0))
    written = explain(of(system), picture(), ids[0, 1:-1].tolist())
    assert written.text == text and torch.equal(written.maps, made.maps)


# gradient


@pytest.mark.parametrize("by", ["match head", "likelihood"])
def test_cross_attention_weighed_by_its_gradient(by: str) -> None:
    """Where all patches are alike but one, all cells of a map are alike but that one."""
    system = tiny("blip")
    batch = Batch(images=picture()[None, None])
    with torch.no_grad():
        seen = system.encode_image(batch).encoded
        seen.rows[0, 0, 1:] = seen.rows[0, 0, 1]
        seen.rows[0, 0, 1 + 6] += torch.randn(32, generator=torch.Generator().manual_seed(4))
    system.encode_image = lambda batch: replace(batch, encoded=seen)
    ids, keep = TOKENS.encode(["a red square"], 12)
    maps, whole = task._weighed(system, replace(batch, texts=Texts(ids, keep)), by)
    assert maps.shape == (3, 4, 4) and whole.shape == (4, 4) and float(maps.min()) >= 0
    flat = torch.cat([maps, whole[None]]).flatten(1)
    rest = flat[:, [cell for cell in range(16) if cell != 6]]
    torch.testing.assert_close(rest, rest[:, :1].expand(-1, 15), atol=1e-7, rtol=1e-4)
    assert float((flat[:, 6] - rest[:, 0]).abs().max()) > 1e-5 and float(whole.max()) > 0


def test_the_map_speaks_for_the_score() -> None:
    """Turned round, the score has another map: what speaks for a match does not speak against it."""
    system = tiny("blip")
    for_it = explain(of(system), picture(), "a red square", Explaining(by="match head"))
    assert for_it.way == "gradient" and for_it.words == ("a", "red", "square")
    match = system.match
    system.match = lambda batch: -match(batch)
    against = explain(of(system), picture(), "a red square", Explaining(by="match head"))
    assert against.score == pytest.approx(-for_it.score)
    assert not torch.allclose(
        against.whole / against.whole.sum(), for_it.whole / for_it.whole.sum(), atol=1e-3
    )


def test_explaining_leaves_nothing_behind() -> None:
    system = tiny("blip")
    model = of(system)  # which packs its texts: another order of sums
    batch = Batch(images=picture()[None, None], texts=Texts.unpadded(TOKENS.encode(["a star"], 12)[0]))
    model = of(system)  # from here on its texts are packed
    with torch.no_grad():
        before = system.match(batch)
        explain(model, picture(), "a star")
        assert torch.equal(system.match(batch), before)
    assert all(parameter.grad is None for parameter in system.parameters())


# what is asked for


def test_writers_that_do_not_look_are_occluded() -> None:
    made = explain(of(tiny("show_and_tell")), picture(), "a red square")
    assert (made.way, made.by) == ("occlusion", "likelihood") and made.maps.shape == (3, 7, 7)
    clip = explain(of(tiny("clip")), picture(), "a red square")
    assert (clip.way, clip.by, clip.words) == ("occlusion", "cosine", ())


def test_pieces_of_a_word_stand_together() -> None:
    ids = TOKENS.rows(["a red unbelievable square"], 30)[0][1:-1]
    groups = words_of(TOKENS, ids)
    assert [word for word, _ in groups] == ["a", "red", "unbelievable", "square"]
    assert [at for _, group in groups for at in group] == list(range(len(ids)))
    made = explain(of(tiny("show_attend_tell")), picture(), "a red square")
    assert len(made.words) == len(made.maps)


def test_pieces_of_sentencepiece_stand_together() -> None:
    tokens = Tokens(sentencepiece("$A </s>", "<pad>", "</s>", "<unk>"))
    ids = tokens.bare(["a red bird"])[0]
    assert [(word, len(group)) for word, group in words_of(tokens, ids)] == [
        ("a", 1),
        ("red", 1),
        ("bird", 5),
    ]


def test_wrong_use_is_a_mistake() -> None:
    system = tiny("show_attend_tell")
    for text, way, match in (
        ("a red square " * 9, None, "longer than the model reads"),
        ("", None, "no words"),
        ("a star", "gradient", "cannot be explained by gradient"),
        ("a star", "heatmap", "no way 'heatmap'"),
    ):
        with pytest.raises(Mistake, match=match):
            explain(of(system), picture(), text, Explaining(way))
    with pytest.raises(Mistake, match="cannot be explained by attention"):
        explain(of(tiny("show_and_tell")), picture(), "a star", Explaining("attention"))
    dumb = Corner()
    dumb.abilities = ()
    with pytest.raises(Mistake, match="cannot score"):
        explain(of(dumb), picture(), "a star")
