"""fit: what it minimises, and that stopping, cutting and starting again change nothing."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from small import Small, small_loader, train

from pairloom.config import override
from pairloom.data.batch import Batch
from pairloom.data.order import Plan
from pairloom.errors import Mistake
from pairloom.train.checkpoint import checkpoints
from pairloom.train.loop import fit
from pairloom.train.settings import Settings
from pairloom.verbs import Progress

FAST = Settings(
    lr=1e-2, batch=8, epochs=4, log_every=1, save_every=3, ema=0.9
)  # 40 rows: 5 steps an epoch, 20 in all
SMALL = Path(__file__).with_name("small.py")


def weights(system: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in system.state_dict().items()}


def equal(one: torch.nn.Module, two: torch.nn.Module) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), two.state_dict().values()))


def test_one_step_by_hand() -> None:
    """AdamW's first step is lr * sign(gradient), and decay shrinks matrices only, before it (Loshchilov and Hutter)."""
    settings = Settings(lr=0.01, batch=8, steps=1, warmup=0, clip=0.0, weight_decay=0.5, schedule="constant")
    before, system = Small(), Small()
    batch = next(small_loader().read(Plan(8), 0))[0]
    sum(before.train().losses(batch).values()).backward()
    fit(system, small_loader(), settings)
    for (name, old), new in zip(before.named_parameters(), system.parameters()):
        kept = 1 - 0.01 * 0.5 * (old.ndim > 1)
        moved = torch.where(old.grad.abs() > 1e-5, old * kept - 0.01 * old.grad.sign(), new)
        assert torch.allclose(new, moved, atol=1e-4), name
        assert (old.grad.abs() > 1e-5).any(), name


def test_it_learns() -> None:
    _, fitted = train(None, replace(FAST, epochs=40))
    losses = [line["loss"] for line in fitted.lines]
    assert fitted.steps == len(losses) == 200 and fitted.resumed == 0
    assert sum(losses[-5:]) < 0.2 * sum(losses[:5])


def test_a_line_adds_up_and_averages_its_steps() -> None:
    _, each = train(None, FAST)
    _, some = train(None, replace(FAST, log_every=4))
    for line in each.lines:
        assert line["loss"] == pytest.approx(line["losses/near"] + line["losses/small"], abs=1e-6)
    assert [line["step"] for line in some.lines] == [
        3,
        4,
        6,
        8,
        9,
        12,
        15,
        16,
        18,
        20,
    ]  # saving writes a line too
    assert some.lines[0]["loss"] == pytest.approx(sum(line["loss"] for line in each.lines[:3]) / 3, abs=1e-6)
    assert some.lines[0]["lr"] == each.lines[2]["lr"]


@pytest.mark.parametrize("accumulate", [2, 4])
def test_accumulation_is_the_big_batch(accumulate: int) -> None:
    whole, one = train(None, FAST)
    parts, cut = train(None, replace(FAST, accumulate=accumulate))
    for a, b in zip(one.lines, cut.lines):
        assert b == pytest.approx(a, abs=1e-5)
    for name, value in whole.named_parameters():
        assert torch.allclose(value, parts.get_parameter(name), atol=1e-4), name


def test_the_same_again_and_no_trace_in_the_global_generator() -> None:
    first = Small(0.3)
    torch.manual_seed(5)
    before = torch.get_rng_state()
    one = fit(first, small_loader(crop=0.5, flip=0.5), FAST)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(99)
    second, two = train(None, FAST, drop=0.3, workers=2)
    assert one.lines == two.lines and equal(first, second)
    _, other = train(None, replace(FAST, seed=1), drop=0.3)
    assert other.lines != one.lines


