"""From what is said to what a video shows, and back: predictions of VideoBERT at hidden places (Sun et al., 2019, sections 4.2 and 4.3).

L visual words of a video.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from pairloom.data.batch import Texts
from pairloom.data.clips import ClipFeatures
from pairloom.errors import Mistake
from pairloom.model import Model

MASK = "[MASK]"


def _demand(model: Model) -> None:
    if model.name != "videobert":
        raise Mistake(f"A {model.name} has no visual words.", "", "Ask a videobert.")


@torch.no_grad()
def shown_by(model: Model, text: str, length: int = 1, top: int = 3) -> list[list[tuple[int, float]]]:
    """The likeliest visual words at each of `length` places of a video in which this is said, each with its log-probability."""
    _demand(model)
    scores = model.system.video_scores(model.texts([text]), length)[0].float().log_softmax(1)
    best = scores.topk(min(top, scores.shape[1]))
    return [list(zip(words, chances)) for words, chances in zip(best.indices.tolist(), best.values.tolist())]


@torch.no_grad()
def filled_in(
    model: Model, video: ClipFeatures, template: str, top: int = 3
) -> list[list[tuple[str, float]]]:
    """The likeliest words at each [MASK] of a template ("now let me show you how to [MASK] the [MASK]"), each with its
    log-probability. Mistake where the template has none."""
    _demand(model)
    pieces = template.split(MASK)
    ids = [token for piece in model.tokens.bare(pieces) for token in (*piece, model.tokens.mask)][:-1]
    if len(pieces) < 2:
        raise Mistake(
            f"'{template}' has no {MASK}.", "There is nothing to fill in.", f"Write {MASK} for a word."
        )
    row = torch.tensor([[model.tokens.cls, *ids, model.tokens.sep]], device=model.device)
    codes = model.system.visual_words(model.batch([video]))
    scores = model.system.word_scores(Texts.unpadded(row), codes)[0].float().log_softmax(1)
    best = scores[row[0] == model.tokens.mask].topk(min(top, scores.shape[1]))
    spell: Callable[[int], Any] = model.tokens.tokenizer.id_to_token
    return [
        [(spell(word), chance) for word, chance in zip(words, chances)]
        for words, chances in zip(best.indices.tolist(), best.values.tolist())
    ]
