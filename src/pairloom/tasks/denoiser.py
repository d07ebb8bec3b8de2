"""Denoiser: denoising errors of a diffusion model for many triples (picture, text, timestep) in full batches.

Every picture and every text is encoded once, and every evaluation is counted. Texts that are longer than the encoder reads
are recorded; pictures that cannot be read and outputs that are not finite are Mistakes.

C Y X sides of a latent, S steps.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from pairloom.data.pair import content_hash, seed_of
from pairloom.data.pixels import Unreadable, open_image
from pairloom.errors import Mistake
from pairloom.model import Model
from pairloom.objectives.denoise import Distance, distance
from pairloom.verbs import Conditioning

Picture = Image.Image | Path | str
TEXTS = 1024  # encoded texts that are cached
TOGETHER = 8  # pictures that are encoded together
NOTHING = None  # in the place of a text: the empty text of the network's training


class NoiseQuery(NamedTuple):
    """One evaluation: the index of a picture, a text, a step, and the sign of the noise."""

    image: int
    text: str | None
    step: int
    turned: bool = False


@dataclass
class Latents:
    """Encoded pictures: mean and deviation of their posteriors [n C Y X], a hash of their pixels, and the row of each
    picture's index."""

    mean: Tensor
    deviation: Tensor | None
    keys: list[str]
    rows: dict[int, int]


@dataclass
class Denoiser:
    """Batched denoising errors of a model. times [S], noise [S C Y X]: of the steps. half: distances in 16 bits. sampled: a
    sample of the posterior at each step, the same for all texts, seeded by the picture's pixels. rows: of a batch."""

    model: Model
    times: Sequence[int]
    noise: Tensor
    kind: Distance = "mse"
    half: bool = False
    sampled: bool = False
    seed: int = 0
    rows: int = 64
    cost: dict[str, int] = field(default_factory=dict)
    cut: list[str] = field(default_factory=list)
    _conditionings: dict[str | None, Conditioning] = field(default_factory=dict)

    def __post_init__(self) -> None:
        names = ("image encodings", "text encodings", "UNet evaluations", "texts cut")
        self.cost |= {name: 0 for name in names}

    def pixels(self, image: Picture) -> NDArray[np.uint8]:
        """Pixels [H W 3] of a picture in the model's size. Mistake where a file is no picture."""
        try:
            opened = image if isinstance(image, Image.Image) else open_image(Path(image).read_bytes())
        except (OSError, Unreadable) as error:
            raise Mistake(f"{image} cannot be read.", str(error), "Leave it out, or put it back.") from error
        return self.model.pixels.to_uint8(opened.convert("RGB"))

    @torch.no_grad()
    def look(self, images: Sequence[Picture], places: Sequence[int], twice: set[int]) -> Latents:
        """Encode the pictures at these indices. twice: indices whose pixels are normalised a second time."""
        posteriors: list[tuple[Tensor, Tensor | None]] = []
        keys: list[str] = []
        with ThreadPoolExecutor(2) as pool:
            decoded = pool.map(lambda at: self.pixels(images[at]), places)
            for first in range(0, len(places), TOGETHER):
                part = places[first : first + TOGETHER]
                pixels = [next(decoded) for _ in part]
                keys += [content_hash(one.tobytes()) for one in pixels]
                batch = torch.from_numpy(self.model.pixels.normalise(np.stack(pixels)))
                again = torch.tensor([at in twice for at in part])[:, None, None, None]
                batch = torch.where(again, 2 * batch - 1, batch)
                posteriors.append(self.model.system.posterior(batch.to(self.model.device)))
        self.cost["image encodings"] += len(places)
        wide = [deviation for _, deviation in posteriors if deviation is not None]
        mean = torch.cat([mean for mean, _ in posteriors])
        return Latents(
            mean, torch.cat(wide) if wide else None, keys, {at: row for row, at in enumerate(places)}
        )

    def ask(self, jobs: Sequence[NoiseQuery], latents: Latents) -> NDArray[np.float32]:
        """Denoising errors [len(jobs)], rounded to 16 bits with `half`. Mistake where one is not finite."""
        self._read([job.text for job in jobs])
        batches = [self._batch(jobs[at : at + self.rows], latents) for at in range(0, len(jobs), self.rows)]
        while len(self._conditionings) > TEXTS:
            self._conditionings.pop(next(iter(self._conditionings)))
        errors: NDArray[np.float32] = (
            torch.cat(batches).float().cpu().numpy() if batches else np.zeros(0, np.float32)
        )
        if not np.isfinite(errors).all():
            job = jobs[int(np.flatnonzero(~np.isfinite(errors))[0])]
            raise Mistake(
                f"The network's output for '{job.text or ''}' at time {self.times[job.step]} is not a finite number.",
                "Its weights are broken, or their precision is too low.",
                "Load them in 32 bits, or copy the folder again.",
            )
        self.cost["UNet evaluations"] += len(jobs)
        return errors

    @torch.no_grad()
    def _batch(self, jobs: Sequence[NoiseQuery], latents: Latents) -> Tensor:
        device = self.model.device
        steps = torch.tensor([job.step for job in jobs], device=device)
        sign = torch.tensor([-1.0 if job.turned else 1.0 for job in jobs], device=device)[:, None, None, None]
        noise = self.noise[steps] * sign
        clean = self._clean(jobs, latents)
        times = torch.tensor(self.times, device=device)[steps]
        parts = [self._conditionings[job.text] for job in jobs]
        text = parts[0].concatenated(parts[1:])
        left = self.model.system.residual(clean, times, noise, text)
        if self.half:  # both sides are rounded before they are subtracted, as networks in 16 bits do
            left = noise.half() - (noise - left).half()
        return distance(left, self.kind)

    def _clean(self, jobs: Sequence[NoiseQuery], latents: Latents) -> Tensor:
        """Latents of the jobs; with `sampled`, one draw for each picture and step."""
        rows = [latents.rows[job.image] for job in jobs]
        mean = latents.mean[rows]
        if not self.sampled or latents.deviation is None:
            return mean
        drawn: dict[tuple[int, int], Tensor] = {}
        for row, job in zip(rows, jobs):
            if (row, job.step) not in drawn:
                seed = seed_of(latents.keys[row], "latent", self.seed, job.step)
                draw = torch.randn(mean.shape[1:], generator=torch.Generator().manual_seed(seed))
                drawn[row, job.step] = draw.to(mean.device)
        return mean + latents.deviation[rows] * torch.stack(
            [drawn[row, job.step] for row, job in zip(rows, jobs)]
        )

    @torch.no_grad()
    def _read(self, texts: Sequence[str | None]) -> None:
        """Encode the texts that are not encoded yet, and record those that are longer than the encoder reads."""
        tokens, length = self.model.tokens, self.model.config.length
        new = [text for text in dict.fromkeys(texts) if text not in self._conditionings]
        if NOTHING in new:
            self._conditionings[NOTHING] = self.model.system.empty_text(1)
        written: list[Any] = [text for text in new if text is not NOTHING]
        for first in range(0, len(written), self.rows):
            part = written[first : first + self.rows]
            encoded = self.model.texts(part)
            conditioning = self.model.system.encode_text(encoded.ids, encoded.mask)
            for row, text in enumerate(part):
                self._conditionings[text] = conditioning.rows(torch.tensor([row], device=self.model.device))
        long = [text for text in written if tokens.too_long(text, length) and text not in self.cut]
        self.cut += long
        self.cost["texts cut"] += len(long)
        self.cost["text encodings"] += len(new)