@pytest.mark.parametrize("stop", [3, 9, 18])
def test_going_on_from_any_checkpoint_gives_the_same_bits(stop: int, tmp_path: Path) -> None:
    settings = replace(FAST, keep_last=99)
    whole, _ = train(tmp_path, settings, drop=0.3)
    log = (tmp_path / "log.jsonl").read_bytes()
    for path in checkpoints(tmp_path / "checkpoints"):
        if int(path.name) > stop:
            shutil.rmtree(path)
    again, fitted = train(tmp_path, settings, drop=0.3)
    assert fitted.resumed == stop and equal(whole, again)
    assert (tmp_path / "log.jsonl").read_bytes() == log
    assert [json.loads(line) for line in log.splitlines()] == fitted.lines


def test_a_finished_run_is_not_run_again(tmp_path: Path) -> None:
    whole, _ = train(tmp_path, FAST)
    before = sorted((path, path.stat().st_mtime_ns) for path in (tmp_path / "checkpoints").rglob("*"))
    again, fitted = train(tmp_path, FAST)
    assert fitted.resumed == 20 and equal(whole, again)
    assert sorted((path, path.stat().st_mtime_ns) for path in (tmp_path / "checkpoints").rglob("*")) == before


def test_the_newest_checkpoints_stay(tmp_path: Path) -> None:
    train(tmp_path, replace(FAST, keep_last=2, save_every=4))
    assert [path.name for path in checkpoints(tmp_path / "checkpoints")] == ["00000016", "00000020"]
    assert {path.name for path in (tmp_path / "checkpoints" / "00000020").iterdir()} == {
        "model.safetensors",
        "optimiser.safetensors",
        "ema.safetensors",
        "state.json",
    }


def _kill(command: list[str], out: Path, moment: float) -> bool:
    """Run, and kill -9 `moment` seconds after it first wrote. Whether it was still running."""
    process = subprocess.Popen(command)
    before = (out / "times.jsonl").stat().st_size if (out / "times.jsonl").exists() else 0
    while process.poll() is None and not (
        (out / "times.jsonl").exists() and (out / "times.jsonl").stat().st_size > before
    ):
        time.sleep(0.002)
    time.sleep(moment)
    process.kill()
    return process.wait() == -signal.SIGKILL


@pytest.mark.parametrize(
    ("moments", "steps"),
    [([0.05], 60), pytest.param([0.01 * n for n in range(20)], 400, marks=pytest.mark.slow)],
)
def test_kill_nine(moments: list[float], steps: int, tmp_path: Path) -> None:
    """Killed at any moments, whatever it was writing: the last run ends where an uninterrupted one does."""
    words = ["lr=0.01", "batch=8", f"steps={steps}", "save_every=8", "log_every=1"]
    settings = override(Settings(), words)
    command = [sys.executable, str(SMALL), str(tmp_path / "killed"), "0.3", *words]
    killed = [_kill(command, tmp_path / "killed", moment) for moment in moments]
    again, _ = train(tmp_path / "killed", settings, drop=0.3)
    whole, _ = train(tmp_path / "whole", settings, drop=0.3)
    assert killed[0] and sum(killed) > len(moments) // 4
    assert equal(whole, again)
    assert (tmp_path / "killed" / "log.jsonl").read_bytes() == (tmp_path / "whole" / "log.jsonl").read_bytes()


@pytest.mark.parametrize("changed", [{"lr": 0.02}, {"seed": 3}, {"batch": 4}, {"epochs": 5}])
def test_other_settings_do_not_go_on(changed: dict[str, float], tmp_path: Path) -> None:
    train(tmp_path, FAST)
    with pytest.raises(Mistake, match=f"other settings or data: {next(iter(changed))}"):
        train(tmp_path, replace(FAST, **changed))
    train(tmp_path, replace(FAST, save_every=7, keep_last=9))  # how often to save is free


def test_other_data_does_not_go_on(tmp_path: Path) -> None:
    fit(Small(), small_loader(40), FAST, tmp_path)
    with pytest.raises(Mistake, match="settings or data: data"):
        fit(Small(), small_loader(48), FAST, tmp_path)


def test_a_spoilt_checkpoint_is_said(tmp_path: Path) -> None:
    train(tmp_path, FAST)
    file = checkpoints(tmp_path / "checkpoints")[-1] / "optimiser.safetensors"
    file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(Mistake, match="00000020 cannot be read"):
        train(tmp_path, FAST)


