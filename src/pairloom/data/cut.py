"""Texts of which a model reads only the beginning, since they have more tokens than it reads.

Does not know: models, where the texts come from.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # a tokenizer brings torch, which reading a finished run needs not
    from pairloom.data.tokens import Tokens

GROUP = 4096  # texts that are made tokens at a time


@dataclass(frozen=True)
class CutTexts:
    """How many different texts are cut, the tokens of the longest, and how many tokens are read, those that frame a text included."""

    texts: int = 0
    longest: int = 0
    reads: int = 0

    def __bool__(self) -> bool:
        return self.texts > 0

    def __str__(self) -> str:
        which = "1 text is" if self.texts == 1 else f"{self.texts:,} texts are"
        return f"{which} longer than the model reads: the first {self.reads} tokens are (the longest has {self.longest:,})"


def cut_texts(tokens: Tokens, texts: Iterable[str], length: int) -> CutTexts:
    """Those of these texts that a model cuts which reads `length` tokens."""
    different = list(dict.fromkeys(texts))
    frame = len(tokens.prefix) + len(tokens.prompt_ids) + len(tokens.suffix)
    lengths = [
        frame + len(ids)
        for at in range(0, len(different), GROUP)
        for ids in tokens.bare(different[at : at + GROUP])
    ]
    long = [count for count in lengths if count > length]
    return CutTexts(len(long), max(long, default=0), length)
