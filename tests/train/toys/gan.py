"""A conditional adversarial network: the generator draws a picture of a text, the critic tells it from the real one."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pairloom.data.batch import Batch
from pairloom.verbs import Ability


@dataclass(frozen=True)
class Config:
    """noise: its deviation; 0 makes every step a function of the batch alone."""

    image_size: int = 8
    vocabulary: int = 50
    length: int = 9
    width: int = 8
    noise: float = 1.0


TINY = Config()
PRESETS: dict[str, Config] = {"base": TINY, "tiny": TINY}
RECIPES: dict[str, dict[str, object]] = {
    "base": dict(batch=8, lr=1e-3, turns={"critic": dict(optimiser="adam", betas=(0.5, 0.999))})
}


class System(nn.Module):
    """`words` is read by both turns and learned by the generator's alone."""

    abilities: ClassVar[tuple[Ability, ...]] = ()
    trains_on = ("pairs",)
    turns: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "critic": ("critic.",),
        "generator": ("generator.", "words."),
    }

    def __init__(self, config: Config) -> None:
        super().__init__()
        c = self.config = config
        side = 3 * c.image_size**2
        self.words = nn.Embedding(c.vocabulary, c.width)
        self.generator = nn.Sequential(
            nn.Linear(2 * c.width, 32), nn.ReLU(), nn.Linear(32, side), nn.Unflatten(1, (3, c.image_size, -1))
        )
        self.critic = nn.Sequential(nn.Linear(side + c.width, 32), nn.LeakyReLU(0.2), nn.Linear(32, 1))

    def draw(self, batch: Batch) -> Tensor:
        text = self._read(batch)
        return self.generator(torch.cat([text, self.config.noise * torch.randn_like(text)], 1))

    def losses(self, batch: Batch, turn: str) -> dict[str, Tensor]:
        text, drawn = self._read(batch), self.draw(batch)
        if turn == "generator":
            return {"fooled": F.softplus(-self._judge(drawn, text)).mean()}
        assert batch.images is not None
        real = self._judge(batch.images[:, 0], text)
        return {
            "real": F.softplus(-real).mean(),
            "drawn": F.softplus(self._judge(drawn, text)).mean(),
        }

    def _judge(self, images: Tensor, text: Tensor) -> Tensor:
        return self.critic(torch.cat([images.flatten(1), text], 1))[:, 0]

    def _read(self, batch: Batch) -> Tensor:
        tokens, keep = batch.text()
        return (self.words(tokens) * keep[..., None]).sum(1) / keep.sum(1, keepdim=True)


def fresh(config: Config = TINY) -> System:
    torch.manual_seed(0)
    return System(config)


if __name__ == "__main__":  # gan.py OUT key=value ...
    sys.path.append(str(Path(__file__).parents[1]))
    from small import small_loader

    from pairloom.config import override
    from pairloom.train.loop import fit
    from pairloom.train.settings import Settings

    torch.set_num_threads(1)
    settings = override(Settings(turns={"generator": {"ema": 0.9}}), sys.argv[2:])
    fit(fresh(replace(TINY, noise=0.0)), small_loader(), settings, Path(sys.argv[1]))
