"""Masked language modelling (Devlin et al., 2019): which tokens are hidden, and the cross-entropy of predicting them.

B texts, T tokens, M hidden tokens, V vocabulary.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol, runtime_checkable

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor


class MaskedTokens(NamedTuple):
    """Token ids with some hidden. ids [B T]: what the model reads. hidden [B T]: True where the original token is to be
    predicted."""

    ids: Tensor
    hidden: Tensor


@runtime_checkable
class TextTokens(Protocol):
    """The part of a Config that says which ids are words: those of the special tokens are none. masked: share of the words that are
    hidden."""

    @property
    def pad(self) -> int: ...
    @property
    def cls(self) -> int: ...
    @property
    def sep(self) -> int: ...
    @property
    def vocabulary(self) -> int: ...
    @property
    def masked(self) -> float: ...


@runtime_checkable
class WordMasking(TextTokens, Protocol):
    """The part of a Config that masking reads. mask: the id of [MASK]; those above it are words."""

    @property
    def mask(self) -> int: ...


def masking_generator(training: bool) -> torch.Generator:
    """Random numbers of a masking sampler. In training they follow torch's default generator, which the loop seeds by
    step and process; in evaluation they are the same at every call."""
    seed = int(torch.randint(2**31, ())) if training else 0
    return torch.Generator().manual_seed(seed)


def mask_tokens(
    ids: Int[Tensor, "B T"],
    candidates: Bool[Tensor, "B T"],
    mask_id: int,
    words: tuple[int, int],
    generator: torch.Generator,
    chance: float = 0.15,
) -> MaskedTokens:
    """BERT's masking rule: of the candidates a share of `chance` is hidden; 80 % of those become [MASK], 10 % a random word,
    and 10 % stay as they are.

    candidates: real tokens that are not special. words: first and last + 1 of the ids that a random word is drawn from.
    Where the draw hides no token of a text, its first candidate is hidden, so that every text adds to the loss.
    """
    draws = torch.rand(2, *ids.shape, generator=generator).to(ids.device)
    hidden = candidates & (draws[0] < chance)
    first = candidates & (candidates.cumsum(1) == 1)
    hidden = hidden | (first & ~hidden.any(1, keepdim=True))
    return replaced_tokens(ids, hidden, draws[1], mask_id, words, generator)


def replaced_tokens(
    ids: Tensor,
    hidden: Tensor,
    draw: Tensor,
    mask_id: int,
    words: tuple[int, int],
    generator: torch.Generator,
) -> MaskedTokens:
    """Of the hidden tokens those with a draw below .8 become [MASK], those below .9 a random word."""
    random = torch.randint(*words, ids.shape, generator=generator).to(ids.device)
    replaced = torch.where(draw < 0.8, torch.full_like(ids, mask_id), torch.where(draw < 0.9, random, ids))
    return MaskedTokens(torch.where(hidden, replaced, ids), hidden)


def real_words(ids: Int[Tensor, "B T"], mask: Bool[Tensor, "B T"], config: TextTokens) -> Bool[Tensor, "B T"]:
    """The tokens that are real (mask: True = real) and neither [CLS] nor [SEP] nor [PAD]."""
    return mask & (ids != config.cls) & (ids != config.sep) & (ids != config.pad)


def mask_words(
    ids: Int[Tensor, "B T"], mask: Bool[Tensor, "B T"], config: WordMasking, generator: torch.Generator
) -> MaskedTokens:
    """`mask_tokens` of the words of a text, which are its real tokens but for [CLS], [SEP] and [PAD]. mask: True = real."""
    words = real_words(ids, mask, config)
    return mask_tokens(
        ids, words, config.mask, (config.mask + 1, config.vocabulary), generator, config.masked
    )


def masked_loss(logits: Float[Tensor, "M V"], targets: Int[Tensor, " M"]) -> Float[Tensor, ""]:
    """Mean cross-entropy over the hidden tokens; 0, with a gradient of 0, where there are none."""
    if not len(targets):
        return logits.sum() * 0
    return F.cross_entropy(logits.float(), targets)
