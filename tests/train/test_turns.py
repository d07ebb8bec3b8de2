"""Systems of several turns and several parts: one loop, an optimiser a turn, the same promises."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from small import Small, small_loader
from toys import codes, gan

import pairloom
from pairloom.data.order import Plan
from pairloom.errors import Mistake
from pairloom.train import loop
from pairloom.train.checkpoint import checkpoints, load_checkpoint
from pairloom.train.loop import Fitted, fit
from pairloom.train.order import TrainRequest
from pairloom.train.run import train
from pairloom.train.settings import Settings

TURNS = {"critic": {"lr": 3e-3, "optimiser": "adam", "betas": (0.5, 0.9)}, "generator": {"ema": 0.9}}
FAST = Settings(
    lr=1e-2, batch=8, epochs=4, log_every=1, save_every=3, turns=TURNS
)  # 5 steps an epoch, 20 in all


def equal(one: torch.nn.Module, two: torch.nn.Module) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), two.state_dict().values()))


def play(
    out: Path | None, settings: Settings = FAST, config: gan.Config = gan.TINY
) -> tuple[gan.System, Fitted]:
    system = gan.fresh(config)
    return system, fit(system, small_loader(), settings, out)


def test_one_step_by_hand() -> None:
    """Adam's first step is lr * sign(gradient). The generator learns from the critic that has just taken its step, and
    neither moves in the other's turn."""
    own = {name: {"lr": rate, "optimiser": "adam"} for name, rate in (("critic", 0.02), ("generator", 0.01))}
    settings = Settings(
        batch=8, steps=1, warmup=0, clip=0.0, weight_decay=0.0, schedule="constant", turns=own
    )
    still = replace(gan.TINY, noise=0.0)
    before, (system, _) = gan.fresh(still), play(None, settings, still)
    batch = next(small_loader().read(Plan(8), 0))[0]

    def check(turn: str, rate: float) -> None:
        old = gan.fresh(still)
        names = [name for name, _ in old.named_parameters() if name.startswith(gan.System.turns[turn])]
        before.zero_grad()
        sum(before.losses(batch, turn).values()).backward()
        for name in names:
            start, slope = old.get_parameter(name), before.get_parameter(name).grad
            assert slope is not None
            sure = slope.abs() > 1e-5
            moved = torch.where(sure, start - rate * slope.sign(), system.get_parameter(name))
            assert sure.any() and torch.allclose(system.get_parameter(name), moved, atol=1e-4), name

    check("critic", 0.02)
    before.critic.load_state_dict(system.critic.state_dict())
    check("generator", 0.01)


def test_the_log_tells_the_turns_apart() -> None:
    system, fitted = play(None)
    line = fitted.lines[0]
    assert set(line) == {
        "step", "critic/lr", "critic/loss", "critic/losses/real", "critic/losses/drawn", "critic/norm",
        "generator/lr", "generator/loss", "generator/losses/fooled", "generator/norm",
    }  # fmt: skip
    assert line["critic/loss"] == pytest.approx(line["critic/losses/real"] + line["critic/losses/drawn"])
    assert line["generator/lr"] == pytest.approx(line["critic/lr"] * 10 / 3, rel=1e-3)
    assert not system.training and all(value.requires_grad for value in system.parameters())


def test_the_critic_learns_to_tell() -> None:
    """With a generator that hardly moves, the critic's loss falls."""
    slow = {"critic": {"lr": 1e-2}, "generator": {"lr": 1e-6}}
    _, fitted = play(None, replace(FAST, epochs=20, turns=slow))
    losses = [line["critic/loss"] for line in fitted.lines]
    assert sum(losses[-5:]) < 0.3 * sum(losses[:5])


@pytest.mark.parametrize("stop", [3, 18])
def test_two_turns_go_on_to_the_same_bits(stop: int, tmp_path: Path) -> None:
    settings = replace(FAST, keep_last=99)
    whole, _ = play(tmp_path, settings)
    log = (tmp_path / "log.jsonl").read_bytes()
    for path in checkpoints(tmp_path / "checkpoints"):
        if int(path.name) > stop:
            shutil.rmtree(path)
    again, fitted = play(tmp_path, settings)
    assert fitted.resumed == stop and equal(whole, again)
    assert (tmp_path / "log.jsonl").read_bytes() == log


