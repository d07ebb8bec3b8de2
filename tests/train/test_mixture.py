"""A mixture of sets through an order: the weights reach the gradient, and a run goes on only with the same sets."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from pairloom.data.batch import Batch
from pairloom.errors import Mistake
from pairloom.train.loop import fit
from pairloom.train.order import TrainRequest
from pairloom.train.run import begin, finish, prepare
from pairloom.train.settings import Settings
from pairloom.weights import load
from pairloom.world import World, write_folder
from pairloom.world.documents import write_documents


class Sum(nn.Module):
    """Its loss is its weight times the batch's number."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(()))

    def losses(self, batch: Batch) -> dict[str, torch.Tensor]:
        return {"sum": self.weight * batch.extra["number"]}


class Parts:
    """One step of two sets, 3 of weight 1 and 5 of weight 0.2."""

    def steps(self, plan: object) -> int:
        return 1

    def identity(self) -> str:
        return "parts"

    def read(self, plan: object, epoch: int, step: int = 0):  # type: ignore[no-untyped-def]
        sets = ((3.0, 1.0), (5.0, 0.2))
        yield [
            Batch(extra={"number": torch.tensor(number)}, part_weight=torch.tensor(2 * weight))
            for number, weight in sets
        ]


def test_the_gradient_is_the_weighted_sum_over_sets() -> None:
    fitted = fit(Sum(), Parts(), Settings(steps=1, batch=1, clip=0.0, lr=0.1, warmup=0))
    assert fitted.lines[-1]["loss"] == 0.0
    system, seen = Sum(), []
    system.weight.register_hook(lambda gradient: seen.append(float(gradient)))
    fit(system, Parts(), Settings(steps=1, batch=1, clip=0.0, lr=0.1, warmup=0))
    assert sum(seen) == pytest.approx(3 * 1.0 + 5 * 0.2)


def order(where: Path, *mix: str) -> TrainRequest:
    sizes = "model.width=16 model.heads=2 model.length=24 batch=4 steps=2 warmup=1".split()
    return TrainRequest(
        "flamingo",
        where / "pages",
        where / "out",
        tuple(sizes),
        "tiny",
        vocabulary=120,
        held_out=0.0,
        mix=mix,
    )


def test_pages_and_pairs_together(tmp_path: Path) -> None:
    write_documents(World(24, seed=1, level="simple", size=32), tmp_path / "pages")
    write_folder(World(8, seed=2, level="simple", size=32, styles=("terse",)), tmp_path / "pairs")
    told = order(tmp_path, f"{tmp_path / 'pairs'}=0.2")
    job = prepare(told)
    assert job.batches.mixed is not None and job.batches.mixed.weights == (1.0, 0.2)
    begin(job)
    fitted = fit(job.model.system, job.batches.mixed, job.settings)
    assert fitted.lines[-1]["loss"] > 0
    finish(job, fitted)
    made = load(tmp_path / "out")
    assert made.name == "flamingo" and made.tokens.id("image") == made.config.image_mark
    with pytest.raises(Mistake, match="another run: mix"):
        prepare(order(tmp_path, f"{tmp_path / 'pairs'}=0.3"))
    for word in ("pairs", "pairs=", "pairs=-1", "pairs=nan"):
        with pytest.raises(Mistake, match="no set with a weight"):
            prepare(order(tmp_path, word))
