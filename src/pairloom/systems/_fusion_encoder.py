"""Fusion encoders and what they are asked: whether a text belongs to a picture, the answer to a question, the truth of a statement
about several pictures. A system says how it reads each side, fuses them and pools; the heads of the tasks are the same for all.

B texts, I examples of pictures, N pictures of an example, R regions of a picture, T tokens, D width of the text's rows, E width of
the regions' rows, P width of the pooled row, A answers of a list.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeVar

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from pairloom.abilities import CHOOSE, MATCH, Ability
from pairloom.blocks.masks import padding
from pairloom.data.batch import Batch, Record, Texts
from pairloom.objectives.masked import MaskedTokens, masked_loss, masking_generator
from pairloom.systems import _fusion as fusion

if TYPE_CHECKING:
    from pairloom.data.records import Regions


R = TypeVar("R", "Regions", "VisualRows")


@dataclass(frozen=True, eq=False)
class VisualRows(Record):
    """Pictures before they meet a text. rows [I N R E]; mask [I N R]: True = real. Where several pictures are read as one sequence,
    N is 1."""

    rows: Tensor
    mask: Tensor

    def picture(self, place: int) -> VisualRows:
        """One picture of each example: rows [I R E]."""
        return VisualRows(self.rows[:, place], self.mask[:, place])


class FusionEncoder(nn.Module):
    """A fusion encoder of pairs, or one that is fine-tuned for questions, which it answers from a list that travels in it, or for
    statements about several pictures: its Config has the fields of `fusion.TaskSizes`.

    What does not depend on the other side is computed once: `encoded` of each picture (VisualRows), `encoded_text` [B T D] of each
    text. heads: what a model of one task has, and one of another has not.
    """

    heads: tuple[str, ...] = ("answer_head.", "verdict_head.")
    config: Any
    text: Any
    stack: Any
    pooler: Any
    language_head: Any

    def __init__(self) -> None:
        super().__init__()
        self.match_head: Any = None
        self.answer_head: Any = None
        self.verdict_head: Any = None

    def encode_regions(self, regions: Regions, hidden: Bool[Tensor, "B R"] | None = None) -> VisualRows:
        """Regions [B R ...] before they meet a text: rows [B R E]. hidden: regions that are masked."""
        raise NotImplementedError

    def encode_words(self, texts: Texts) -> Float[Tensor, "B T D"]:
        """Texts before they meet a picture: of most systems their embeddings."""
        return self.text(texts.ids)

    def fuse(
        self, words: Float[Tensor, "B T D"], mask: Bool[Tensor, "B T"], visual: VisualRows
    ) -> tuple[Float[Tensor, "B T D"], Float[Tensor, "B _ E"]]:
        """Rows of both sides after they have met: of a single-stream system through one transformer, `stack`, with full attention over
        all that is not padding. visual: one picture of each text."""
        real = padding(torch.cat([mask, visual.mask], 1))
        rows = self.stack(torch.cat([words, visual.rows], 1), real)
        return rows[:, : mask.shape[1]], rows[:, mask.shape[1] :]

    def pool(self, words: Float[Tensor, "B T D"], places: Float[Tensor, "B _ E"]) -> Float[Tensor, "B P"]:
        """What the heads read: BERT's pooler of [CLS] where a system has no other."""
        return torch.tanh(self.pooler(words[:, 0]))

    def encode_image(self, batch: Batch) -> Batch:
        """The batch with `encoded`."""
        if batch.encoded is not None:
            return batch
        regions = self.arranged(batch.required("regions"))
        visual = self.encode_regions(fusion.each_picture(regions))
        count = regions.mask.shape[1]
        apart = (value.unflatten(0, (-1, count)) for value in (visual.rows, visual.mask))
        return replace(batch, encoded=VisualRows(*apart))

    def arranged(self, pictures: R) -> R:
        """Records [I N R ...] as they are read: each picture by itself in a model of statements, otherwise all of an example as one
        sequence [I 1 N*R ...]. ValueError where a statement has another number of pictures."""
        if self.verdict_head is None:
            return fusion.one_sequence(pictures)
        if pictures.mask.shape[1] != self.config.pictures:
            raise ValueError(f"a statement needs {self.config.pictures} pictures")
        return pictures

    def encode_texts(self, batch: Batch) -> Batch:
        """The batch with `encoded_text`, row for row."""
        if batch.encoded_text is not None:
            return batch
        return replace(batch, encoded_text=self.encode_words(batch.required("texts")))

    def pooled(self, batch: Batch) -> Float[Tensor, "B _"]:
        """The pooled row of each text with its picture; of a statement with each of its pictures, side by side."""
        batch = self.encode_image(self.encode_texts(batch))
        visual, mask = batch.encoded[fusion.owner_of(batch)], batch.required("texts").mask
        pictures = (visual.picture(place) for place in range(visual.mask.shape[1]))
        return torch.cat([self.pool(*self.fuse(batch.encoded_text, mask, one)) for one in pictures], 1)

    def read_pairs(
        self, texts: Texts, regions: Regions, hidden: Bool[Tensor, "B R"] | None = None
    ) -> tuple[Float[Tensor, "B T D"], Float[Tensor, "B _ E"]]:
        """Rows of texts and of the regions [B R ...] of a picture of each, after they have met."""
        return self.fuse(self.encode_words(texts), texts.mask, self.encode_regions(regions, hidden))

    def match(self, batch: Batch) -> Float[Tensor, " B"]:
        """Log-odds that text and picture belong together, or that a statement about its pictures is true."""
        logits = self.match_logits(batch)
        return logits[:, 1] - logits[:, 0]

    def match_logits(self, batch: Batch) -> Float[Tensor, "B 2"]:
        """The two classes: class 1 = they belong together, or the statement is true."""
        pooled = self.pooled(batch)
        return self.matching(pooled) if self.verdict_head is None else self.verdict_head(pooled).float()

    def matching(self, pooled: Float[Tensor, "B P"]) -> Float[Tensor, "B 2"]:
        """The matching head on a pooled row."""
        return self.match_head(pooled).float()

    def word_loss(
        self, rows: Float[Tensor, "B T D"], masked: MaskedTokens, ids: Int[Tensor, "B T"]
    ) -> Float[Tensor, ""]:
        """Masked language modelling from the rows of the texts. ids: what they were before some were hidden."""
        scores = self.language_head(rows[masked.hidden], self.text.words.weight)
        return masked_loss(scores, ids[masked.hidden])

    def add_task_heads(self, width: int) -> None:
        """Heads on pooled rows of this width, those that the config has a use for (Tan and Bansal, 2019; Lu et al., 2020). The truth of
        a statement about one picture is learned by the matching head, where there is one."""
        c = self.config
        if c.answers:
            self.answer_head = fusion.first_row_head(width, c.answers)
        if c.pictures > 1 or (c.pictures and not c.matches):
            self.verdict_head = fusion.first_row_head(c.pictures * width, 2, growth=1)

    @property
    def abilities(self) -> tuple[Ability, ...]:
        c = self.config
        has = {
            MATCH: c.matches and not c.pictures,
            CHOOSE: c.answers and not c.pictures,
            Ability("reason", reads="statement", by="match head", pictures=max(1, c.pictures)): c.pictures,
        }
        return tuple(ability for ability, there in has.items() if there)

    @property
    def trains_on(self) -> tuple[str, ...]:
        c = self.config
        if c.pictures:
            return ("statements",)
        return (*(("pairs",) if c.matches else ()), *(("answers",) if c.answers else ()))

    def answer_logits(self, batch: Batch) -> Float[Tensor, "B A"]:
        """Scores of the answers of the list; the texts are the questions."""
        return self.answer_head(self.pooled(batch)).float()

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """Those of pairs, and of the questions among them; of a model of statements, or of answers alone, that one loss."""
        c = self.config
        if c.pictures:
            return {"statement": F.cross_entropy(self.match_logits(batch), batch.required("labels"))}
        if not c.matches:
            return fusion.answer_losses(self, batch)
        return self.pair_losses(batch, masking_generator(self.training))

    def pair_losses(self, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        """What the paper learns from pairs. generator: of what is hidden, and of wrong pairs."""
        raise NotImplementedError
