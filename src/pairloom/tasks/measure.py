"""Evaluation of a system on held-out batches: its losses, recall where it embeds, accuracy where the batches have labels.

Q queries, E shared embedding.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch

from pairloom.data.batch import Batch
from pairloom.metrics.rank import ranks
from pairloom.verbs import able, losses_of


def held_out_losses(
    system: Any, batches: Iterable[Batch], turns: tuple[str, ...] = ("",)
) -> dict[str, float]:
    """Mean losses over the batches, each by its name and their sum as "loss"; with several turns as "turn/loss"."""
    totals: dict[str, dict[str, torch.Tensor]] = {turn: {} for turn in turns}
    count = 0
    for batch in batches:
        for turn, sums in totals.items():
            for name, value in losses_of(system, batch, turn).items():
                sums[name] = sums.get(name, torch.zeros((), device=value.device)) + value.float()
        count += 1
    numbers: dict[str, float] = {}
    for turn, sums in totals.items():
        means = {name: float(value) / count for name, value in sums.items()}
        before = f"{turn}/" if turn else ""
        numbers |= {
            f"{before}{name}": value for name, value in {"loss": sum(means.values()), **means}.items()
        }
    return numbers


def recall(system: Any, batches: Iterable[Batch]) -> dict[str, float]:
    """R@1 among all rows of the batches, image to text and text to image. All rows with the picture's image_ids count as
    right. Empty where the system does not embed."""
    if able(system, "embed") is None:
        return {}
    images, texts, ids = [], [], []
    for batch in batches:
        assert batch.image_ids is not None
        images.append(system.embed_image(batch).float())
        texts.append(system.embed_text(batch).float())
        ids.append(batch.image_ids)
    scores = (torch.cat(images) @ torch.cat(texts).T).cpu().numpy()
    number = torch.cat(ids).cpu().numpy()
    same = number[:, None] == number
    return {
        "image to text R@1": float(ranks(scores, same).hits(1).mean()),
        "text to image R@1": float(ranks(scores.T, same).hits(1).mean()),
    }


def accuracy(system: Any, batches: Iterable[Batch]) -> dict[str, float]:
    """Accuracy: share of the rows whose match is above 0 where their label is 1, and not above 0 where it is 0; of questions, mean
    score of the best answer of the list (VQA's accuracy). Empty where the batches have no labels, or the system does neither."""
    matches = any(able(system, name) for name in ("match", "reason", "dialog"))
    right = []
    for batch in batches:
        if batch.labels is not None and batch.labels.ndim == 2:
            best = system.answer_logits(batch).argmax(1, keepdim=True)
            right.append(batch.labels.gather(1, best)[:, 0])
        elif batch.labels is not None and matches:
            right.append(((system.match(batch) > 0) == batch.labels.bool()).float())
    return {"accuracy": float(torch.cat(right).mean())} if right else {}
