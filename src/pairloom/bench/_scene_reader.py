"""Reader of drawn pictures: a small detector, trained on scenes of the drawn world, that says which scene a picture shows.

It marks the middle of each thing (Zhou et al., 2019, "Objects as Points", arXiv 1904.07850) with its kind, colour, place and height, so that
the facts of a prompt can be checked in what it has read as they are in a scene. Its weights lie beside this file;
`experiments/scene_reader.py` trains them. Does not know: prompts, painters.

B pictures, Y X cells, K kinds, C colours, P places.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from numpy.typing import NDArray
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor, nn

from pairloom.blocks.convnet import ResidualBlock
from pairloom.data.pair import seed_of
from pairloom.world import Scene, Thing, picture, sample
from pairloom.world.claim import check
from pairloom.world.level import LEVELS
from pairloom.world.words import claim_of

WEIGHTS = Path(__file__).with_name("scene_reader.safetensors")
LEVEL = replace(LEVELS["simple"], groups=0.3)  # groups, so that it can count
SIDE, CELL = 64, 4  # pixels of a picture's side, and of a cell
WIDTH, DEPTH = 48, 3
THRESHOLD = 0.35  # of a middle: less is nothing
HELD_OUT = 400  # scenes on which its accuracy is measured


class SceneReader(nn.Module):
    """Convolutions at a quarter of the picture's side with a head for each cell and one for the place."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(3, 32, 5, 2, 2, bias=False), nn.BatchNorm2d(32), nn.ReLU(),
            nn.Conv2d(32, WIDTH, 3, 2, 1, bias=False), nn.BatchNorm2d(WIDTH), nn.ReLU(),
        )  # fmt: skip
        self.blocks = nn.Sequential(*(ResidualBlock(WIDTH, WIDTH, 1) for _ in range(DEPTH)))
        kinds, colours = len(LEVEL.kinds), len(LEVEL.colours)
        self.parts = (kinds, colours, 3)  # the last three: where in the cell (x, y), and the height
        self.cells = nn.Conv2d(WIDTH, sum(self.parts), 1)
        self.place = nn.Linear(WIDTH, len(LEVEL.places))
        nn.init.constant_(self.cells.bias[:kinds], -4.0)  # type: ignore[index]  # hardly any cell is a middle

    def forward(
        self, images: Float[Tensor, "B 3 S S"]
    ) -> tuple[Float[Tensor, "B K Y X"], Float[Tensor, "B C Y X"], Float[Tensor, "B 3 Y X"], Float[Tensor, "B P"]]:  # fmt: skip
        """Logits of a middle of each kind, of its colour, the place in the cell with the height, and logits of the place."""
        x = self.blocks(self.stem(images))
        middle, colour, where = self.cells(x).split(self.parts, 1)
        return middle, colour, where.sigmoid(), self.place(x.mean((2, 3)))

    @torch.no_grad()
    def features(self, images: Sequence[Image.Image]) -> NDArray[np.float64]:
        """Features of pictures [B 2W]: mean and maximum of the last map."""
        maps = [self.blocks(self.stem(part)) for part in _parts(images)]
        return torch.cat([torch.cat([x.mean((2, 3)), x.amax((2, 3))], 1) for x in maps]).double().numpy()

    @torch.no_grad()
    def kind_shares(self, images: Sequence[Image.Image]) -> NDArray[np.float64]:
        """Class probabilities [B K]: softmax of the strongest middle of each kind."""
        parts = [self(part)[0].amax((2, 3)).softmax(1) for part in _parts(images)]
        return torch.cat(parts).double().numpy()

    @torch.no_grad()
    def read(self, images: Sequence[Image.Image]) -> list[Scene]:
        """The scene that each picture shows, as far as it is read: things one by one, without relations of the layout."""
        scenes = []
        for part in _parts(images):
            middle, colour, where, place = self(part)
            heat = middle.sigmoid()
            best = heat.amax(1, keepdim=True)
            peaks = (best == F.max_pool2d(best, 3, 1, 1)) & (best > THRESHOLD)
            for at in range(len(part)):
                things = tuple(
                    _thing(heat[at, :, y, x], colour[at, :, y, x], where[at, :, y, x], int(y), int(x))
                    for y, x in peaks[at, 0].nonzero()
                )
                scenes.append(Scene(0, LEVEL, LEVEL.places[int(place[at].argmax())], things, ()))
        return scenes


def _thing(heat: Tensor, colour: Tensor, where: Tensor, y: int, x: int) -> Thing:
    cells = SIDE // CELL
    spot = ((x + float(where[0])) / cells, (y + float(where[1])) / cells, float(where[2]))
    return Thing(LEVEL.kinds[int(heat.argmax())], LEVEL.colours[int(colour.argmax())], spots=(spot,))


def to_pixels(images: Sequence[Image.Image]) -> Float[Tensor, "B 3 S S"]:
    """Pictures of any size as the reader sees them, in [-1, 1]."""
    sized = [image.convert("RGB").resize((SIDE, SIDE), Image.Resampling.BICUBIC) for image in images]
    return torch.from_numpy(np.stack([np.asarray(one) for one in sized])).permute(0, 3, 1, 2) / 127.5 - 1


def _parts(images: Sequence[Image.Image], size: int = 64) -> list[Tensor]:
    return [to_pixels(images[first : first + size]) for first in range(0, len(images), size)]


def load_reader() -> SceneReader:
    """The trained reader, in evaluation mode."""
    reader = SceneReader()
    reader.load_state_dict({name: tensor.float() for name, tensor in load_file(WEIGHTS).items()})
    return reader.eval()


def held_out_accuracy(reader: SceneReader, size: int, count: int = HELD_OUT) -> dict[str, float]:
    """Share of facts whose truth the reader sees in pictures of `size` pixels, by their sort ("thing", "colour", "count", "relation",
    "place"), on scenes that it has not learnt from: facts of a scene's own caption, and as many of another scene's."""
    scenes = [sample(seed_of("scene reader", "held out", at), LEVEL) for at in range(count)]
    claims = [claim_of(scene) for scene in scenes]
    seen = reader.read([_sized(scene, size) for scene in scenes])
    right: dict[str, list[bool]] = {}
    for at, (scene, shown) in enumerate(zip(scenes, seen)):
        for claim in (claims[at], claims[at - 1]):
            read = {(fact.sort, fact.fact): fact.true for fact in check(claim, shown)}
            for fact in check(claim, scene):
                right.setdefault(fact.sort, []).append(read[fact.sort, fact.fact] == fact.true)
    return {sort: float(np.mean(each)) for sort, each in sorted(right.items())}


def _sized(scene: Scene, size: int) -> Image.Image:
    image = picture(scene, SIDE)
    return image if size >= SIDE else image.resize((size, size), Image.Resampling.BOX)
