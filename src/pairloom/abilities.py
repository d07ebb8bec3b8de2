"""Ability and Progress: what a system declares that it can be asked, and what it is told while it learns (verbs.py says more)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

Name = Literal[
    "match", "embed", "similarity", "caption", "answer", "choose", "reason", "dialog", "prompt", "draw", "denoise", "write_codes",
]  # fmt: skip
TextKind = Literal["caption", "question", "statement", "dialog", "document"]


@dataclass(frozen=True)
class Ability:
    """One thing that a system can be asked.

    reads: what kind of text. by: how its scores come out ("" where it gives none). pictures: how many pictures one text is
    about, at most; 0 where no picture is read. Raises ValueError for a name that there is not.
    """

    name: Name
    reads: TextKind = "caption"
    by: str = ""
    pictures: int = 1

    def __post_init__(self) -> None:
        if self.name not in get_args(Name):
            raise ValueError(f"there is no ability '{self.name}'; known: {', '.join(get_args(Name))}")


MATCH = Ability("match", by="match head")
EMBED = Ability("embed", by="cosine")
CHOOSE = Ability("choose", reads="question", by="answer head")
CAPTION = Ability("caption", by="likelihood")
DENOISE = Ability("denoise", by="denoising error")
DRAW = Ability("draw", pictures=0)


@dataclass(frozen=True)
class Progress:
    """Where a run stands. step: optimiser steps done, of `total`; epoch: the same in epochs, with their fraction."""

    step: int
    epoch: float
    total: int
