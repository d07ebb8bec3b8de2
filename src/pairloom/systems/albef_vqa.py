"""ALBEF for visual question answering (Li et al., 2021, arXiv 2107.07651, section 5): a decoder of six layers reads the question after it
has met the picture, and writes the answer.

Prose, tables and deviations: docs/papers/albef.md.

`question`, `texts`, `image_of` and `weights` are those of blip_vqa.

B answers, Q questions, I pictures, N pictures of an example, L tokens of a question, S rows of a picture, C width of the image tower.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from pairloom.blocks.cross import CrossKeyValues
from pairloom.blocks.language import LanguageHead
from pairloom.blocks.masks import padding
from pairloom.blocks.text import TextTransformer
from pairloom.blocks.transformer import ModeSharing, initialise
from pairloom.data.batch import Batch, Texts
from pairloom.data.records import Questions
from pairloom.systems import _albef_towers as parts
from pairloom.systems import _answer_decoder as answers


@dataclass(frozen=True)
class Config(parts.AlbefSizes):
    """The released fine-tuning: 384 px; 6 layers of text, 6 of fusion, 6 that write. length: most tokens of a question (training cuts
    them at 30 words, evaluation does not), answer_length: of an answer. label_smoothing: none."""

    length: int = 50
    answer_depth: int = 6
    answer_length: int = 40
    label_smoothing: float = 0.0


TINY = Config(**parts.TINY_ALBEF, answer_depth=1, answer_length=12)
PRESETS: dict[str, Config] = {"base": Config(), "tiny": TINY}
RECIPES: dict[str, dict[str, object]] = {
    "base": dict(
        lr=2e-5, min_lr=1e-6, batch=256, epochs=8, warmup=400, schedule="cosine", weight_decay=0.02, clip=0.0
    ),
}
example = answers.example


class System(answers.WritesAnswers):
    """ALBEF for questions. `encoded` is the rows of the pictures [I N S C]."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        c = self.config = config
        self.first_token, self.last_token = c.cls, c.sep
        self.image, self.text, self.fusion = c.image_tower(), c.text_tower(), c.fusion_stack()
        writing = c.layers()._replace(depth=c.answer_depth, context=c.width)
        self.answer = TextTransformer(
            writing, c.vocabulary, c.positions, sharing=ModeSharing(cross=1), segments=2
        )
        self.head = LanguageHead(c.width, c.vocabulary, 1e-12)
        initialise(self)

    def encode_image(self, batch: Batch) -> Batch:
        if batch.encoded is not None:
            return batch
        images = batch.required("images")
        return replace(batch, encoded=self.image(images.flatten(0, 1)).unflatten(0, images.shape[:2]))

    def read_questions(self, batch: Batch) -> CrossKeyValues:
        """As in the other ALBEFs, [SEP] is not read. Without a question [CLS] alone is."""
        rows = self.encode_image(batch).encoded.flatten(1, 2)
        question = batch.question
        if question is None:
            empty = torch.full((len(rows), 1), self.config.cls, device=rows.device)
            question = Questions(Texts.unpadded(empty))
        ids, mask = question.texts.ids, question.texts.mask & (question.texts.ids != self.config.sep)
        pictures = self.fusion.project(rows)
        if question.image_of is not None:
            pictures = pictures.read_by(question.image_of)
        states = self.fusion(self.text(ids, mask), padding(mask), pictures)
        return self.answer.stack.project(states, mask)


def from_albef(theirs: Mapping[str, Tensor], config: Config) -> dict[str, Tensor]:
    """Initial weights from a pre-trained albef, whose fusion layers the decoder begins as."""
    tensors: dict[str, Tensor] = {}
    for name, value in theirs.items():
        if name.startswith(("towers.image.", "towers.text.", "towers.fusion.")):
            tensors[name.removeprefix("towers.")] = value
        if name.startswith("towers.text.embed."):
            tensors[name.replace("towers.text.", "answer.")] = value
        if name.startswith("towers.fusion.") and int(name.split(".")[3]) < config.answer_depth:
            tensors[name.replace("towers.fusion.", "answer.stack.")] = value
        if name.startswith("towers.language_head."):
            tensors[name.replace("towers.language_head.", "head.")] = value
    return tensors


STARTS, INHERITS = {"albef": from_albef}, parts.SIZES
