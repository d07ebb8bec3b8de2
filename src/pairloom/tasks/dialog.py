"""Visual dialog (Das et al., 2017): the order of candidate answers after a picture, its caption and the dialog so far, and the
metrics of that order. Requires `encode_image` and `match`.

C candidates.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pairloom.data.batch import Batch, Texts
from pairloom.data.datasets.dialogs import framed, spoken
from pairloom.data.loader import TextTable
from pairloom.data.pair import Round
from pairloom.data.pixels import Picture
from pairloom.data.tokens import Tokens
from pairloom.metrics.answers import ndcg
from pairloom.metrics.rank import ranks
from pairloom.model import Model
from pairloom.model.numbers import finite

GROUP = 128  # candidates that are read together


@dataclass(frozen=True)
class Ranking:
    """Candidates in the order of their scores, the log-odds of being the right answer, best first.

    shortened: whether the dialog is longer than the model reads, so that its oldest words were left out.
    """

    texts: tuple[str, ...]
    scores: tuple[float, ...]
    shortened: bool = False

    def __str__(self) -> str:
        return self.texts[0]

    def note(self, model: Model) -> str:
        """What the user should know: that the dialog was shortened; "" for nothing."""
        long = f"The dialog is longer than {model.config.length} tokens: its oldest words were left out"
        return long if self.shortened else ""

    def to_dict(self) -> dict[str, Any]:
        """The answers with their scores, and whether the dialog was shortened, as plain values."""
        answers = [{"text": text, "score": score} for text, score in zip(self.texts, self.scores)]
        return {"shortened": self.shortened, "answers": answers}


@torch.no_grad()
def encode(model: Model, image: Tensor | Picture, caption: str) -> Batch:
    """Encode a picture ([3 H W], a path or an image) with its caption, once for all rounds of the dialog."""
    pixels = image if isinstance(image, Tensor) else model.pictures([image])[0]
    words = Texts(*model.tokens.encode([caption], model.config.caption_length)) if caption else None
    batch = Batch(images=pixels[None, None], caption=words).to(model.device)
    encoded: Batch = model.system.encode_image(batch)
    return encoded


def rank(
    model: Model, encoded: Batch, history: Sequence[Round], question: str, candidates: Sequence[str]
) -> Ranking:
    """Rank the candidates by `rank_answers`; candidates with equal scores keep their order."""
    scores = rank_answers(model, encoded, history, question, candidates).tolist()
    order = sorted(range(len(scores)), key=lambda at: -scores[at])
    cut = shortened(model.tokens, history, question, model.config.length)
    return Ranking(tuple(candidates[at] for at in order), tuple(scores[at] for at in order), cut)


@torch.no_grad()
def rank_answers(
    model: Model, encoded: Batch, history: Sequence[Round], question: str, candidates: Sequence[str]
) -> Tensor:
    """Log-odds [C] that each candidate is the right answer to `question` after the rounds of `history`. The candidates share
    the picture's keys and values, and are read in groups of similar length."""
    tokens, length, device = model.tokens, model.config.length, model.device
    before = spoken(tokens, [*history, Round(question)])[-1]
    rows = (framed(tokens, before, answer[: length - 2], length) for answer in tokens.bare(list(candidates)))
    texts = TextTable.of_rows(([row] for row in rows), tokens.pad)
    scores = torch.zeros(len(candidates))
    for chosen in torch.from_numpy(texts.lengths).argsort(stable=True).split(GROUP):
        answers = Texts(*texts.take(chosen.numpy())).to(device)
        owner = torch.zeros(len(chosen), dtype=torch.long, device=device)
        part = replace(encoded, texts=answers, image_of=owner)
        scores[chosen] = finite(model.system.match(part).float().cpu(), "scores")
    return scores


def shortened(tokens: Tokens, history: Sequence[Round], question: str, length: int) -> bool:
    """Whether the dialog is longer than the model reads, so that its oldest words are left out."""
    return len(spoken(tokens, [*history, Round(question)])[-1]) > length - 3


def worth(scores: Sequence[float], right: int | None, relevance: Sequence[float] = ()) -> dict[str, float]:
    """Metrics of one round: MRR, R@1, R@5, R@10 and the rank of the right candidate; NDCG where there is a relevance for each
    candidate."""
    metrics: dict[str, float] = {}
    if right is not None:
        place = ranks(np.asarray(scores)[None], np.array([right]))
        metrics = {
            "MRR": float(place.reciprocals()[0]),
            **{f"R@{k}": float(place.hits(k)[0]) for k in (1, 5, 10)},
        }
        metrics["mean rank"] = float(place.places()[0])
    if any(value > 0 for value in relevance):
        metrics["NDCG"] = ndcg(scores, relevance)
    return metrics