def test_an_optimiser_and_an_average_for_each_turn(tmp_path: Path) -> None:
    system, _ = play(tmp_path)
    groups, _ = load_checkpoint(checkpoints(tmp_path / "checkpoints")[-1])
    assert set(groups) == {"model", "optimiser-critic", "optimiser-generator", "ema"}
    assert {name.split("/")[1].split(".")[0] for name in groups["optimiser-critic"]} == {"critic"}
    assert {name.split(".")[0] for name in groups["ema"]} == {"generator", "words"}
    for name, value in system.named_parameters():  # what is left: the generator's average, the critic itself
        there = groups["ema"].get(name, groups["model"][name])
        assert torch.equal(value, there), name
        assert torch.equal(value, groups["model"][name]) == name.startswith("critic."), name


def test_accumulation_is_the_big_batch_in_every_turn() -> None:
    still = replace(gan.TINY, noise=0.0)
    whole, one = play(None, FAST, still)
    cut, two = play(None, replace(FAST, accumulate=2), still)
    for a, b in zip(one.lines, two.lines):
        assert b == pytest.approx(a, abs=1e-4)
    for name, value in whole.named_parameters():
        assert torch.allclose(value, cut.get_parameter(name), atol=1e-3), name


def test_turns_that_there_are_not() -> None:
    with pytest.raises(Mistake, match="Did you mean 'critic'"):
        play(None, replace(FAST, turns={"critc": {"lr": 1.0}}))
    with pytest.raises(Mistake, match="no turn 'critic'"):
        fit(Small(), small_loader(), FAST)
    with pytest.raises(ValueError, match="batch belongs to the run"):
        Settings(turns={"critic": {"batch": 3}})
    with pytest.raises(ValueError, match="lr must not be negative"):
        Settings(turns={"critic": {"lr": -1.0}})


def test_a_parameter_that_no_turn_moves_is_a_slip() -> None:
    system = gan.fresh()
    system.more = torch.nn.Linear(1, 1)
    with pytest.raises(ValueError, match="no turn moves more"):
        fit(system, small_loader(), FAST)


# parts


PLAIN = replace(FAST, turns={}, ema=0.9)


def test_a_part_learns_and_the_others_stay(tmp_path: Path) -> None:
    """Weights, and also the statistics of batch norms, which stay in evaluation mode."""
    system = codes.fresh()
    first = fit(system, small_loader(), PLAIN, tmp_path / "codes", part="codes")
    assert first.lines[-1]["codes/loss"] < first.lines[0]["codes/loss"]
    start = codes.fresh().writer.weight
    assert torch.equal(system.writer.weight, start)
    before = {name: value.clone() for name, value in system.state_dict().items()}
    second = fit(system, small_loader(), PLAIN, tmp_path / "writer", part="writer")
    assert second.lines[-1]["writer/loss"] < second.lines[0]["writer/loss"]
    for name, value in system.state_dict().items():
        assert torch.equal(value, before[name]) == (not name.startswith("writer.")), name
    assert all(value.requires_grad for value in system.parameters())


@pytest.mark.parametrize("part", ["codes", "writer"])
def test_a_part_goes_on_to_the_same_bits(part: str, tmp_path: Path) -> None:
    settings = replace(PLAIN, keep_last=99)
    whole, again = codes.fresh(), codes.fresh()
    fit(whole, small_loader(), settings, tmp_path, part=part)
    for path in checkpoints(tmp_path / "checkpoints")[2:]:
        shutil.rmtree(path)
    assert fit(again, small_loader(), settings, tmp_path, part=part).resumed == 6 and equal(whole, again)
    with pytest.raises(Mistake, match="other settings or data: part"):
        other = "writer" if part == "codes" else "codes"
        fit(codes.fresh(), small_loader(), settings, tmp_path, part=other)


