"""VLP: Unified Vision-Language Pre-Training for Image Captioning and VQA (Zhou et al., 2019, arXiv 1909.11059): one transformer
over regions and words that understands under one attention mask and writes under another.

Prose, tables and deviations: docs/papers/vlp.md.

B texts, I pictures, N pictures of an example, R regions of all of them, F features, K classes of the detector, S context positions,
T tokens, D width, A answers, V vocabulary.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from pairloom.abilities import CAPTION, Ability
from pairloom.blocks import mask_append as appending
from pairloom.blocks.embed import TextEmbed
from pairloom.blocks.language import LanguageHead
from pairloom.blocks.masks import padding
from pairloom.blocks.transformer import Stack, initialise
from pairloom.data.batch import Batch
from pairloom.objectives.masked import mask_some, masked_loss, masking_generator
from pairloom.systems import _fusion as fusion

if TYPE_CHECKING:
    from pairloom.data.feed import RegionFeed

BOTH, WRITES = (
    (0, 1),
    (4, 5),
)  # segments of the picture's part and of the text's, when all see all, and when it is written


@dataclass(frozen=True)
class Config(fusion.BertSizes):
    """BERT base, cased, on 100 regions (`most`) of 2,048 features and 1,601 classes.

    both_ways: share of the texts that are read with all positions seeing all, in place of the sequence-to-sequence mask.
    most_masked: words that are hidden at most. answers: of a list that questions are answered from (0: none), whose texts are
    answer_list where they are known.
    """

    vocabulary: int = 28996
    features: int = 2048
    classes: int = 1601
    most: int = 100
    both_ways: float = 0.25
    most_masked: int = 3
    answers: int = 0
    answer_list: tuple[str, ...] = ()


TINY = Config(
    **fusion.TINY_BERT | {"positions": 32}, features=24, classes=7, most=6, answers=6, both_ways=0.5
)
PRESETS: dict[str, Config] = {"base": Config(), "vqa": Config(answers=3129), "tiny": TINY}
_RECIPE = dict(schedule="linear", warmup=0.1, weight_decay=0.01)
RECIPES: dict[str, dict[str, object]] = {
    "base": dict(_RECIPE, lr=1e-4, batch=512, epochs=30),
    "vqa": dict(_RECIPE, lr=2e-5, batch=128, epochs=20),
}


def feed(config: Config) -> RegionFeed:
    """The 100 surest regions of a picture with the detector's classes."""
    from pairloom.data.feed import RegionFeed

    return RegionFeed(config.features, config.most, config.classes)


def example(config: Config, generator: torch.Generator) -> Batch:
    """Six texts with random regions; some are questions with an answer."""
    from pairloom.data.random_batch import random_regions

    return replace(random_regions(config, generator), labels=torch.tensor([3, -1, 0, 5, -1, -1]))


class VLPRegionEmbed(nn.Module):
    """Region embedding of VLP: the features through two layers stand where words have their embedding, the place and the class
    scores where they have their position. Of those, the six numbers (corners, area, confidence) and the scores are each normed."""

    def __init__(self, c: Config) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Linear(c.features, c.features), nn.ReLU(), nn.Linear(c.features, c.width), nn.ReLU(), nn.Dropout(c.dropout)
        )  # fmt: skip
        self.places = nn.Sequential(nn.Linear(6 + c.classes, c.width), nn.ReLU(), nn.Dropout(c.dropout))

    def forward(
        self, features: Float[Tensor, "I R F"], boxes: Float[Tensor, "I R 4"],
        chances: Float[Tensor, "I R K"], mask: Bool[Tensor, "I R"],
    ) -> Float[Tensor, "I R D"]:  # fmt: skip
        """The corners are shares of the farthest right and the lowest edge of the picture's boxes, not of the picture's sides."""
        far = boxes[..., 2:].masked_fill(~mask[..., None], 0.0).amax(1, keepdim=True).clamp(min=1e-6)
        boxes = boxes / far.repeat(1, 1, 2)
        area = (boxes[..., 2:] - boxes[..., :2]).clamp(min=0).prod(-1, keepdim=True)
        six = torch.cat([boxes, area, chances[..., 1:].amax(-1, keepdim=True)], -1)
        parts = [F.layer_norm(part, part.shape[-1:], eps=1e-5) for part in (six, chances)]
        return self.features(features) + self.places(torch.cat(parts, -1))


