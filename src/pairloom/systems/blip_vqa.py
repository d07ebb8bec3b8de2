"""BLIP for visual question answering (Li et al., 2022, arXiv 2201.12086, section 5.3): an encoder reads the question with
cross-attention to the picture, and a decoder with cross-attention to the encoded question alone writes the answer.

Prose, tables and deviations: docs/papers/blip.md.

`question` are the questions [Q L], one for each row of `images`, or several for a picture, where its `image_of` [Q] says
which. `texts` are answers, `image_of` the question of each, `weights` [B] the share of the annotators who gave the answer.
Without a question the encoder reads an empty one.

B answers, Q questions, I pictures, N pictures per example, L tokens of a question, T tokens of an answer, S rows of a
picture, C width of the image tower, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from pairloom.abilities import Ability
from pairloom.blocks.cache import Cache
from pairloom.blocks.cross import CrossKeyValues
from pairloom.blocks.gather import mean_of_all
from pairloom.blocks.language import LanguageHead
from pairloom.blocks.text import READ, WRITE, begin_with
from pairloom.blocks.transformer import initialise
from pairloom.data.batch import Batch, Texts
from pairloom.data.records import Questions
from pairloom.systems import _blip_tasks as tasks


@dataclass(frozen=True)
class Config(tasks.Grounded):
    """The released fine-tuning: 480 px, drop path 0.1, questions of at most 35 tokens. answer_length: most tokens of an
    answer. label_smoothing is part of the score by which answers are ranked, too."""

    image_size: int = 480
    drop_path: float = 0.1
    length: int = 35
    answer_length: int = 40
    label_smoothing: float = 0.1


TINY = Config(
    image_size=32, patch=8, image_width=32, image_depth=2, image_heads=2, drop_path=0.0, vocabulary=64, length=12,
    positions=16, width=40, depth=2, heads=2, dropout=0.0, cls=2, sep=3, dec=62, enc=63, answer_length=12,
)  # fmt: skip
PRESETS: dict[str, Config] = {
    "base": Config(),
    "large": Config(image_width=1024, image_depth=24, image_heads=16),
    "tiny": TINY,
}
_FINE = dict(batch=256, warmup=0, min_lr=0.0, schedule="cosine", weight_decay=0.05, decay_all=True, clip=0.0)
RECIPES: dict[str, dict[str, object]] = {"base": dict(_FINE, lr=2e-5, epochs=10)}
CLEAN = ""  # questions and answers share a tokenizer, and the released code cleans questions alone


def example(config: Config, generator: torch.Generator) -> Batch:
    """Six random pictures, each with a question and an answer."""
    from pairloom.data.random_batch import random_pairs, random_texts

    question = Questions(random_texts(config, generator))
    return replace(random_pairs(config, generator), question=question)


class System(nn.Module):
    """BLIP for questions: image tower, question encoder and answer decoder, which share nothing."""

    abilities = (Ability("answer", reads="question", by="likelihood"),)
    trains_on = ("questions",)

    def __init__(self, config: Config) -> None:
        super().__init__()
        c = self.config = config
        self.first_token, self.last_token = c.dec, c.sep
        self.image = c.image_tower()
        self.question = c.text_tower(c.image_width)
        self.answer = c.text_tower(c.width)  # it reads questions, so the image tower's width does not matter
        self.head = LanguageHead(c.width, c.vocabulary, 1e-12)
        initialise(self)

    def encode_image(self, batch: Batch) -> Batch:
        """Encode the pictures [I N 3 X Y], once: `encoded` is their rows [I N S C]."""
        if batch.encoded is not None:
            return batch
        return replace(batch, encoded=tasks.look(self.image, batch.required("images")))

    def start(self, batch: Batch) -> Cache:
        memory = self._questions(batch)
        owner = batch.image_of
        if owner is None:
            owner = torch.arange(len(memory), device=memory.layers[0].keys.device)
        return Cache(memory.read_by(owner), owner)

    def step(self, state: Cache, tokens: Int[Tensor, " B"]) -> tuple[Float[Tensor, "B V"], Cache]:
        x, past = self.answer.step(tokens, state.position, state.past, state.context)
        return self.head(x, self.answer.words), replace(state, past=past, position=state.position + 1)

    def logits(self, batch: Batch) -> Float[Tensor, "B T V"]:
        tokens, mask = batch.text()
        return self.head(self._write(tokens, mask, batch), self.answer.words)

    def _questions(self, batch: Batch) -> CrossKeyValues:
        """The decoder's cross-attention keys and values: the questions [Q], encoded with their pictures."""
        rows = self.encode_image(batch).encoded.flatten(1, 2)
        question = batch.question
        if question is None:
            empty = torch.tensor([[self.config.enc, self.config.sep]], device=rows.device)
            question = Questions(Texts.unpadded(empty.expand(len(rows), -1)))
        ids, mask = question.texts.ids, question.texts.mask
        memory = self.question.stack.project(rows)
        if question.image_of is not None:
            memory = memory.read_by(question.image_of)
        states = self.question(begin_with(self.config.enc, ids), mask, memory)
        return self.answer.stack.project(states, mask)

    def _write(self, tokens: Tensor, mask: Tensor, batch: Batch) -> Tensor:
        memory = self._questions(batch)
        if batch.image_of is not None:
            memory = memory.read_by(batch.image_of)
        return self.answer(begin_with(self.config.dec, tokens), mask, memory, WRITE)

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """Weighted language modelling (section 5.3 and the released code): the cross-entropy summed over an answer's tokens,
        times the answer's weight, summed over the answers of a question; mean over questions."""
        batch = self.encode_image(batch)
        tokens, mask = batch.text()
        hidden = self._write(tokens, mask, batch)
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


def from_blip(theirs: Mapping[str, Tensor], config: Config) -> dict[str, Tensor]:
    """Initial weights from a pre-trained blip, under the names of this system. The decoder of a large blip reads the wider
    rows of its image tower: its keys and values have another shape, are left out, and are initialised afresh here."""
    text = tasks.renamed(theirs, "towers.text.", "")
    return {
        **tasks.renamed(theirs, "towers.image.", "image."),
        **tasks.renamed(theirs, "head.", "head."),
        **tasks.renamed(tasks.one_mode(text, READ), "", "question."),
        **tasks.renamed(tasks.one_mode(text, WRITE), "", "answer."),
    }


STARTS, INHERITS = {"blip": from_blip}, tasks.SIZES
