"""What systems share that write an answer with a decoder which reads the encoded question alone: start, step, logits and the loss (Li et
al., 2021; Li et al., 2022). How question and picture are encoded is each system's own.

B answers, Q questions, I pictures, T tokens of an answer, V vocabulary.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from pairloom.abilities import Ability
from pairloom.blocks.cache import Cache
from pairloom.blocks.cross import CrossKeyValues
from pairloom.blocks.gather import mean_of_all
from pairloom.blocks.language import LanguageHead
from pairloom.blocks.text import WRITE, TextTransformer, begin_with
from pairloom.data.batch import Batch
from pairloom.data.records import Questions


def example(config: Any, generator: torch.Generator) -> Batch:
    """Six random pictures, each with a question and an answer."""
    from pairloom.data.random_batch import random_pairs, random_texts

    question = Questions(random_texts(config, generator))
    return replace(random_pairs(config, generator), question=question)


class WritesAnswers(nn.Module):
    """A system with a decoder `answer`, whose texts begin with `first_token`, and its `head`."""

    abilities = (Ability("answer", reads="question", by="likelihood"),)
    trains_on = ("questions",)
    config: Any
    first_token: int
    answer: TextTransformer
    head: LanguageHead

    def encode_image(self, batch: Batch) -> Batch:
        """Encode the pictures [I N 3 X Y], once: `encoded` is their rows."""
        raise NotImplementedError

    def read_questions(self, batch: Batch) -> CrossKeyValues:
        """The decoder's cross-attention keys and values: the questions [Q], encoded with their pictures."""
        raise NotImplementedError

    def start(self, batch: Batch) -> Cache:
        memory = self.read_questions(batch)
        owner = batch.image_of
        if owner is None:
            owner = torch.arange(len(memory), device=memory.layers[0].keys.device)
        return Cache(memory.read_by(owner), owner)

    def step(self, state: Cache, tokens: Int[Tensor, " B"]) -> tuple[Float[Tensor, "B V"], Cache]:
        x, past = self.answer.step(tokens, state.position, state.past, state.context)
        return self.head(x, self.answer.words), replace(state, past=past, position=state.position + 1)

    def logits(self, batch: Batch) -> Float[Tensor, "B T V"]:
        return self.head(self._write(batch), self.answer.words)

    def _write(self, batch: Batch) -> Float[Tensor, "B T D"]:
        (tokens, mask), memory = batch.text(), self.read_questions(batch)
        if batch.image_of is not None:
            memory = memory.read_by(batch.image_of)
        return self.answer(begin_with(self.first_token, tokens), mask, memory, WRITE)

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """Weighted language modelling (the released code of both): the cross-entropy summed over an answer's tokens, times the answer's
        weight, summed over the answers of a question; mean over questions."""
        batch = self.encode_image(batch)
        tokens, mask = batch.text()
        hidden = self._write(batch)
        targets = mask[:, 1:]
        weights = torch.ones(len(tokens), device=tokens.device) if batch.weights is None else batch.weights
        weight = weights[:, None].expand_as(targets)
        # the head runs only on positions with a target: nothing is wider than the vocabulary
        scores = self.head(hidden[:, :-1][targets], self.answer.words)
        each = F.cross_entropy(
            scores.float(),
            tokens[:, 1:][targets],
            reduction="none",
            label_smoothing=self.config.label_smoothing,
        )
        questions = len(batch.encoded if batch.question is None else batch.question)
        total = (each * weight[targets]).sum()
        return {"answer": mean_of_all(total, total.new_tensor(float(questions)))}
