"""What a system may be asked. Protocols, no base class: a task asks for the verbs it needs, never for a type.

B examples, T tokens, E shared embedding, V vocabulary.
"""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

from torch import Tensor

from pairloom.data.batch import Batch


@runtime_checkable
class Learns(Protocol):
    """Can be trained: name -> weighted scalar; the loop minimises their sum."""

    def losses(self, batch: Batch) -> dict[str, Tensor]: ...


@runtime_checkable
class Sees(Protocol):
    """Can look at pictures alone, once: the batch comes back with `seen` filled, and every verb honours it."""

    def encode_image(self, batch: Batch) -> Batch: ...


@runtime_checkable
class Embeds(Protocol):
    """Puts pictures and texts into one space: [B E] each, L2-normalised."""

    def embed_image(self, batch: Batch) -> Tensor: ...

    def embed_text(self, batch: Batch) -> Tensor: ...


@runtime_checkable
class Compares(Protocol):
    """Learns from its embeddings alone where `compares` is true: `losses(batch)` is then
    `compare(batch, embed_image(batch), embed_text(batch))`, whose pictures [I E] and texts [B E] may come a chunk at a time."""

    @property
    def compares(self) -> bool: ...

    def embed_image(self, batch: Batch) -> Tensor: ...

    def embed_text(self, batch: Batch) -> Tensor: ...

    def compare(self, batch: Batch, image: Tensor, text: Tensor) -> dict[str, Tensor]: ...


@runtime_checkable
class Matches(Protocol):
    """Tells whether picture and text belong together: [B] logits, higher is better."""

    def match(self, batch: Batch) -> Tensor: ...


class State(Protocol):
    """What a writer carries between steps. Rows are beams; the picture's part is held once per picture."""

    def __len__(self) -> int:
        """How many rows."""
        ...

    def expand(self, times: int) -> State:
        """Every row `times` over, neighbours together: [B] -> [B * times]."""
        ...

    def select(self, rows: Tensor) -> State:
        """Rows [M] of this state, in this order: reorders beams, drops finished pictures."""
        ...


@runtime_checkable
class HasAttention(Protocol):
    """A writer's State that says where its last step looked: shares [B P] of the cells of the picture (a square grid, row
    by row), or None before the first step."""

    @property
    def attention(self) -> Tensor | None: ...


@runtime_checkable
class Writes(Protocol):
    """Writes texts token by token.

    start(batch): reads the pictures and nothing of batch.tokens. step(state, tokens [B]) -> logits [B V] of the next
    token, new state; the first token to feed is `first_token`, the text ends at `last_token`.
    logits(batch): the same, teacher-forced: [B T V], where position t has read tokens[:, :t + 1].
    """

    first_token: int
    last_token: int

    def start(self, batch: Batch) -> Any: ...

    def step(self, state: Any, tokens: Tensor) -> tuple[Tensor, Any]: ...

    def logits(self, batch: Batch) -> Tensor: ...


@runtime_checkable
class Reads(Protocol):
    """A writer that takes several tokens [B T] at once: what T calls of `step` give after the last, in one pass."""

    def read(self, state: Any, tokens: Tensor) -> tuple[Tensor, Any]: ...


@runtime_checkable
class Interleaves(Protocol):
    """Reads texts with pictures in their midst. arrange(batch, shows [B N]): rows that show these pictures of a batch that
    was looked at, each of which is not looked at again. embed_image: [I E], for finding pictures alike."""

    def arrange(self, batch: Batch, shows: Tensor) -> Batch: ...

    def embed_image(self, batch: Batch) -> Tensor: ...


@runtime_checkable
class Draws(Protocol):
    """Makes pictures [B C H W] in [-1, 1] for the texts of the batch."""

    def draw(self, batch: Batch, **options: Any) -> Tensor: ...


@runtime_checkable
class Denoises(Protocol):
    """Error [B] of predicting the noise added to the pictures at times t [B], given the texts."""

    def denoising_error(self, batch: Batch, t: Tensor, noise: Tensor) -> Tensor: ...


@runtime_checkable
class Remembers(Protocol):
    """Keeps training state beside its parameters (momentum copies, queues).

    begin(progress): told before each optimiser step, progress = optimiser steps done / steps per epoch.
    An export drops the parameters and buffers that `training_state` names (prefixes).
    """

    training_state: tuple[str, ...]

    def begin(self, progress: float) -> None: ...
