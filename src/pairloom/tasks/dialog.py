"""Dialog: which of the candidates is the answer, after this picture, this caption and all that was said? Asks for see and
match. And what the order of the candidates is worth (Das et al., 2017).

C candidates.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pairloom.data.batch import Batch, Texts
from pairloom.data.lessons.dialogs import framed, spoken
from pairloom.data.loader import TextTable
from pairloom.data.pair import Round
from pairloom.data.tokens import Tokens
from pairloom.metrics.answers import ndcg
from pairloom.metrics.rank import ranks

GROUP = 128  # candidates that are read together


def encode_image(system: Any, tokens: Tokens, image: Tensor, caption: str) -> Batch:
    """A picture [3 H W] with what was said of it first, looked at once for all rounds."""
    words = Texts(*tokens.encode([caption], system.config.caption_length)) if caption else None
    batch = Batch(images=image[None, None], caption=words).to(image.device)
    with torch.no_grad():
        encoded: Batch = system.encode_image(batch)
    return encoded


@torch.no_grad()
def rank_answers(
    system: Any,
    tokens: Tokens,
    seen: Batch,
    said: Sequence[Round],
    question: str,
    candidates: Sequence[str],
) -> Tensor:
    """Log-odds [C] that each candidate is the right answer to `question` after the rounds `said`. All of them read the
    picture's keys uncopied, in groups of like length."""
    before = spoken(tokens, [*said, Round(question)])[-1]
    length = system.config.length
    rows = (framed(tokens, before, row[1:-1], length) for row in tokens.rows(list(candidates), length))
    texts = TextTable.of_rows(([row] for row in rows), tokens.pad)
    device = seen.device
    scores = torch.zeros(len(candidates), device=device)
    for chosen in torch.from_numpy(texts.lengths).argsort(stable=True).split(GROUP):
        answers = Texts(*texts.take(chosen.numpy())).to(device or "cpu")
        owner = torch.zeros(len(chosen), dtype=torch.long, device=device)
        part = replace(seen, texts=answers, image_of=owner)
        scores[chosen.to(device)] = system.match(part).float()
    return scores


def shortened(tokens: Tokens, said: Sequence[Round], question: str, length: int) -> bool:
    """Whether the oldest words of this dialog are left out."""
    return len(spoken(tokens, [*said, Round(question)])[-1]) > length - 3


def worth(scores: Sequence[float], right: int | None, relevance: Sequence[float] = ()) -> dict[str, float]:
    """Of one round: MRR, R@1, R@5, R@10 and the rank of the right candidate; NDCG where people judged all of them."""
    told: dict[str, float] = {}
    if right is not None:
        place = ranks(np.asarray(scores)[None], np.array([right]))
        told = {
            "MRR": float(place.reciprocals()[0]),
            **{f"R@{k}": float(place.hits(k)[0]) for k in (1, 5, 10)},
        }
        told["mean rank"] = float(place.places()[0])
    if any(value > 0 for value in relevance):
        told["NDCG"] = ndcg(scores, relevance)
    return told
