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
from torch import Tensor

from pairloom.blocks.cross import CrossKeyValues
from pairloom.blocks.language import LanguageHead
from pairloom.blocks.text import READ, WRITE, begin_with
from pairloom.blocks.transformer import initialise
from pairloom.data.batch import Batch, Texts
from pairloom.data.records import Questions
from pairloom.systems import _answer_decoder as answers
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


example = answers.example


class System(answers.WritesAnswers):
    """BLIP for questions: image tower, question encoder and answer decoder, which share nothing."""

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

    def read_questions(self, batch: Batch) -> CrossKeyValues:
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