def test_a_loss_that_breaks_down_is_said(tmp_path: Path) -> None:
    class Breaks(Small):
        def losses(self, batch: Batch) -> dict[str, torch.Tensor]:
            found = super().losses(batch)
            return found | {"near": found["near"] / (self.count < 9)}

    with pytest.raises(Mistake, match="step 9: loss, losses/near, norm"):
        fit(Breaks(), small_loader(), FAST, tmp_path)
    assert checkpoints(tmp_path / "checkpoints")[-1].name == "00000006"  # the last good one stays


def test_the_average_is_what_is_evaluated_and_left(tmp_path: Path) -> None:
    seen: list[dict[str, torch.Tensor]] = []

    def look(system: torch.nn.Module) -> dict[str, float]:
        assert not system.training
        seen.append(weights(system))
        return {"words": float(system.get_parameter("words.weight").sum())}

    system = Small()
    fitted = fit(system, small_loader(), replace(FAST, evaluate_every=10), tmp_path, evaluate=look)
    assert len(seen) == 2 and not system.training
    assert torch.equal(seen[1]["words.weight"], system.words.weight)
    told = [line for line in fitted.lines if "held out/words" in line]
    assert [line["step"] for line in told] == [10, 20]
    assert told[1]["held out/words"] == pytest.approx(system.words.weight.sum().item(), abs=1e-5)
    plain = Small()
    other = fit(plain, small_loader(), replace(FAST, ema=0.0, evaluate_every=10), evaluate=look)
    steps = [{key: value for key, value in line.items() if "held" not in key} for line in other.lines]
    assert [line for line in fitted.lines if "loss" in line] == [line for line in steps if "loss" in line]
    assert not torch.equal(plain.words.weight, system.words.weight)


def test_the_average_by_hand() -> None:
    kept: list[torch.Tensor] = []

    class Watched(Small):
        def losses(self, batch: Batch) -> dict[str, torch.Tensor]:
            kept.append(self.words.weight.detach().clone())
            return super().losses(batch)

    system = Watched()
    fit(system, small_loader(), replace(FAST, ema=0.5, steps=3))
    plain = Small()
    fit(plain, small_loader(), replace(FAST, ema=0.0, steps=3))
    wanted = kept[0]
    for value in (kept[1], kept[2], plain.words.weight):
        wanted = 0.5 * wanted + 0.5 * value
    assert torch.allclose(system.words.weight, wanted, atol=1e-6)


def test_a_system_that_remembers_is_told_where_it_is() -> None:
    class Told(Small):
        training_state = ("count",)

        def __init__(self) -> None:
            super().__init__()
            self.told: list[Progress] = []

        def begin(self, progress: Progress) -> None:
            self.told.append(progress)

    system = Told()
    fit(system, small_loader(), replace(FAST, steps=7, accumulate=2))
    assert system.told == [Progress(step, step / 5, 7) for step in range(7)]


def test_bf16_learns_and_keeps_its_weights_in_fp32() -> None:
    system, fitted = train(None, replace(FAST, precision="bf16", epochs=40))
    assert all(value.dtype == torch.float32 for value in system.parameters())
    losses = [line["loss"] for line in fitted.lines]
    _, plain = train(None, replace(FAST, epochs=40))
    assert sum(losses[-5:]) < 0.2 * sum(losses[:5])
    assert losses != [line["loss"] for line in plain.lines]


def test_tensorboard_says_the_same(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    _, fitted = train(tmp_path, replace(FAST, report="tensorboard"))
    board = EventAccumulator(str(tmp_path / "tensorboard"))
    board.Reload()
    drawn = [event.value for event in board.Scalars("loss")]
    assert drawn == pytest.approx([line["loss"] for line in fitted.lines], abs=1e-6)


def test_a_folder_that_cannot_be_written_is_a_mistake(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(Mistake, match="cannot be written"):
        train(tmp_path / "file" / "run", FAST)
    assert (tmp_path / "file").read_text() == "mine"