@pytest.mark.parametrize(
    ("part", "said"),
    [("", "codes, writer.\nBegin with SYSTEM:codes"), ("writr", "Did you mean 'writer'")],
)
def test_parts_that_there_are_not(part: str, said: str) -> None:
    with pytest.raises(Mistake, match=said):
        fit(codes.fresh(), small_loader(), PLAIN, part=part)
    with pytest.raises(Mistake, match="trained as a whole"):
        fit(Small(), small_loader(), PLAIN, part="writer")


def test_the_loop_knows_no_modality() -> None:
    room = Path(loop.__file__).parent
    speaks = {file.name for file in room.glob("*.py") if "image" in file.read_text().lower()}
    assert speaks == {"__init__.py", "chunks.py", "region_inputs.py", "reward.py", "starting.py"}


# from a request to a model folder


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    where = tmp_path_factory.mktemp("pairs")
    for at, name in enumerate(["red", "green", "blue", "yellow"] * 5):
        Image.new("RGB", (8, 8), (10 * at, 200 - 10 * at, 50)).save(where / f"{at:02d}.png")
        (where / f"{at:02d}.txt").write_text(f"a {name} picture number {at}")
    return where


def request(system: str, pairs: Path, out: Path, *settings: str, **more: Any) -> TrainRequest:
    words = ("batch=4", "steps=4", "log_every=1", *settings)
    return TrainRequest(system, pairs, out, words, "tiny", held_out=0.3, device="cpu", **more)


def test_settings_of_a_turn(pairs: Path, tmp_path: Path) -> None:
    words = ("critic.lr=0.01", "critic.betas=0.4,0.9", "lr=1e-4")
    gan_run = request("toys.gan", pairs, tmp_path / "out", *words, recipe="base")
    settings = gan_run.run()
    assert settings.of("critic").lr == 0.01 and settings.of("critic").betas == (0.4, 0.9)
    assert settings.of("critic").optimiser == "adam"  # the recipe's
    assert settings.of("generator") == replace(settings, turns={})
    with pytest.raises(Mistake, match="belongs to the whole run"):
        request("toys.gan", pairs, tmp_path / "out", "critic.batch=3").run()
    with pytest.raises(Mistake, match="Did you mean 'lr'"):
        request("toys.gan", pairs, tmp_path / "out", "critic.lrr=3").run()
    result = train(gan_run)
    assert result.metrics["critic/lr"] > result.metrics["generator/lr"]
    assert result.metrics["held out/critic/loss"] > 0 and result.metrics["held out/generator/fooled"] > 0
    assert pairloom.load(tmp_path / "out").name == "toys.gan"


def test_parts_one_after_the_other(pairs: Path, tmp_path: Path) -> None:
    """Each part has its own run folder; a part that needs an earlier one says what to run first, before any work."""
    one, two = tmp_path / "codes", tmp_path / "writer"
    with pytest.raises(Mistake, match="which was not trained yet") as caught:
        train(request("toys.codes:writer", pairs, two))
    assert "First: pairloom train toys.codes:codes ... --out DIR" in caught.value.do and not two.exists()
    with pytest.raises(Mistake, match="Begin with toys.codes:codes"):
        train(request("toys.codes", pairs, two))
    with pytest.raises(Mistake, match="Did you mean 'writer'"):
        train(request("toys.codes:writr", pairs, two))
    with pytest.raises(Mistake, match="clip is trained as a whole"):
        train(request("clip:writer", pairs, two))
    train(request("toys.codes:codes", pairs, one))
    result = train(request("toys.codes:writer", pairs, two, init=one))
    assert (
        result.metrics["writer/loss"] > 0
        and train(request("toys.codes:writer", pairs, two, init=one)).resumed == 4
    )
    first, second = pairloom.load(one), pairloom.load(two)
    assert first.about["parts"] == ["codes"] and second.about["parts"] == ["codes", "writer"]
    for name, value in second.system.state_dict().items():
        assert torch.equal(value, first.system.state_dict()[name]) == (not name.startswith("writer.")), name
    with pytest.raises(Mistake, match="another run: system"):
        train(request("toys.codes:codes", pairs, two))
