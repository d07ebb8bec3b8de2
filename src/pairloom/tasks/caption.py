"""Caption: texts for pictures, with how sure the writer is of each. Asks for start and step; knows no files.

I pictures.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from pairloom.data.batch import Batch
from pairloom.data.tokens import Tokens
from pairloom.tasks.decode import Writing, decode


@dataclass(frozen=True)
class Caption:
    """A text; its log-probability in all and per token; whether the writer ended it itself."""

    text: str
    log_probability: float
    per_token: float
    ended: bool


def caption(
    system: Any,
    tokens: Tokens,
    images: Tensor,
    writing: Writing,
    prompt: str = "",
    seeds: Sequence[int] | None = None,
) -> list[list[Caption]]:
    """Captions for pictures [I 3 H W] (normalised): `writing.several` for each, best or first drawn first.

    The prompt is given, not counted as written, and stands at the head of the text. Equal texts of one picture are
    given once. seeds: one per picture, needed for nucleus sampling.
    """
    given = tokens.rows([prompt], writing.max_length)[0][1:-1] if prompt else []
    found = decode(system, Batch(images=images[:, None]), writing, given, seeds)
    made: list[list[Caption]] = []
    for written in found:
        texts: dict[str, Caption] = {}
        for text in written:
            said = tokens.decode([*given, *text.tokens]).strip()
            texts.setdefault(said, Caption(said, text.log_probability, text.mean, text.ended))
        made.append(list(texts.values()))
    return made
