"""Show and Tell (Vinyals et al., 2015): the sentences of the paper that matter, one test each."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from pairloom.blocks.recurrent import scheduled_sampling
from pairloom.data.batch import Batch, Texts
from pairloom.systems.show_and_tell import PRESETS, RECIPES, TINY, Config, System
from pairloom.verbs import Progress


def made(config: Config = TINY, seed: int = 0) -> System:
    torch.manual_seed(seed)
    return System(config).eval()


def pairs(rows: int = 4) -> Batch:
    generator = torch.Generator().manual_seed(1)
    tokens = torch.randint(5, 60, (rows, 7), generator=generator)
    keep = torch.arange(7) < torch.tensor([7, 5, 4, 7])[:rows, None]
    tokens[:, 0] = TINY.cls
    tokens[torch.arange(rows), keep.sum(1) - 1] = TINY.sep
    images = torch.randn(rows, 1, 3, 32, 32, generator=generator)
    return Batch(images=images, texts=Texts(tokens.masked_fill(~keep, TINY.pad), keep))


def test_sizes() -> None:
    """ "we used 512 dimensions for the embeddings and the size of the LSTM memory"."""
    assert Config().width == 512 and Config().image_size == 299 and Config().encoder == "inception_v3"
    assert PRESETS["googlenet"].encoder == "googlenet" and PRESETS["googlenet"].image_size == 224
    assert set(RECIPES) == {"frozen", "tuned"}
    with torch.device("meta"):
        system = System(Config())
    assert system.image.in_features == 2048 and system.lstm.hidden_size == system.words.embedding_dim == 512


@torch.no_grad()
def test_the_picture_is_the_first_word() -> None:
    """x_-1 = CNN(I), x_t = W_e S_t, p_t+1 = LSTM(x_t) (eq. 10 to 12): one LSTM over [picture; words], from zeros, whose
    answer to the picture is not used."""
    system, batch = made(), pairs()
    vectors = system.encoder(batch.images[:, 0]).mean((2, 3))
    inputs = torch.cat([system.image(vectors)[:, None], system.words(batch.texts.ids)], 1)
    expected = system.head(system.lstm(inputs)[0])[:, 1:]
    torch.testing.assert_close(system.logits(batch), expected)


@torch.no_grad()
def test_the_picture_is_read_once() -> None:
    """ "The image I is only input once, at t = -1": a state that has read it needs no picture any more."""
    system, batch = made(), pairs()
    state = system.start(batch)
    assert not state.picture and state.attention is None
    other = system.start(replace(batch, images=batch.images.flip(0)))
    assert not torch.equal(state.hidden, other.hidden)
    assert float(state.hidden.abs().max()) < 1  # what an LSTM says, not a projection set as its first state


@torch.no_grad()
def test_the_loss_is_the_sum_over_the_words() -> None:
    """L(I, S) = - sum_t log p_t(S_t) (eq. 13), the stop word among them."""
    system, batch = made(), pairs()
    said = system.logits(batch).log_softmax(-1)
    total = 0.0
    for row, length in enumerate([7, 5, 4, 7]):
        total -= sum(float(said[row, at, batch.texts.ids[row, at + 1]]) for at in range(length - 1))
    assert float(system.losses(batch)["caption"]) == pytest.approx(total / 4, rel=1e-5)


def test_frozen_then_tuned() -> None:
    """ "we ... left the CNN weights unchanged", and the authors' later training of all of it."""
    for tune in (False, True):
        system = made(replace(TINY, tune=tune)).train()
        before = {name: tensor.clone() for name, tensor in system.encoder.state_dict().items()}
        optimiser = torch.optim.SGD([p for p in system.parameters() if p.requires_grad], 0.1)
        sum(system.losses(pairs()).values()).backward()  # type: ignore[union-attr]
        optimiser.step()
        moved = [
            name
            for name, tensor in system.encoder.state_dict().items()
            if not torch.equal(before[name], tensor)
        ]
        assert bool(moved) == tune and system.words.weight.grad is not None


def test_initialisation() -> None:
    system = made(replace(TINY, vocabulary=2000, width=64))
    for part in (system.words, system.head, system.lstm):
        for parameter in part.parameters():
            assert float(parameter.detach().abs().max()) <= 0.08
    assert float(system.words.weight.detach().std()) == pytest.approx(0.08 / 3**0.5, rel=0.02)


# scheduled sampling (Bengio et al., 2015)


def test_rehearsal_mixes_own_words_in() -> None:
    system, batch = made(), pairs()
    assert scheduled_sampling(system, batch, 0.0) is batch.texts.ids
    torch.manual_seed(0)
    wide = replace(
        batch,
        images=batch.images.repeat(50, 1, 1, 1, 1),
        texts=Texts(batch.texts.ids.repeat(50, 1), batch.texts.mask.repeat(50, 1)),
    )
    for chance in (0.25, 1.0):
        mixed = scheduled_sampling(system, wide, chance)
        assert torch.equal(mixed[:, 0], wide.texts.ids[:, 0])
        share = float((mixed[:, 1:] != wide.texts.ids[:, 1:]).float().mean())
        assert share == pytest.approx(chance * (1 - 1 / 64), abs=0.04)  # one draw of 64 is the word itself


def test_a_certain_writer_reads_what_it_says() -> None:
    """With its own words alone and no doubt in them, the writer reads its greedy text."""
    system, batch = made(), pairs()
    with torch.no_grad():
        system.head.weight *= 1e7
    mixed = scheduled_sampling(system, batch, 1.0)
    state, token = system.start(batch), batch.texts.ids[:, 0]
    for at in range(1, 7):
        said, state = system.step(state, token)
        token = said.argmax(1)
        assert torch.equal(mixed[:, at], token)


def test_sampled_words_are_read_and_true_words_asked_for() -> None:
    config = replace(TINY, sampling=1.0, ramp=2.0)
    system, batch = made(config), pairs()
    system.begin(Progress(0, 0.0, 100))
    plain = system.train().losses(batch)["caption"]
    torch.testing.assert_close(
        plain, made(replace(TINY)).train().losses(batch)["caption"]
    )  # epoch 0: none yet
    system.begin(Progress(50, 5.0, 100))
    torch.manual_seed(3)
    cost = system.losses(batch)["caption"]
    torch.manual_seed(3)
    fed = scheduled_sampling(system, batch, 1.0)
    said = system.logits(replace(batch, texts=replace(batch.texts, ids=fed)))[:, :-1]
    each = (
        F.cross_entropy(said.transpose(1, 2), batch.texts.ids[:, 1:], reduction="none")
        * batch.texts.mask[:, 1:]
    )
    torch.testing.assert_close(cost, each.sum() / 4)
    assert not torch.equal(fed, batch.texts.ids)
    true = F.cross_entropy(
        system.eval().logits(batch)[:, :-1].transpose(1, 2), batch.texts.ids[:, 1:], reduction="none"
    )
    held = system.losses(batch)["caption"]  # what is held out is measured on true words
    torch.testing.assert_close(held, (true * batch.texts.mask[:, 1:]).sum() / 4)
