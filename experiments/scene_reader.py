"""Trains the reader of drawn pictures that `pairloom bench drawn` judges by, and writes its weights in half precision.

    python -m experiments.scene_reader OUT.safetensors --steps 1500

Every batch is drawn anew. A third of the pictures are shrunk to 16 pixels, a third to 32, as small painters draw them, and all get
some noise.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import torch
import torch.nn.functional as F
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor

from pairloom.bench._scene_reader import CELL, LEVEL, SIDE, SceneReader, held_out_accuracy, to_pixels
from pairloom.data.pair import seed_of
from pairloom.world import Scene, picture, sample

CELLS = SIDE // CELL
SIZES = (16, 32, 64)


def targets(scenes: list[Scene]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Of scenes: bumps at the middles [B K Y X]; cells with a thing [N 3] (picture, y, x); its colour, x, y and height [N 4];
    places [B]."""
    grid = torch.arange(CELLS) + 0.5
    heat = torch.zeros(len(scenes), len(LEVEL.kinds), CELLS, CELLS)
    cells, values = [], []
    for at, scene in enumerate(scenes):
        for thing in scene.things:
            for x, y, high in thing.spots:
                x, y = x * CELLS, y * CELLS
                column, row = (min(CELLS - 1, max(0, int(one))) for one in (x, y))
                bump = torch.exp(
                    -((grid[None] - (column + 0.5)) ** 2 + (grid[:, None] - (row + 0.5)) ** 2) / 1.0
                )
                kind = LEVEL.kinds.index(thing.kind)
                heat[at, kind] = torch.maximum(heat[at, kind], bump)
                cells.append((at, row, column))
                values.append((LEVEL.colours.index(thing.colour), x - column, y - row, high))
    places = torch.tensor([LEVEL.places.index(scene.place) for scene in scenes])
    return heat, torch.tensor(cells), torch.tensor(values), places


def loss_of(reader: SceneReader, images: Tensor, scenes: list[Scene]) -> Tensor:
    """Focal loss of the middles, cross-entropy of colours and places, L1 of where things are."""
    heat, cells, values, places = targets(scenes)
    middle, colour, where, place = reader(images)
    p = middle.sigmoid().clamp(1e-5, 1 - 1e-5)
    hit = heat.eq(1)
    focal = torch.where(hit, (1 - p) ** 2 * p.log(), (1 - heat) ** 4 * p**2 * (1 - p).log())
    at, row, column = cells.T
    colours = F.cross_entropy(colour[at, :, row, column], values[:, 0].long())
    spots = (where[at, :, row, column] - values[:, 1:]).abs().mean()
    return -focal.sum() / len(cells) + colours + 5 * spots + 0.5 * F.cross_entropy(place, places)


def batch_of(step: int, size: int) -> tuple[Tensor, list[Scene]]:
    """Pictures and scenes of a step."""
    scenes = [sample(seed_of("scene reader", step, at), LEVEL) for at in range(size)]
    generator = torch.Generator().manual_seed(step)
    drawn = []
    for at, scene in enumerate(scenes):
        image, small = picture(scene, SIDE), SIZES[at % 3]
        drawn.append(image if small == SIDE else image.resize((small, small), Image.Resampling.BOX))
    images = to_pixels(drawn)
    noise = 0.15 * torch.rand(len(images), 1, 1, 1, generator=generator)
    return images + noise * torch.randn(images.shape, generator=generator), scenes


def train(out: Path, steps: int, size: int, rate: float) -> None:
    torch.manual_seed(0)
    reader = SceneReader().train()
    optimiser = torch.optim.AdamW(reader.parameters(), rate, weight_decay=1e-4)
    plan = torch.optim.lr_scheduler.OneCycleLR(optimiser, rate, total_steps=steps, pct_start=0.1)
    began = time.monotonic()
    for step in range(steps):
        images, scenes = batch_of(step, size)
        loss = loss_of(reader, images, scenes)
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(reader.parameters(), 5.0)
        optimiser.step()
        plan.step()
        if step % 50 == 49:
            print(f"step {step + 1}: loss {loss.item():.3f}, {time.monotonic() - began:.0f} s", flush=True)
        if step % 250 == 249 or step + 1 == steps:
            save_file({name: tensor.half().contiguous() for name, tensor in reader.state_dict().items()}, out)
            reader.eval()
            for small in SIZES:
                shares = held_out_accuracy(reader, small)
                print(
                    f"  {small} px: {', '.join(f'{sort} {share:.3f}' for sort, share in shares.items())}",
                    flush=True,
                )
            reader.train()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("out", type=Path)
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--batch", type=int, default=48)
    parser.add_argument("--rate", type=float, default=4e-3)
    options = parser.parse_args()
    train(options.out, options.steps, options.batch, options.rate)
