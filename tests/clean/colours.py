"""A set that is learnt in seconds: pictures of one colour with dots or stripes, and texts that say so.

Some texts are another picture's, some are file names. For the tests and benchmarks of the whole main job.
"""

from __future__ import annotations

import io
import random
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

COLOURS = {
    "red": (220, 30, 30), "green": (30, 160, 40), "blue": (40, 60, 220), "yellow": (230, 220, 40),
    "black": (20, 20, 20), "white": (235, 235, 235), "orange": (240, 140, 20), "purple": (130, 40, 160),
}  # fmt: skip
PATTERNS = ("plain", "striped", "dotted")


def picture(colour: str, pattern: str, seed: int, side: int = 32) -> bytes:
    """PNG bytes: no two seeds give the same."""
    dice = np.random.default_rng(seed)
    pixels = np.broadcast_to(np.array(COLOURS[colour], np.float64), (side, side, 3)).copy()
    if pattern == "striped":
        pixels[:, 2 + seed % 3 :: 8] = pixels[:, 3 + seed % 3 :: 8] = 127
    if pattern == "dotted":
        pixels[4 + seed % 3 :: 8, 4::8] = pixels[5 + seed % 3 :: 8, 4::8] = 127
    pixels += dice.normal(0, 8, pixels.shape)
    file = io.BytesIO()
    Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(file, "PNG")
    return file.getvalue()


def said(colour: str, pattern: str) -> str:
    return f"a {pattern} {colour} wall"


def write(out: Path, pairs: int, bad: float = 0.25, side: int = 32) -> Path:
    """A folder of pictures with same-stem .txt; of the bad texts one in five is a file name, the rest another's."""
    dice = random.Random(pairs)
    kinds = [(colour, pattern) for colour in COLOURS for pattern in PATTERNS]
    out.mkdir(parents=True)
    for index in range(pairs):
        kind = dice.choice(kinds)
        text = said(*kind)
        if dice.random() < bad:
            others = [said(*other) for other in kinds if other[0] != kind[0]]
            text = f"IMG_{index:04d}.JPG" if dice.random() < 0.2 else dice.choice(others)
        (out / f"{index:05d}.png").write_bytes(picture(*kind, seed=index, side=side))
        (out / f"{index:05d}.txt").write_text(text + "\n")
    return out


def model(out: Path, steps: int = 0) -> Path:
    """A model folder: a small BLIP that knows the words of these sets; `steps` of learning from good pairs (70 do)."""
    import torch

    from pairloom import model as models
    from pairloom.data.batch import Batch
    from pairloom.data.tokens import Tokens

    kinds = [(colour, pattern) for colour in COLOURS for pattern in PATTERNS]
    tokens = Tokens.train([said(*kind) for kind in kinds] * 2, 200)
    shape = ("image_size=32", "patch=8", "stem=conv", "image_width=64", "image_depth=1", "image_heads=2", "width=64",
             "depth=1", "heads=2", "embedding=32", "length=12", "positions=16", "queue=0", "momentum=0")  # fmt: skip
    made = models.build("blip", tokens, "tiny", shape, seed=0)
    optimiser = torch.optim.AdamW(made.system.parameters(), 3e-3)
    dice = random.Random(0)
    made.system.train()
    with torch.random.fork_rng():
        for step in range(steps):
            torch.manual_seed(step)
            chosen = dice.sample(kinds, 24)
            images = [picture(*kind, seed=10**6 + 100 * step + at) for at, kind in enumerate(chosen)]
            batch: Batch = made.batch(images, [said(*kind) for kind in chosen])
            batch = replace(batch, image_ids=torch.arange(len(chosen)))
            torch.stack(list(made.system.losses(batch).values())).sum().backward()
            optimiser.step()
            optimiser.zero_grad()
    return models.save(made.eval(), out)
