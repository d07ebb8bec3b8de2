"""What SimVLM says of itself, sentence by sentence."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from pairloom.data.batch import Batch
from pairloom.systems import simvlm

PAPER = simvlm


@pytest.fixture(scope="module")
def batch() -> Batch:
    """Pairs alone, without questions."""
    return replace(simvlm.example(simvlm.TINY, torch.Generator().manual_seed(3)), question=None)


def other(batch: Batch, place: int) -> Batch:
    """Another token at this place of the first text, which is eight long."""
    ids = batch.texts.ids.clone()
    ids[0, place] = 5 + (ids[0, place] - 4) % 50
    return replace(batch, texts=replace(batch.texts, ids=ids))


CUT = torch.tensor([3, 1, 0, 1, 2, 6])


def test_a_convolutional_stage_of_196_tokens_in_place_of_patches() -> None:
    with torch.device("meta"):
        system = simvlm.System(simvlm.Config())
        assert system.network(torch.zeros(1, 3, 224, 224)).shape == (1, 1024, 14, 14)
        assert system.places.shape == (196, 768) and len(system.network) == 4  # the entry and three stages
        assert isinstance(simvlm.System(replace(simvlm.TINY, network="patches")).network, torch.nn.Conv2d)


@torch.no_grad()
def test_the_prefix_is_read_both_ways_and_the_rest_causally(system, batch) -> None:
    """Cut after token 3: any word of the prefix moves every row; a later word moves no row before it."""
    before, targets = system._behind(batch, CUT)
    for place in (1, 2, 3):
        moved = (system._behind(other(batch, place), CUT)[0] - before).abs().amax(-1)
        assert (moved[0, 3:] > 1e-4).all() and moved[1:].max() < 1e-5
    later, _ = system._behind(other(batch, 6), CUT)
    assert (later - before)[0, 3:6].abs().max() < 1e-6 < 1e-3 < (later - before)[0, 6:].abs().max()
    assert targets[0].tolist() == [False] * 3 + [True] * 4, "the loss ignores the prefix"
    assert targets.sum(1).tolist() == [4, 3, 7, 1, 3, 1]


@torch.no_grad()
def test_the_picture_is_always_in_the_prefix(system, batch) -> None:
    rows, _ = system._behind(batch, CUT)
    turned, _ = system._behind(replace(batch, images=batch.images.flip(0)), CUT)
    assert ((rows - turned).abs().amax(-1)[:, -1] > 1e-4).all()


@torch.no_grad()
def test_without_words_in_the_prefix_it_is_the_writer(system, batch) -> None:
    """Cut 0: the encoder reads the picture and the first token, as it does for a caption."""
    rows, _ = system._behind(batch, torch.zeros(6, dtype=torch.long))
    torch.testing.assert_close(
        system._scores(rows)[batch.texts.mask], system.logits(batch)[batch.texts.mask], atol=1e-5, rtol=1e-4
    )


def test_text_alone_has_the_same_loss(system, batch) -> None:
    """A prefix of at least the first token is all that the encoder reads: no picture has an influence, and the encoder learns."""
    alone = replace(batch, images=None)
    loss = system.losses(alone)["prefix"]
    loss.backward()
    assert torch.isfinite(loss) and system.project.weight.grad is None
    assert system.encoder.layers[0].attend[0].fn.query.weight.grad.abs().max() > 0
    system.zero_grad()


def test_prefixes_are_of_every_length(system, batch, monkeypatch) -> None:
    system.train()
    cuts = []
    monkeypatch.setattr(
        system, "_behind", lambda batch, cut: cuts.append(cut) or simvlm.System._behind(system, batch, cut)
    )
    torch.manual_seed(0)
    for _ in range(40):
        system.losses(batch)
    system.eval()
    drawn = torch.stack(cuts)
    lengths = batch.texts.mask.sum(1)
    assert drawn.min(0).values.tolist() == [0] * 6, "a prefix may have no word"
    assert torch.equal(drawn.max(0).values, lengths - 2), "and something is always left to write"


@torch.no_grad()
def test_patches_of_one_picture_have_a_relative_bias_and_words_none(system, batch) -> None:
    """With one and the same features everywhere, only the bias tells places apart."""
    seen = []
    system.encoder.register_forward_hook(lambda _, inputs, __: seen.append(inputs[1]))
    two = replace(batch, images=batch.images.repeat(1, 2, 1, 1, 1))
    system.logits(two)
    bias = seen[-1][0]
    assert bias.shape == (2, 33, 33)  # two pictures of 16 patches and the first token
    torch.testing.assert_close(bias[:, :16, :16], bias[:, 16:32, 16:32])
    assert bias[:, :16, :16].abs().min() > 0
    assert not bias[:, :16, 16:].any() and not bias[:, 32].any()


@torch.no_grad()
def test_a_question_is_a_prefix(system) -> None:
    asked = simvlm.example(simvlm.TINY, torch.Generator().manual_seed(3))
    states = system._memory(asked)
    assert states.mask.sum(1).tolist() == [16 + n for n in asked.question.texts.mask.sum(1).tolist()]
    assert {one.name for one in system.abilities} == {"caption", "answer"}
