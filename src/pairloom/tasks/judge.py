"""Image-text matching scores: do this picture and this text belong together?

A score is one of five: the log-odds of the match head, the cosine of two embeddings, the best cosine with several embeddings of a
picture, the mean log-likelihood of the text's tokens, or minus the mean denoising error of the picture under the text (more of
it in `tasks/denoise.py`). It is named beside every result. Higher is always better.

N pictures, M texts, T tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy
import torch
from numpy.typing import NDArray
from torch import Tensor

from pairloom import verbs
from pairloom.data.batch import Batch, Texts
from pairloom.data.clips import ClipFeatures
from pairloom.data.detected import Detected
from pairloom.data.pixels import Picture
from pairloom.model import Model
from pairloom.model.numbers import finite
from pairloom.tasks.denoise import grid, seeded_noise
from pairloom.verbs import Declares, demand_way

BESIDE = (
    "regions",
    "codes",
    "clips",
    "question",
    "caption",
)  # fields of a batch beside pictures and texts
STEPS = 10  # timesteps of the denoising score, with the same noise for every pair


@torch.no_grad()
def judge(
    system: Declares, batch: Batch, way: str | None = None, rows: int = 256, pictures: int = 8
) -> tuple[Tensor, str]:
    """Score every text of a batch against its picture (batch.image_of; row for row where that is None).

    way: which score; None: the best that the system declares. Returns the scores [M] and the name of the score. Each picture
    is encoded once, `pictures` at a time, and each distinct text before it meets a picture, where the system reads texts apart; texts are
    scored in groups of `rows`, with the texts of a picture together for the match head, and texts of similar length together otherwise. Mistake where the system does not have that score.
    """
    texts = batch.required("texts")
    way = demand_way(system, way)
    of = batch.image_of if batch.image_of is not None else torch.arange(len(texts), device=texts.ids.device)
    lengths = texts.mask.sum(1)
    scores = torch.zeros(len(texts), device=texts.ids.device)
    if isinstance(system, verbs.Sees) and batch.encoded is None:
        bare = not batch.extra and all(getattr(batch, name) is None for name in BESIDE)
        if bare and batch.images is not None and len(batch.images) > pictures:
            for chosen, part in _by_pictures(batch, of, pictures):
                scores[chosen] = judge(system, part, way, rows, pictures)[0]
            return scores, way
        batch = system.encode_image(batch)
    once = way == "match head" and isinstance(system, verbs.ReadsTexts) and batch.encoded_text is None
    read = _read_once(system, texts, rows) if once and len(texts) > 1 else None  # type: ignore[arg-type]
    for chosen in torch.argsort(of if way == "match head" else lengths, stable=True).split(rows):
        longest = int(lengths[chosen].max())
        part = replace(batch, texts=texts[chosen, :longest], image_of=of[chosen])
        if read is not None:
            more = read[0].shape[1] - texts.ids.shape[1]  # rows that a system puts among the words
            part = replace(part, encoded_text=read[0][read[1][chosen], : longest + more])
        scores[chosen] = finite(WAYS[way](system, part).float(), "scores")
    return scores, way


@torch.no_grad()
def score_table(
    model: Model,
    images: Sequence[Picture | Detected | ClipFeatures] | Tensor,
    texts: Sequence[str],
    by: Sequence[str],
    pictures: int = 8,
) -> dict[str, NDArray[numpy.float32]]:
    """Tables of scores [N M] of every picture with every text, by the name of the score. Pictures are encoded once for all
    scores, `pictures` at a time; for the cosine each text is embedded once. ValueError for a score that the model does not
    have."""
    own = model.texts(texts)
    rows: dict[str, list[Tensor]] = {way: [] for way in by}
    words = model.system.embed_text(Batch(texts=own)) if "cosine" in by else None
    for first in range(0, len(images), pictures):
        batch = model.batch(images[first : first + pictures])
        if isinstance(model.system, verbs.Sees):
            batch = model.system.encode_image(batch)
        count = len(images[first : first + pictures])
        owner = torch.arange(count, device=model.device).repeat_interleave(len(own))
        pairs = replace(batch, texts=own[list(range(len(own))) * count], image_of=owner)
        for way in by:
            if way == "cosine" and words is not None:
                table = finite(model.system.embed_image(batch).float() @ words.float().T, "scores")
            else:
                table = judge(model.system, pairs, way)[0].view(count, -1)
            rows[way].append(table.float().cpu())
    return {way: torch.cat(parts).numpy() for way, parts in rows.items()}


def _read_once(system: verbs.ReadsTexts, texts: Texts, rows: int) -> tuple[Tensor, Tensor] | None:
    """Each distinct text through the system's text encoder: its rows [D T E], and which of them each text has [M]. None where no text
    is there twice."""
    known = torch.cat([texts.ids.masked_fill(~texts.mask, -1), texts.mask.long()], 1)
    _, place, count = torch.unique(known, dim=0, return_inverse=True, return_counts=True)
    if len(count) == len(place):
        return None
    first = torch.zeros_like(count).scatter_(
        0, place.flip(0), torch.arange(len(place), device=place.device).flip(0)
    )
    parts = [system.encode_texts(Batch(texts=texts[some])).encoded_text for some in first.split(rows)]
    return torch.cat(parts), place


def _by_pictures(batch: Batch, of: Tensor, pictures: int) -> Iterator[tuple[Tensor, Batch]]:
    """Groups of `pictures` pictures: the indices of their texts, and the batch of both."""
    every, texts = batch.required("images"), batch.required("texts")
    for first in range(0, len(every), pictures):
        chosen = ((of >= first) & (of < first + pictures)).nonzero()[:, 0]
        if len(chosen):
            images = every[first : first + pictures]
            yield chosen, Batch(images=images, texts=texts[chosen], image_of=of[chosen] - first)


def _match(system: verbs.Matches, batch: Batch) -> Tensor:
    return system.match(batch)


def _cosine(system: verbs.Embeds, batch: Batch) -> Tensor:
    pictures, texts = system.embed_image(batch), system.embed_text(batch)
    return (pictures[batch.image_of] * texts).sum(1)


def _similarity(system: verbs.Similar, batch: Batch) -> Tensor:
    return system.similarity(batch)


def _likelihood(system: verbs.Writes, batch: Batch) -> Tensor:
    """Mean log-probability of the tokens after the first and the system's own prompt, so that the length of a text has no
    direct effect."""
    ids, mask = batch.text()
    log_probabilities = torch.log_softmax(system.logits(batch)[:, :-1].float(), -1).gather(
        2, ids[:, 1:, None]
    )[..., 0]
    real = mask[:, 1:].clone()
    real[:, : len(verbs.prompt_of(system))] = False
    return (log_probabilities * real).sum(1) / real.sum(1).clamp(min=1)


def _denoising(system: verbs.Denoises, batch: Batch) -> Tensor:
    """Minus the mean squared denoising error over an even grid of timesteps."""
    ids, _ = batch.text()
    rows, device = len(ids), ids.device
    noise = seeded_noise(system.latent, STEPS, 0).to(device)
    errors = [
        system.denoising_error(batch, torch.full((rows,), t, device=device), one.expand(rows, -1, -1, -1))
        for t, one in zip(grid(STEPS, times=system.times), noise)
    ]
    return -torch.stack(errors).mean(0)


WAYS: dict[str, Callable[[Any, Batch], Tensor]] = {
    "match head": _match,
    "cosine": _cosine,
    "best cosine": _similarity,
    "likelihood": _likelihood,
    "denoising error": _denoising,
}
