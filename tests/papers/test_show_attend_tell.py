"""Show, Attend and Tell (Xu et al., 2015): the sentences of the paper and of its code that matter, one test each."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from pairloom.blocks.recurrent import Recurrent
from pairloom.data.batch import Batch, Texts
from pairloom.objectives.attend import entropy, reinforce, spread
from pairloom.systems.show_attend_tell import PRESETS, TINY, Config, Look, System
from pairloom.tasks.decode import Writing, decode

HARD = replace(TINY, mode="hard", drawn=1.0)


def made(config: Config = TINY, seed: int = 0) -> System:
    torch.manual_seed(seed)
    system = System(config).eval()
    with torch.no_grad():
        for parameter in system.parameters():
            parameter += 0.2 * torch.randn_like(parameter)
    return system


def pairs(rows: int = 4) -> Batch:
    generator = torch.Generator().manual_seed(1)
    tokens = torch.randint(5, 60, (rows, 7), generator=generator)
    keep = torch.arange(7) < torch.tensor([7, 5, 4, 7])[:rows, None]
    tokens[:, 0] = TINY.cls
    tokens[torch.arange(rows), keep.sum(1) - 1] = TINY.sep
    images = torch.randn(rows, 1, 3, 32, 32, generator=generator)
    return Batch(images=images, texts=Texts(tokens.masked_fill(~keep, TINY.pad), keep))


def test_sizes() -> None:
    """ "the 14 x 14 x 512 feature map of the fourth convolutional layer before max pooling ... 196 x 512"."""
    config = Config()
    assert (config.word, config.width, config.vocabulary, config.penalty) == (512, 1800, 10000, 1.0)
    assert PRESETS["hard"].mode == "hard"
    with torch.device("meta"):
        system = System(config)
        rows, projected = system.encode_image(Batch(images=torch.zeros(1, 1, 3, 224, 224))).encoded
    assert rows.shape == projected.shape == (1, 196, 512)
    assert system.lstm.input_size == 512 + 512 and system.gate.out_features == 1
    assert not any(parameter.requires_grad for parameter in system.encoder.parameters())


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


@torch.no_grad()
@pytest.mark.parametrize("layers", [1, 2])
def test_the_equations(layers: int) -> None:
    """Eq. 1 to 7, the gate of section 4.2.1 and the first state, written out in numpy for one picture."""
    system, batch = made(replace(TINY, layers=layers)), pairs(1)
    w = {name: tensor.double().numpy() for name, tensor in system.state_dict().items()}

    def linear(name: str, x: np.ndarray) -> np.ndarray:
        return x @ w[f"{name}.weight"].T + w.get(f"{name}.bias", 0.0)

    a = system.encoder(batch.images[0]).double().numpy()[0].reshape(32, 16).T
    mean = a.mean(0)
    if layers == 2:
        mean = np.maximum(linear("mean.0", mean), 0)
    h, c = np.tanh(linear("first_hidden", mean)), np.tanh(linear("first_cell", mean))
    keys = linear("attend.enter.0", a)
    if layers == 2:
        keys = np.tanh(linear("attend.enter.1", keys))
    state, said = system.start(batch), []
    for at, token in enumerate(batch.texts.ids[0].tolist()):
        e = linear("attend.score", np.tanh(keys + linear("attend.state", h)))[:, 0]
        alpha = np.exp(e - e.max()) / np.exp(e - e.max()).sum()
        z = _sigmoid(linear("gate", h)) * (alpha @ a)
        word = w["words.weight"][token] if at else np.zeros(24)  # before the first word there is none
        gates = np.concatenate([word, z]) @ w["lstm.weight_ih"].T + w["lstm.bias_ih"]
        i, f, g, o = np.split(gates + h @ w["lstm.weight_hh"].T + w["lstm.bias_hh"], 4)
        c = _sigmoid(f) * c + _sigmoid(i) * np.tanh(g)
        h = _sigmoid(o) * np.tanh(c)
        deep = np.tanh(word + linear("from_hidden", h) + linear("from_context", z))
        said.append(linear("head", deep))
        logits, state = system.step(state, batch.texts.ids[:, at])
        np.testing.assert_allclose(logits[0].numpy(), said[-1], atol=2e-5)
        np.testing.assert_allclose(state.attention[0].numpy(), alpha, atol=1e-6)
    np.testing.assert_allclose(system.logits(batch)[0].numpy(), np.array(said), atol=2e-5)


@torch.no_grad()
def test_attention_travels_with_the_beams() -> None:
    system, batch = made(), pairs()
    _, state = system.step(system.start(batch), batch.texts.ids[:, 0])
    torch.testing.assert_close(state.attention.sum(1), torch.ones(4))
    chosen = state.select(torch.tensor([2, 0]))
    assert torch.equal(chosen.attention, state.attention[[2, 0]])
    assert chosen.picture[0] is state.picture[0] and chosen.owner.tolist() == [2, 0]  # held once per picture
    assert chosen.expand(2).owner.tolist() == [2, 2, 0, 0]
    assert len(decode(system, replace(batch, texts=None), Writing(max_length=8, min_length=1))) == 4


@torch.no_grad()
def test_several_pictures_of_a_row_are_one_field_of_cells() -> None:
    system, batch = made(), pairs(2)
    both = replace(batch, images=batch.images.repeat(1, 2, 1, 1, 1))
    assert system.encode_image(both).encoded[0].shape == (2, 32, 32)
    torch.testing.assert_close(system.logits(both), system.logits(batch))  # the same twice says the same


# the penalty


def test_the_penalty_by_hand() -> None:
    """sum_i (1 - sum_t alpha_ti)^2: over two steps, cell sums (1.5, .5) and, where the second step is padding, (1, 0)."""
    shares = torch.tensor([[[1.0, 0.0], [0.5, 0.5]]]).repeat(2, 1, 1)
    real = torch.tensor([[True, True], [True, False]])
    assert spread(shares, real).tolist() == pytest.approx([0.25 + 0.25, 0.0 + 1.0])
    # two-sided: a cell looked at too often is as wrong as one too seldom
    assert float(spread(torch.tensor([[[1.0, 0.0]] * 2]), real[:1])) == pytest.approx(1 + 1)


def test_entropy_by_hand() -> None:
    shares = torch.tensor([[[0.5, 0.5, 0.0, 0.0], [0.25] * 4]])
    assert float(entropy(shares, torch.tensor([[True, True]]))) == pytest.approx(
        np.log(2) + np.log(4), rel=1e-6
    )
    assert float(entropy(shares, torch.tensor([[True, False]]))) == pytest.approx(np.log(2), rel=1e-6)


def test_the_losses_of_the_soft_mode() -> None:
    system, batch = made(), pairs()
    found = system.losses(batch)
    assert set(found) == {"caption", "spread"}
    _, shares, _ = system._write(batch, "all")
    torch.testing.assert_close(found["spread"], spread(shares[:, :-1], batch.texts.mask[:, 1:]).mean())
    assert set(made(replace(TINY, penalty=0.0)).losses(batch)) == {"caption"}


# hard attention


def test_the_learning_rule_is_the_gradient_of_the_expected_cost() -> None:
    """Section 4.1: summed over all cells by their shares, whatever the baseline, it gives d/d(scores) of E[cost]."""
    scores = torch.tensor([0.3, -1.0, 0.7], dtype=torch.double, requires_grad=True)
    costs = torch.tensor([2.0, 5.0, 1.0], dtype=torch.double)
    expected = torch.autograd.grad((scores.softmax(0) * costs).sum(), scores)[0]
    for baseline in (0.0, 3.7):
        shares = scores.softmax(0)
        each = reinforce(costs, torch.tensor(baseline, dtype=torch.double), shares.log())
        found = torch.autograd.grad((shares.detach() * each).sum(), scores)[0]
        torch.testing.assert_close(found, expected)


def test_no_cost_is_learnt_through_the_reward() -> None:
    cost, chosen = torch.tensor([2.0], requires_grad=True), torch.ones(1, requires_grad=True)
    reinforce(cost, torch.zeros(()), chosen).sum().backward()
    assert cost.grad is None and chosen.grad.tolist() == [2.0]


@torch.no_grad()
def cells_apart(system: System, state: Recurrent, look: Look) -> torch.Tensor:
    """How far [B R] each cell's gated row is from the context: nought where that cell was drawn."""
    gate = torch.sigmoid(system.gate(state.hidden))
    return (look.context[:, None] / gate[:, None] - state.picture[0]).abs().amax(2)


