"""Hard negatives of drawn scenes, as a table such as NegCLIP's; their truth is known."""

from __future__ import annotations

from collections.abc import Sequence

import numpy

from pairloom.data.negatives import Hard
from pairloom.world import Scene, caption, negatives


def drawn_negatives(scenes: Sequence[Scene], style: str = "full", alike: int = 3) -> list[Hard]:
    """Table of hard negatives: for each scene one false caption for every swap that its caption allows, and the rows whose
    captions are different but share the most words with its own."""
    texts = [caption(scene, style) for scene in scenes]
    words = {word: at for at, word in enumerate(sorted({word for text in texts for word in text.split()}))}
    table = numpy.zeros((len(texts), len(words)), numpy.float32)
    for row, text in enumerate(texts):
        table[row, [words[word] for word in text.split()]] = 1
    same = numpy.unique(texts, return_inverse=True)[1]
    table_rows = []
    for row, (scene, text) in enumerate(zip(scenes, texts)):
        shared = table @ table[row]
        shared[same == same[row]] = -1
        near = numpy.argsort(-shared, kind="stable")[:alike]
        wrong = tuple(dict.fromkeys(one.negative for one in negatives(scene, style)))
        table_rows.append(Hard(text, f"{row:06d}", wrong, tuple(int(at) for at in near if shared[at] >= 0)))
    return table_rows
