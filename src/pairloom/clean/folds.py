"""Folds of a cross-fitted judge: one model each, and the reference embeddings of its scores.

Does not know: which pictures a fold judges, calibration, files of a set.

n requests (a picture and a text), m pictures, R references, E shared embedding, S pixels a side.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from safetensors.torch import load_file, save
from torch import Tensor

from pairloom.data.batch import Batch, Texts
from pairloom.data.disk import atomic_write
from pairloom.data.loader import SIDES
from pairloom.model import Model

Floats = NDArray[np.float64]
# rows of every pass through a fold's towers, the last pass padded: see `JudgeFold`
PICTURES, TEXTS = 32, 16


GROUPS = 10  # of pictures by their content hash; a group modulo 2 or 5 is a fold


def fold_of(image_key: str, folds: int) -> int:
    """The fold of a picture by its content hash, so that copies of a picture are always in the same fold."""
    return int(image_key[-8:] or "0", 16) % folds


@dataclass(frozen=True)
class References:
    """Reference embeddings of a fold's scores: of pictures that were not in its training [R E], and of texts of the set
    [R E]."""

    pictures: Tensor
    texts: Tensor


@dataclass(frozen=True)
class JudgeFold:
    """A model of a judge, with references where its system embeds.

    score = s - (log mean exp s over reference texts + log mean exp s over reference pictures) / 2, s = cosine /
    temperature: pointwise mutual information where the softmax is calibrated, averaged over both directions of ITC.
    The embedding of a picture is the mean of those of the picture and of its mirror image, except for texts with left or
    right. Every pass through the towers has the same shape (texts of one length, TEXTS or PICTURES rows), so that a score
    depends on its own picture and text alone, to the last bit.
    """

    model: Model
    references: References | None = None

    @torch.no_grad()
    def contrast(self, pixels: NDArray[np.uint8], owner: NDArray[np.int64], texts: Sequence[str]) -> Floats:
        """Contrastive scores [n] of texts, text i with picture owner[i] of pixels [m S S 3]."""
        assert self.references is not None
        device = self.model.device
        pictures, words = self.references.pictures.to(device), self.references.texts.to(device)
        temperature = temperature_of(self.model.system)
        distinct = sorted(set(texts))
        place = {text: index for index, text in enumerate(distinct)}
        straight, both = self.embed_pictures(pixels)
        embedded = self.embed_texts(distinct)
        of_picture = _log_mean_exp(both, words, temperature)[owner]
        of_text = _log_mean_exp(embedded, pictures, temperature)
        numbers = torch.tensor([place[text] for text in texts], device=device)
        sided = torch.tensor([bool(SIDES.search(text)) for text in texts], device=device)[:, None]
        seen = torch.where(sided, straight[owner], both[owner])
        fit = _in_blocks(lambda a, b: (a * b).sum(1), seen, embedded[numbers]) / temperature
        scores: Floats = (fit - (of_picture + of_text[numbers]) / 2).double().cpu().numpy()
        return scores

    @torch.no_grad()
    def embed_pictures(self, pixels: NDArray[np.uint8]) -> tuple[Tensor, Tensor]:
        """Embeddings of pictures [m E], without and with averaging over the mirror image."""
        straight, both = [], []
        for start in range(0, len(pixels), PICTURES):
            part = np.asarray(pixels[start : start + PICTURES])
            images = torch.from_numpy(self.model.pixels.normalise(filled(part, PICTURES)))
            images = images.to(self.model.device)
            views = [
                self.model.system.embed_image(Batch(images=view[:, None]))
                for view in (images, images.flip(3))
            ]
            straight.append(views[0][: len(part)])
            both.append(F.normalize(torch.stack(views).mean(0), dim=-1)[: len(part)])
        return torch.cat(straight), torch.cat(both)

    @torch.no_grad()
    def embed_texts(self, texts: Sequence[str]) -> Tensor:
        """Embeddings of texts [n E], computed for texts of one length at a time."""
        tokens = self.model.texts(texts)
        lengths = tokens.mask.sum(1).cpu().numpy()
        rows: list[Tensor] = []
        order: list[int] = []
        for length in np.unique(lengths):
            at = np.flatnonzero(lengths == length)
            for start in range(0, len(at), TEXTS):
                part = at[start : start + TEXTS]
                chosen = torch.from_numpy(filled(part, TEXTS)).to(tokens.ids.device)
                batch = Batch(texts=Texts(tokens.ids[chosen, :length], tokens.mask[chosen, :length]))
                rows.append(self.model.system.embed_text(batch)[: len(part)])
                order += part.tolist()
        back = torch.tensor(order, device=tokens.ids.device).argsort()
        return torch.cat(rows)[back]


def filled(part: NDArray[Any], count: int) -> NDArray[Any]:
    """Pad a part to `count` rows with copies of its first row."""
    return np.concatenate([part, np.repeat(part[:1], count - len(part), axis=0)])


def _in_blocks(function: Any, *tensors: Tensor) -> Tensor:
    """Apply a function of rows to PICTURES rows at a time, the last block padded."""
    blocks = []
    for start in range(0, len(tensors[0]), PICTURES):
        parts = [tensor[start : start + PICTURES] for tensor in tensors]
        count = len(parts[0])
        full = [torch.cat([part, part[:1].expand(PICTURES - count, -1)]) for part in parts]
        blocks.append(function(*full)[:count])
    return torch.cat(blocks)


def _log_mean_exp(rows: Tensor, references: Tensor, temperature: Tensor | float) -> Tensor:
    """Log-mean-exp over references [R E] of cosine / temperature, for each of the rows [n E]: [n]."""
    means = _in_blocks(lambda part: (part @ references.T / temperature).logsumexp(1), rows)
    return means - math.log(len(references))


@runtime_checkable
class Contrasts(Protocol):
    """Interface of a system with a contrastive temperature."""

    @property
    def temperature(self) -> Tensor: ...


def temperature_of(system: Any) -> Tensor | float:
    """The contrastive temperature of a system; 1 where it has none."""
    return system.temperature if isinstance(system, Contrasts) else 1.0


def write_references(file: Path, references: References) -> None:
    """Write the references of a fold to a file."""
    with atomic_write(file, replace=True) as out:
        tensors = {"pictures": references.pictures.cpu(), "texts": references.texts.cpu()}
        out.write(save({name: tensor.contiguous() for name, tensor in tensors.items()}))


def read_references(folder: Path, file: str | None) -> References | None:
    """Read the references of a fold; None where it has none."""
    if file is None:
        return None
    tensors = load_file(folder / file)
    return References(tensors["pictures"], tensors["texts"])
