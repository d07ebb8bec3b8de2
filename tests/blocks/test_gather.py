"""Two processes compute what one does on the whole batch: losses, gradients, queue and draws of BLIP, the loss of CLIP, gathered rows."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from pairloom.blocks.gather import gather_rows, gather_texts, mean_of_all
from pairloom.data.batch import Batch, Texts
from pairloom.systems import blip, clip
from pairloom.systems.blip import TINY
from pairloom.verbs import Progress

ROWS = 6
CONFIGS = {
    "teacher and queue": (blip.System, replace(TINY, negatives="ranks")),
    "in-batch": (blip.System, replace(TINY, negatives="ranks", queue=0, momentum=0.0)),
    "clip": (clip.System, clip.TINY),
}


def whole() -> Batch:
    """The first half's texts are shorter than the second's; rows 1 and 4 show one picture."""
    generator = torch.Generator().manual_seed(1)
    tokens = torch.randint(5, 60, (ROWS, 8), generator=generator)
    keep = torch.arange(8) < torch.tensor([4, 5, 3, 8, 6, 7])[:, None]
    images = torch.randn(ROWS, 1, 3, 32, 32, generator=generator)
    images[4] = images[1]
    return Batch(
        images=images,
        texts=Texts(tokens.masked_fill(~keep, 0), keep),
        image_ids=torch.tensor([1, 2, 3, 4, 2, 6]),
    )


def part(batch: Batch, rank: int) -> Batch:
    rows = slice(3 * rank, 3 * rank + 3)
    length = int(batch.texts.mask[rows].sum(1).max())
    return Batch(
        images=batch.images[rows],
        texts=Texts(batch.texts.ids[rows, :length], batch.texts.mask[rows, :length]),
        image_ids=batch.image_ids[rows],
    )


def learn(name: str, batch: Batch, world: int) -> dict[str, torch.Tensor]:
    """Two steps; the averages over processes of losses and gradients, and what is remembered."""
    torch.manual_seed(0)
    kind, config = CONFIGS[name]
    system, told = kind(config), {}
    for step in range(2):
        if name != "clip":
            system.begin(Progress(step, step / 2, 2))
        system.zero_grad()
        losses = system.losses(batch)
        torch.stack(list(losses.values())).sum().backward()
        told |= {f"{step} {loss}": value.detach() for loss, value in losses.items()}
        with torch.no_grad():
            for key, parameter in system.named_parameters():
                if parameter.requires_grad:
                    if world > 1:
                        dist.all_reduce(parameter.grad)
                        parameter.grad /= world
                    parameter -= 0.1 * parameter.grad
                    told[f"{step} {key}"] = parameter.grad.clone()
    for value in told.values():
        if world > 1 and value.ndim == 0 and value.numel() == 1:
            dist.all_reduce(value)
            value /= world
    return told | {key: buffer.clone().float() for key, buffer in system.named_buffers()}


def work(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    try:
        compute(rank, folder)
    finally:
        dist.destroy_process_group()


def compute(rank: int, folder: str) -> None:
    rows = torch.arange(2.0) + 10 * rank
    rows.requires_grad_(True)
    (gather_rows(rows) * torch.arange(4.0) * (rank + 1)).sum().backward()
    told = {"rows": gather_rows(rows.detach()), "gradient": rows.grad}
    told["texts"] = gather_texts(torch.full((1, 2 + rank), rank + 5))
    told["mean"] = mean_of_all(torch.tensor(6.0), torch.tensor(1.0 + 2 * rank))
    made = {name: learn(name, part(whole(), rank), 2) for name in CONFIGS}
    torch.save((told, made), f"{folder}/{rank}.pt")


def test_alone_everything_is_the_identity():
    rows = torch.randn(3, 2, requires_grad=True)
    assert gather_rows(rows) is rows and gather_texts(rows) is rows
    assert float(mean_of_all(torch.tensor(6.0), torch.tensor(4.0))) == 1.5
    assert float(mean_of_all(torch.tensor(0.0), torch.tensor(0.0))) == 0.0


@pytest.mark.slow
def test_two_processes_are_one(tmp_path: Path):
    mp.spawn(work, args=(str(tmp_path),), nprocs=2)
    (first, made), (second, other) = (torch.load(tmp_path / f"{rank}.pt") for rank in range(2))
    assert first["rows"].tolist() == second["rows"].tolist() == [0, 1, 10, 11]
    # rank r weighs the gathered rows by (r + 1) * (0, 1, 2, 3); both weights reach the row's owner
    assert first["gradient"].tolist() == [0, 3] and second["gradient"].tolist() == [6, 9]
    assert first["texts"].tolist() == [[5, 5, 0], [6, 6, 6]]
    assert float(first["mean"]) == float(second["mean"]) == 3.0  # 6 over the average count, 2
    for name in CONFIGS:
        alone = learn(name, whole(), 1)
        assert alone.keys() == made[name].keys()
        for key, value in alone.items():
            for shared in (made[name][key], other[name][key]):
                torch.testing.assert_close(
                    shared, value, atol=2e-5, rtol=1e-3, msg=lambda text, k=key: f"{k}: {text}"
                )