@torch.no_grad()
def test_one_cell_is_seen() -> None:
    """z_t = a_i of the one cell that was drawn, by its share (eq. 8, 9), times the gate."""
    system, batch = made(HARD), pairs()
    state, words = system.start(batch), torch.zeros(4, 24)
    shares = system.attend(state.picture[1], state.hidden)
    counts = torch.zeros_like(shares)
    for seed in range(300):
        torch.manual_seed(seed)
        look = system._look(state, words, "drawn")
        apart = cells_apart(system, state, look)
        cell = apart.argmin(1)
        assert float(apart.gather(1, cell[:, None]).max()) < 1e-4
        torch.testing.assert_close(look.chosen, shares.gather(1, cell[:, None])[:, 0].log())
        counts[torch.arange(4), cell] += 1
    assert float((counts / 300 - shares).abs().max()) < 0.1


def test_the_moving_baseline_and_the_half_of_the_batches() -> None:
    """ "with probability 0.5" per minibatch a cell is drawn; b <- 0.9 b + 0.1 cost."""
    system, batch = made(replace(HARD, drawn=0.5)).train(), pairs()
    drawn = 0
    for seed in range(60):
        torch.manual_seed(seed)
        before = float(system.baseline)
        found = system.losses(batch)
        assert float(system.baseline) == pytest.approx(
            0.9 * before + 0.1 * float(found["caption"].detach()), rel=1e-5
        )
        assert set(found) == {"caption", "spread", "entropy", "reinforce"}
        drawn += bool(found["reinforce"])
    assert 15 < drawn < 45
    held = float(system.baseline)
    losses = [system.eval().losses(batch) for _ in range(3)]
    assert all(not one["reinforce"] and one["caption"] == losses[0]["caption"] for one in losses)
    assert float(system.baseline) == held


