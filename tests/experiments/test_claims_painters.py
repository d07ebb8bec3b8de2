"""Claims of GAN-INT-CLS: held-out combinations, what the variants learn from, the judge, and the command, resumed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import pairloom
from experiments.claims import painters

SMALL = painters.Setting(pairs=24, drawn=2, size=16, width=4, embedding=8, batch=8, steps=2, start=2)


def test_held_out_combinations_are_in_no_training_picture_but_their_attributes_are() -> None:
    assert set(painters.KNOWN) | set(painters.HELD_OUT) == set(painters.ALL) and len(painters.HELD_OUT) == 8
    assert not set(painters.KNOWN) & set(painters.HELD_OUT)
    for axis in (0, 1):
        assert {one[axis] for one in painters.KNOWN} == {one[axis] for one in painters.ALL}
    shown = painters.pictures(40, 0, "learn", 16, painters.KNOWN)
    assert shown.pixels.shape == (40, 16, 16, 3)
    for scene, text in zip(shown.scenes, shown.texts):
        own = painters.combination(scene)
        assert own in painters.KNOWN and painters._text(own) == text


def test_the_judge_reads_both_attributes() -> None:
    judge = painters.AttributeClassifier().eval()
    with torch.no_grad():
        for head in judge.heads:
            head.weight.zero_()
            head.bias.copy_(torch.arange(6.0).flip(0))
    assert judge.read(torch.zeros(3, 3, 16, 16)).tolist() == [[0, 0]] * 3


def test_the_claims_run_and_go_on(tmp_path: Path) -> None:
    def run() -> list[dict]:
        return painters.run(tmp_path, SMALL, [0], ["both", "reads, gan"], 1, lambda *told: None)

    rows = run()
    assert {row["new"] for row in rows} == {"gan", "gan-int-cls"} and len(rows) == 7
    assert all(row["verdict"].startswith("undecided") for row in rows)
    known = next(row for row in rows if row["measure"] == "known" and row["old"] == painters.CHANCE)
    assert known["old_mean"] == pytest.approx(1 / 36) and known["items"] == 2 * len(painters.KNOWN)
    before = {file: file.stat().st_mtime_ns for file in tmp_path.rglob("*.json")}
    assert run() == rows and before == {file: file.stat().st_mtime_ns for file in tmp_path.rglob("*.json")}
    start, plain, both = (
        pairloom.load(tmp_path / "seed-0" / name) for name in ("texts", "model gan", "model gan-int-cls")
    )
    assert (plain.config.mismatched, both.config.interpolate) == (False, True)
    for one in (plain, both):  # all read the same texts, which the GANs do not change
        for name, tensor in start.system.text.state_dict().items():
            assert torch.equal(tensor, one.system.text.state_dict()[name])
    values = painters.measure(plain, painters.classifier(_job(tmp_path)), SMALL)
    assert (
        len(values["held out"]) == 16
        and len(values["diversity"]) == 36
        and np.all(np.array(values["diversity"]) > 0)
    )


def _job(out: Path) -> painters.Job:
    return painters.Job(out, 0, painters.JUDGE, SMALL)