class System(nn.Module):
    """VLP. A row is [CLS] regions [SEP] text [SEP]."""

    trains_on = ("pairs",)
    answer_head: Any  # None where there are no answers

    def __init__(self, config: Config) -> None:
        super().__init__()
        c = self.config = config
        self.first_token, self.last_token = c.cls, c.sep
        self.text = TextEmbed(c.vocabulary, c.positions, c.width, 1e-12, c.dropout, segments=6)
        self.regions = VLPRegionEmbed(c)
        self.stack = Stack(c.layers())
        self.language_head = LanguageHead(c.width, c.vocabulary, 1e-12)
        self.answer_head = None
        if c.answers:
            self.answer_head = nn.Sequential(
                nn.Linear(c.width, 2 * c.width), nn.ReLU(), nn.Linear(2 * c.width, c.answers)
            )
        initialise(self)

    @property
    def abilities(self) -> tuple[Ability, ...]:
        answers = (Ability("choose", reads="question", by="answer head"),)
        return (CAPTION, *(answers if self.config.answers else ()))

    def _words(
        self, ids: Int[Tensor, "B T"], first: int, segment: Int[Tensor, " B"] | int = WRITES[1]
    ) -> Float[Tensor, "B T D"]:
        segment = segment if isinstance(segment, Tensor) else ids.new_full((len(ids),), segment)
        return self.text(ids, self.config.most + 2 + first, segment[:, None].expand_as(ids))

    def _context(
        self, batch: Batch, owner: Tensor | None, segment: Int[Tensor, " I"] | int = WRITES[0]
    ) -> tuple[Float[Tensor, "I S D"], Bool[Tensor, "I S"]]:
        """[CLS] regions [SEP]. segment: of each row."""
        c, regions = self.config, batch.required("regions")
        regions = fusion.one_sequence(regions if owner is None else regions[owner])
        if regions.class_probabilities is None:
            raise ValueError("VLP reads the detector's class probabilities")
        rows = self.regions(regions.features, regions.boxes, regions.class_probabilities, regions.mask)
        count = len(rows)
        kinds = (
            segment
            if isinstance(segment, Tensor)
            else batch.required("regions").mask.new_full((count,), segment, dtype=torch.long)
        )
        kind = self.text.segments.weight[kinds][:, None]  # type: ignore[union-attr]
        rows = self.text.dropout(self.text.norm(rows + kind))
        ends = [
            self.text(kinds.new_full((count, 1), token), place, kinds[:, None])
            for token, place in ((c.cls, 0), (c.sep, c.most + 1))
        ]
        real = torch.ones_like(regions.mask[:, :1])
        return torch.cat([ends[0], rows, ends[1]], 1), torch.cat([real, regions.mask, real], 1)

    def start(self, batch: Batch) -> appending.AppendState:
        _, state = appending.begin(self.stack, *self._context(batch, None))
        return state if batch.image_of is None else state.select(batch.image_of)

    def step(
        self, state: appending.AppendState, tokens: Int[Tensor, " B"]
    ) -> tuple[Float[Tensor, "B V"], appending.AppendState]:
        """The first token is not fed: it stands before the regions."""
        ids = torch.full_like(tokens, self.config.mask)[:, None]
        if state.written:
            ids = torch.cat([tokens[:, None], ids], 1)
        row, state = appending.append(self.stack, self._words(ids, max(0, state.written - 1)), state)
        return self.language_head(row, self.text.words.weight), state

    def logits(self, batch: Batch) -> Float[Tensor, "B T V"]:
        """By a [MASK] after each token: what `step` gives, in one pass."""
        tokens, mask = batch.text()
        rows, real = self._context(batch, batch.image_of)
        ends = self._words(torch.full_like(tokens, self.config.mask), 0)
        x = torch.cat([rows, self._words(tokens[:, 1:], 0), ends], 1)
        x = self.stack(x, appending.every_append(real, mask[:, 1:], first=1))
        return self.language_head(x[:, -tokens.shape[1] :], self.text.words.weight)

    def answer_logits(self, batch: Batch) -> Float[Tensor, "B A"]:
        """From the product of the rows of [CLS] and of the [SEP] behind the regions, with all positions seeing all."""
        tokens, mask = batch.text()
        rows, real = self._context(batch, fusion.owner_of(batch), BOTH[0])
        x = torch.cat([rows, self._words(tokens[:, 1:], 0, BOTH[1])], 1)
        x = self.stack(x, padding(torch.cat([real, mask[:, 1:]], 1)))
        return self.answer_head(x[:, 0] * x[:, rows.shape[1] - 1]).float()

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """Masked language modelling, of each text under a mask that is drawn for it; the end may be hidden too. With `labels`
        (below 0 where a text is no question) the answers, by binary cross-entropy."""
        c, generator = self.config, masking_generator(self.training)
        tokens, mask = batch.text()
        both = (torch.rand(len(tokens), generator=generator) < c.both_ways).to(tokens.device)
        picture, text = (torch.where(both, BOTH[part], WRITES[part]) for part in (0, 1))
        rows, real = self._context(batch, fusion.owner_of(batch), picture)
        words, own = tokens[:, 1:], mask[:, 1:]
        masked = mask_some(words, own, c.mask, (c.mask + 1, c.vocabulary), generator, c.masked, c.most_masked)
        seen = torch.where(
            both[:, None, None, None], padding(torch.cat([real, own], 1)), appending.prefix_causal(real, own)
        )
        x = self.stack(torch.cat([rows, self._words(masked.ids, 0, text)], 1), seen)
        scores = self.language_head(x[:, rows.shape[1] :][masked.hidden], self.text.words.weight)
        losses = {"mlm": masked_loss(scores, words[masked.hidden])}
        if c.answers and batch.labels is not None:
            losses["answer"] = fusion.answer_loss(self.answer_logits(batch), batch.labels)
        return losses
