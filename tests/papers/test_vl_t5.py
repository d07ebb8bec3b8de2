"""What VL-T5 says of itself, sentence by sentence."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from pairloom.data.batch import Batch, Texts
from pairloom.data.random_batch import random_texts
from pairloom.data.records import Questions
from pairloom.data.tokens import Tokens
from pairloom.model import build
from pairloom.objectives.masked import masking_generator
from pairloom.objectives.spans import corrupt_spans
from pairloom.systems import vl_t5


def built(**changes) -> vl_t5.System:
    torch.manual_seed(0)
    return vl_t5.System(replace(vl_t5.TINY, **changes)).eval()


@pytest.fixture(scope="module")
def system() -> vl_t5.System:
    return built()


@pytest.fixture(scope="module")
def batch() -> Batch:
    return vl_t5.example(vl_t5.TINY, torch.Generator().manual_seed(3))


def test_224_million_parameters() -> None:
    with torch.device("meta"):
        system = vl_t5.System(vl_t5.Config())
    assert round(sum(p.numel() for p in system.parameters()) / 1e6, 1) == 224.5


@torch.no_grad()
def test_a_region_by_hand(system, batch) -> None:
    """The box as the released code reads it, the picture's number, and the row of the word table that is the region's name:
    <vis_extra_id_0> is the last of them, and names count backwards."""
    embed, regions = system.regions, batch.regions
    left, top, right, low = regions.boxes[0, 0, 2]
    five = torch.stack([left, top, right, low, (low - right) * (top - left)])
    expected = embed.features_norm(embed.features(regions.features[0, 0, 2])) + embed.boxes_norm(
        embed.boxes(five)
    )
    expected = expected + embed.pictures.weight[0] + system.words.weight[64 - 1 - 2]
    torch.testing.assert_close(embed(regions.features, regions.boxes, system.words.weight)[0, 2], expected)


@torch.no_grad()
def test_two_pictures_have_the_same_names_and_other_numbers(system, batch) -> None:
    twice = vl_t5.Batch(regions=batch.regions[[0, 0]])
    two = replace(
        twice.regions, features=twice.regions.features.view(1, 2, 5, 24), boxes=twice.regions.boxes.view(1, 2, 5, 4),
        mask=twice.regions.mask.view(1, 2, 5),
    )  # fmt: skip
    rows = system.regions(two.features, two.boxes, system.words.weight)
    numbers = system.regions.pictures.weight
    torch.testing.assert_close(
        rows[0, 5:] - rows[0, :5], (numbers[1] - numbers[0]).expand(5, -1), atol=1e-5, rtol=1e-4
    )


def test_spans_by_hand() -> None:
    """Neighbours share a sentinel; the target names each and ends without a last one. Word 1 is never a span's continuation."""
    c = replace(vl_t5.TINY, masked=0.5)
    ids = torch.tensor([[2, 11, 12, 13, 14, 15, 16, 3], [2, 21, 3, 0, 0, 0, 0, 0]])
    (source, source_mask), (target, target_mask) = corrupt_spans(ids, ids > 0, c, masking_generator(False))
    for row in range(2):
        read, written = source[row][source_mask[row]].tolist(), target[row][target_mask[row]].tolist()
        assert (
            read[0] == c.span_source[0]
            and read[-1] == c.sep
            and (written[0], written[-1]) == (c.start, c.sep)
        )
        pieces: dict[int, list[int]] = {}
        for token in written[1:-1]:  # put the spans back: the text comes out
            if token >= 56:
                pieces[token] = []
            else:
                pieces[list(pieces)[-1]].append(token)
        assert list(pieces) == [59 - at for at in range(len(pieces))], (
            "sentinels count backwards before the names of regions"
        )
        again = [word for token in read[1:-1] for word in pieces.get(token, [token])]
        words = ids[row][(ids[row] > 3)].tolist()
        assert again == words and sum(map(len, pieces.values())) == max(1, int(0.5 * len(words)))


def test_tasks_are_told_apart_by_their_source(system, batch, monkeypatch) -> None:
    seen = []
    whole = system._encode
    monkeypatch.setattr(system, "_encode", lambda texts, *rest: seen.append(texts) or whole(texts, *rest))
    assert set(system.losses(batch)) == {"caption", "match", "span"}
    captions, matching, spans = seen
    c = vl_t5.TINY
    assert captions.ids.tolist() == [[*c.caption_source, c.sep]] * 6
    assert matching.ids[:, :2].tolist() == [list(c.match_source)] * 6 and not (matching.ids == c.cls).any()
    assert (spans.ids[:, 0] == c.span_source[0]).all()


@torch.no_grad()
def test_matching_is_writing_true(system, batch, monkeypatch) -> None:
    written = []
    whole = system._write
    monkeypatch.setattr(system, "_write", lambda *given: written.append(whole(*given)) or written[-1])
    scores = system.match(batch)
    logits = written[0][:, 0]
    torch.testing.assert_close(scores, logits.log_softmax(1)[:, 5] - logits.log_softmax(1)[:, 6])


def test_a_question_is_a_source_and_its_answers_are_weighed(batch) -> None:
    system = built()
    texts = random_texts(vl_t5.TINY, torch.Generator().manual_seed(8))
    asked = replace(batch, question=Questions(texts))
    losses = system.losses(asked)
    assert set(losses) == {"answer"}
    with torch.no_grad():
        each = torch.stack(
            [
                vl_t5._mean_loss(
                    system.logits(asked)[[row]], Texts(batch.texts.ids[[row]], batch.texts.mask[[row]])
                )
                for row in range(6)
            ]
        )
    weights = torch.tensor([1.0, 0.3, 0.6, 0.0, 1.0, 0.1])
    torch.testing.assert_close(
        system.losses(replace(asked, weights=weights))["answer"], (each * weights).sum() / 3.0
    )


def test_what_is_not_learned_is_not_asked() -> None:
    assert [one.name for one in built().abilities] == ["match", "caption", "answer"]
    assert [one.name for one in built(match=0.0).abilities] == ["caption", "answer"]


def test_no_id_of_an_own_vocabulary_is_two_things() -> None:
    """Sentinels and names of regions are counted from the end, where a vocabulary of words has words: they get ids of their own there."""
    words = Tokens.train(["a red ball", "two blue cats"] * 3, 80)
    model = build(
        "vl_t5", words, "base", ["width=32", "inside=32", "hidden=64", "depth=1", "heads=2", "false=7"]
    )
    c, known = model.config, model.tokens.tokenizer.get_vocab()
    assert c.vocabulary == model.tokens.size == words.size + 6 + 2 * c.sentinels
    for at in (0, 1, 99):
        assert known[f"<vis_extra_id_{at}>"] == c.vocabulary - 1 - at
        assert known[f"<extra_id_{at}>"] == c.vocabulary - c.sentinels - 1 - at
    sources = [c.caption_source, c.match_source, c.span_source, c.question_source, (c.true,)]
    assert sources == [(words.size + at,) for at in range(5)] and c.false == 7, "what is chosen stays"
    again = build("vl_t5", model.tokens, "tiny", ["sentinels=100"])
    assert again.tokens.size == model.tokens.size
    assert model.tokens.bare(["a red ball"]) == words.bare(["a red ball"])