@pytest.mark.parametrize("seed", range(3))
def test_hard_attention_learns_where_to_look(seed: int) -> None:
    """A cost that is lower where the first cell was drawn: its share grows, by the learning rule alone. Every picture is
    drawn 64 times a step, so that the mean of the draws, and no single one, decides."""
    system, batch = made(replace(HARD, penalty=0.0, entropy=0.0, reinforce=1.0), seed), pairs()
    with torch.no_grad():
        state = system.start(replace(batch, images=batch.images.repeat_interleave(64, 0)))
    rows = state.picture[0]
    optimiser = torch.optim.Adam(system.attend.parameters(), 0.02)
    first = float(system.attend(state.picture[1], state.hidden)[:, 0].mean().detach())
    for step in range(60):
        torch.manual_seed(step)
        now = replace(state, picture=[rows, system.attend.project(rows)])
        look = system._look(now, torch.zeros(len(rows), 24), "drawn")
        cost = (cells_apart(system, now, look).argmin(1) != 0).float()
        loss = reinforce(cost, torch.tensor(0.5), look.chosen).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    last = float(system.attend(system.attend.project(rows), state.hidden)[:, 0].mean().detach())
    assert last > 2 * first


@torch.no_grad()
def test_to_write_it_looks_by_expectation_or_at_the_peak() -> None:
    soft, peak = made(HARD), made(replace(HARD, peak=True))
    batch = pairs()
    torch.testing.assert_close(soft.logits(batch), made().logits(batch))  # the same weights, the same way
    _, state = peak.step(peak.start(batch), batch.texts.ids[:, 0])
    _, shares = soft.step(soft.start(batch), batch.texts.ids[:, 0])
    assert torch.equal(state.attention.sum(1), torch.ones(4))
    assert torch.equal(state.attention.argmax(1), shares.attention.argmax(1))
    assert torch.equal(state.attention.amax(1), torch.ones(4))
