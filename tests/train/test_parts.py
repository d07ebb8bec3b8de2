"""Optimiser groups and state, checkpoints, the log, the tensors of a network."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from small import Small, small_loader

from pairloom.blocks.tensors import put_tensors, tensors_of
from pairloom.data.order import Plan
from pairloom.errors import Mistake
from pairloom.train import checkpoint
from pairloom.train.log import Log, read_log
from pairloom.train.optimiser import moments_of, optimiser, put_moments, turns
from pairloom.train.settings import Settings


def test_norms_and_biases_do_not_decay_unless_asked() -> None:
    system = Small()
    names = {id(value): name for name, value in system.named_parameters()}

    def decayed(**settings: bool) -> set[str]:
        groups = optimiser(system.parameters(), Settings(weight_decay=0.3, **settings)).param_groups
        assert {group["weight_decay"] for group in groups} <= {0.0, 0.3}
        return {names[id(value)] for group in groups if group["weight_decay"] for value in group["params"]}

    assert decayed() == {"look.1.weight", "look.4.weight", "words.weight"}
    assert decayed(decay_all=True) == set(names.values())


def test_frozen_parameters_are_left_alone() -> None:
    system = Small()
    system.words.weight.requires_grad_(False)
    held = {
        id(value)
        for group in turns(system, Settings())[0].optimiser.param_groups
        for value in group["params"]
    }
    assert id(system.words.weight) not in held and len(held) == 6
    with pytest.raises(ValueError, match="nothing to learn"):
        turns(system.requires_grad_(False), Settings())


@pytest.mark.parametrize("kind", ["adamw", "adam", "sgd", "rmsprop"])
def test_the_optimisers_state_goes_round(kind: Any) -> None:
    settings = Settings(optimiser=kind)

    def step(system: Small, optimiser: torch.optim.Optimizer, number: int) -> None:
        batch = list(small_loader().read(Plan(8), 0))[number][0]
        sum(system.train().losses(batch).values()).backward()
        optimiser.step()
        optimiser.zero_grad()

    one, two = Small(), Small()
    (first,) = turns(one, settings)
    assert moments_of(first) == {}
    step(one, first.optimiser, 0)
    put_tensors(two, tensors_of(one))
    (second,) = turns(two, settings)
    put_moments(second, moments_of(first))
    for system, turn in ((one, first), (two, second)):
        step(system, turn.optimiser, 1)
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), two.parameters()))
    with pytest.raises(Mistake, match="nobody"):
        put_moments(second, {"exp_avg/nobody": torch.zeros(1)})


def test_shared_tensors_are_kept_once_and_found_by_any_name() -> None:
    system = Small()
    tensors = tensors_of(system)
    assert "again.weight" not in tensors and "words.weight" in tensors and "count" in tensors
    other = Small()
    torch.nn.init.zeros_(other.words.weight)
    tensors["again.weight"] = tensors.pop("words.weight")
    put_tensors(other, tensors)
    assert torch.equal(other.words.weight, system.words.weight) and other.again is other.words


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda tensors: tensors.pop("count"), "missing: count"),
        (lambda tensors: tensors.update(other=torch.zeros(2)), "left over: other"),
        (lambda tensors: tensors.update(count=torch.zeros(2)), r"count is \[2\], expected \[\]"),
    ],
)
def test_tensors_that_do_not_fit_are_named_and_change_nothing(change, said: str) -> None:  # type: ignore[no-untyped-def]
    system = Small()
    tensors = {name: value + 1 for name, value in tensors_of(system).items()}
    change(tensors)
    before = {name: value.clone() for name, value in tensors_of(system).items()}
    with pytest.raises(Mistake, match=said):
        put_tensors(system, tensors)
    assert all(torch.equal(value, before[name]) for name, value in tensors_of(system).items())


def test_training_state_can_be_left_out() -> None:
    system = Small()
    kept = tensors_of(system, drop=("count",))
    assert "count" not in kept
    put_tensors(system, kept, drop=("count",))


@pytest.mark.parametrize("failing", range(1, 7))
def test_a_checkpoint_is_whole_or_not_there(
    failing: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk fails at one write or rename after another: the newest checkpoint is whole, the old or the new one."""
    groups = {"model": {"a": torch.arange(3.0)}, "empty": {}}
    checkpoint.save_checkpoint(tmp_path, 1, groups, {"x": [1, 2]}, keep_last=1)
    calls = 0

    def may_fail(real):  # type: ignore[no-untyped-def]
        def call(*args: object) -> object:
            nonlocal calls
            calls += 1
            if calls == failing:
                raise OSError(28, "No space left on device")
            return real(*args)

        return call

    with monkeypatch.context() as patch:
        for name in ("fsync", "rename"):
            patch.setattr(os, name, may_fail(getattr(os, name)))
        if failing in (3, 5):  # a folder's flush is allowed to fail
            checkpoint.save_checkpoint(tmp_path, 2, groups, {}, keep_last=1)
        else:
            with pytest.raises(Mistake) as caught:
                checkpoint.save_checkpoint(tmp_path, 2, groups, {}, keep_last=1)
            assert "disk is full" in caught.value.why
    newest = checkpoint.checkpoints(tmp_path)[-1]
    tensors, state = checkpoint.load_checkpoint(newest)
    assert torch.equal(tensors["model"]["a"], torch.arange(3.0)) and state["step"] == int(newest.name)
    assert state["step"] == (2 if failing > 4 or failing == 3 else 1)
    checkpoint.save_checkpoint(tmp_path, 3, groups, {}, keep_last=2)
    assert not list(tmp_path.glob(f"{checkpoint.PART}*"))
    checkpoint.clear(tmp_path)
    assert not tmp_path.exists()


def test_the_log_forgets_what_comes_after_the_checkpoint(tmp_path: Path) -> None:
    log = Log(tmp_path, 0)
    for step in range(1, 6):
        log.write({"step": step, "loss": step / 3})
    log.close()
    with open(tmp_path / "log.jsonl", "a") as stream:
        stream.write('{"step": 6, "lo')  # cut off by a kill
    assert [line["step"] for line in read_log(tmp_path / "log.jsonl")] == [1, 2, 3, 4, 5]
    log = Log(tmp_path, 3)
    log.write({"step": 4, "loss": 0.0})
    log.close()
    assert [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()] == log.lines
    assert [line["loss"] for line in log.lines] == [1 / 3, 2 / 3, 1.0, 0.0]
    assert "seconds" not in (tmp_path / "log.jsonl").read_text()
    assert len((tmp_path / "times.jsonl").read_text().splitlines()) == 6
