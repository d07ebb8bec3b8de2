"""Spans of words: taken out of a text to be written again (Raffel et al., 2020, T5), or hidden in it (Lin et al., 2020, InterBERT).

B texts, T tokens.
"""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from pairloom.objectives.masked import MaskedTokens, TextTokens, real_words, replaced_tokens

Padded = tuple[Tensor, Tensor]  # ids and mask of texts


@runtime_checkable
class SpanMasking(TextTokens, Protocol):
    """The part of a Config that the corruption of spans reads. Sentinels are counted from the vocabulary's end backwards, behind as
    many ids of another use; start: the token that a decoder reads first; span_source: ids before every source."""

    @property
    def start(self) -> int: ...
    @property
    def sentinels(self) -> int: ...
    @property
    def span_source(self) -> tuple[int, ...]: ...


def corrupt_spans(
    ids: Int[Tensor, "B T"], mask: Bool[Tensor, "B T"], c: SpanMasking, generator: torch.Generator
) -> tuple[Padded, Padded]:
    """Span prediction (Raffel et al., 2020): max(1, int(masked * words)) of a text's words are taken out, neighbours together, and a
    sentinel stands in place of each span. The target is each sentinel and the words of its span, without a last sentinel."""
    draw = torch.rand(ids.shape, generator=generator).to(ids.device)
    words = real_words(ids, mask, c)
    count = (c.masked * words.sum(1)).long().clamp(min=1)
    taken = words & (draw.masked_fill(~words, 2.0).argsort(1).argsort(1) < count[:, None])
    sources, targets = [], []
    for row, real, gone in zip(ids.tolist(), mask.tolist(), taken.tolist()):
        source, target, spans = list(c.span_source), [c.start], 0
        for place in range(1, len(row)):
            if not real[place]:
                break
            if gone[place] and not gone[place - 1] and spans < c.sentinels:
                sentinel, spans = c.vocabulary - c.sentinels - 1 - spans, spans + 1
                source, target = [*source, sentinel], [*target, sentinel]
            (target if gone[place] else source).append(row[place])
        sources.append(source)
        targets.append([*target, c.sep])
    return _padded(sources, c.pad, draw.device), _padded(targets, c.pad, draw.device)


def _padded(rows: list[list[int]], pad: int, device: torch.device) -> Padded:
    length, count = max(map(len, rows)), torch.tensor([*map(len, rows)], device=device)
    ids = torch.tensor([[*row, *[pad] * (length - len(row))] for row in rows], device=device)
    return ids, torch.arange(length, device=device) < count[:, None]


def mask_segments(
    ids: Int[Tensor, "B T"],
    candidates: Bool[Tensor, "B T"],
    mask_id: int,
    words: tuple[int, int],
    generator: torch.Generator,
    anchors: float = 0.1,
    longest: int = 2,
) -> MaskedTokens:
    """Masked segment modelling: a share of the candidates are anchors, each hidden with the 0 to `longest` candidates behind it; of the
    hidden tokens 80 % become [MASK], 10 % a random word. Where a text has no anchor its first candidate is one."""
    draws = torch.rand(3, *ids.shape, generator=generator).to(ids.device)
    hidden = candidates & (draws[0] < anchors)
    first = candidates & (candidates.cumsum(1) == 1)
    hidden = hidden | (first & ~hidden.any(1, keepdim=True))
    reach = torch.where(hidden, (draws[1] * (longest + 1)).long().clamp(max=longest), -1)
    for step in range(1, longest + 1):
        behind = torch.zeros_like(hidden)
        behind[:, step:] = reach[:, :-step] >= step
        hidden = hidden | (behind & candidates)
    return replaced_tokens(ids, hidden, draws[2], mask_id, words, generator)
