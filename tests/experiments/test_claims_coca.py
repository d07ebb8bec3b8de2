"""Claims of CoCa: what a loss of weight 0 leaves out, the margins, and the command, resumed."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from experiments.claims import _drawn, coca
from pairloom.errors import Mistake

SMALL = coca.Setting(
    pairs=24, held=6, patch=8, width=8, depth=1, batch=8, steps=2, start_pairs=16, start_steps=2
)


def test_each_condition_learns_what_it_says() -> None:
    given = _drawn.pictures(8, 1, 32)
    for name, own in coca.CONDITIONS.items():
        model = coca._built(SMALL, given.texts, own, 0)
        batch = replace(model.batch(texts=given.texts), images=_drawn.look(model, given.pixels)[:, None])
        expected = {"contrast alone": {"itc"}, "captioning alone": {"lm"}}.get(name, {"itc", "lm"})
        assert set(model.system.losses(batch)) == expected
        assert model.config.poolers == ("parallel" if name == "parallel" else "cascade")


def test_operations_are_those_of_the_losses() -> None:
    """Forward and backward of each: both together cost more than either, and less than their sum, as the towers are shared."""
    given = _drawn.pictures(8, 1, 32)
    cost = {
        name: coca._operations(coca._built(SMALL, given.texts, own, 0), given, SMALL)
        for name, own in coca.CONDITIONS.items()
    }
    alone = cost["contrast alone"], cost["captioning alone"]
    assert max(alone) < cost["both"] < sum(alone)
    model = coca._built(SMALL, given.texts, {}, 0)
    assert all(value.grad is None for value in model.system.parameters()) and torch.is_grad_enabled()


def test_derived_conditions() -> None:
    made = {
        ("both", 1): {"CIDEr-D": [1.0, 2.0], "facts true": [0.5, 1.0], "R@1": [1.0]},
        ("contrast alone", 1): {"GFLOP a step": [10.0]},
    }
    found = coca.derived(made)
    assert found[coca.BOTH_PLUS_MARGIN, 1] == {
        "CIDEr-D": [1.5, 2.5],
        "facts true": [0.52, 1.02],
    }
    assert found["1.3 times contrast alone", 1] == {"GFLOP a step": [13.0]}


def test_the_claims_run_and_go_on(tmp_path: Path) -> None:
    def ask(*only: str) -> list[dict]:
        return coca.run(tmp_path, SMALL, [0, 1], only, 1, lambda *told: None)

    rows = ask("poolers")
    assert [row["measure"] for row in rows] == ["R@1", "R@5", "CIDEr-D", "facts true"]
    assert not (tmp_path / "seed-0" / "contrast-alone.json").exists()  # only what the claim needs
    names = [claim.name for claim in coca.CLAIMS]
    rows = ask(*names)
    assert len(rows) == sum(len(pair.measures) for claim in coca.CLAIMS for pair in claim.contrasts)
    lost = tmp_path / "seed-1" / "both.json"
    before = lost.read_bytes()
    assert set(json.loads(before)) >= {"R@1", "CIDEr-D", "facts true", "GFLOP a step"}
    lost.unlink()
    assert ask(*names) == rows and lost.read_bytes() == before  # trained again, to the same bits
    with pytest.raises(Mistake, match="another setting"):
        coca.run(tmp_path, coca.Setting(), [0], names, 1, lambda *told: None)
