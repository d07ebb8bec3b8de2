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
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from pairloom.abilities import CAPTION, CHOOSE, Ability
from pairloom.blocks import mask_append as appending
from pairloom.blocks.embed import TextEmbed
from pairloom.blocks.language import LanguageHead
from pairloom.blocks.masks import padding
from pairloom.blocks.region_places import ClassedRegionEmbed
from pairloom.blocks.transformer import Stack, initialise
from pairloom.data.batch import Batch
from pairloom.errors import Mistake
from pairloom.objectives.masked import masked_loss, masking_generator
from pairloom.objectives.masked_count import mask_some
from pairloom.systems import _fusion as fusion

if TYPE_CHECKING:
    from pairloom.data.feed import RegionFeed
    from pairloom.data.records import Regions

EPS = 1e-5  # of every norm; the BERT that it starts from has 1e-12
# segments of the picture's part and of the text's, when all see all, and when the text is written
BOTH, WRITES = (0, 1), (4, 5)


@dataclass(frozen=True)
class Config(fusion.RegionSizes, fusion.AnswerSizes, fusion.BertSizes):
    """BERT base, cased, on 100 regions (`most`) of 2,048 features and 1,601 classes.

    both_ways: share of the texts that are read with all positions seeing all, in place of the sequence-to-sequence mask.
    most_masked: words that are hidden at most.
    """

    vocabulary: int = 28996
    most: int = 100
    both_ways: float = 0.25
    most_masked: int = 3


TINY = Config(**fusion.TINY_REGIONS | {"positions": 32}, most=6, both_ways=0.5)
PRESETS: dict[str, Config] = {"base": Config(), "vqa": Config(answers=3129), "tiny": TINY}
_RECIPE = dict(schedule="linear", warmup=0.1, weight_decay=0.01)
RECIPES: dict[str, dict[str, object]] = {
    "base": dict(_RECIPE, lr=1e-4, batch=512, epochs=30),
    "vqa": dict(_RECIPE, lr=2e-5, batch=128, epochs=20),
}


def feed(config: Config) -> RegionFeed:
    """The surest regions of a picture with the detector's classes."""
    from pairloom.data.feed import RegionFeed

    return RegionFeed(config.features, config.most, config.classes)


example = fusion.example


class System(nn.Module):
    """VLP. A row is [CLS] regions [SEP] text [SEP]."""

    heads = ("answer_head.",)
    answer_head: Any  # None where there are no answers

    def __init__(self, config: Config) -> None:
        super().__init__()
        c = self.config = config
        self.first_token, self.last_token = c.cls, c.sep
        self.text = TextEmbed(c.vocabulary, c.positions, c.width, EPS, c.dropout, segments=6)
        self.regions = ClassedRegionEmbed(c.features, c.classes, c.width, c.dropout)
        self.stack = Stack(c.layers()._replace(eps=EPS))
        self.language_head = LanguageHead(c.width, c.vocabulary, EPS)
        self.answer_head = None
        if c.answers:
            self.answer_head = nn.Sequential(
                nn.Linear(c.width, 2 * c.width), nn.ReLU(), nn.Linear(2 * c.width, c.answers)
            )
        initialise(self)

    @property
    def abilities(self) -> tuple[Ability, ...]:
        return (CAPTION, CHOOSE) if self.config.answers else (CAPTION,)

    @property
    def trains_on(self) -> tuple[str, ...]:
        return ("pairs", "answers") if self.config.answers else ("pairs",)

    def _words(
        self, ids: Int[Tensor, "B T"], first: int, segment: Int[Tensor, " B"] | int = WRITES[1]
    ) -> Float[Tensor, "B T D"]:
        segment = segment if isinstance(segment, Tensor) else ids.new_full((len(ids),), segment)
        return self.text(ids, self.config.most + 2 + first, segment[:, None].expand_as(ids))

    def _context(
        self, regions: Regions, segment: Int[Tensor, " I"] | int = WRITES[0]
    ) -> tuple[Float[Tensor, "I S D"], Bool[Tensor, "I S"]]:
        """[CLS] regions [SEP]. segment: of each row."""
        c = self.config
        if regions.class_probabilities is None:
            raise Mistake(
                "VLP reads the detector's class probabilities.",
                "These regions have none, or those of another detector.",
                "Run a detector, and give its classes with the regions.",
            )
        rows = self.regions(regions.features, regions.boxes, regions.class_probabilities, regions.mask)
        count = len(rows)
        kinds = torch.as_tensor(segment, device=rows.device).expand(count)
        kind = self.text.segments.weight[kinds][:, None]  # type: ignore[union-attr]
        rows = self.text.dropout(self.text.norm(rows + kind))
        ends = [
            self.text(torch.full_like(kinds, token)[:, None], place, kinds[:, None])
            for token, place in ((c.cls, 0), (c.sep, c.most + 1))
        ]
        real = torch.ones_like(regions.mask[:, :1])
        return torch.cat([ends[0], rows, ends[1]], 1), torch.cat([real, regions.mask, real], 1)

    def encode_image(self, batch: Batch) -> Batch:
        """The state of writing after the regions, once for all texts of a picture: regions never see a text that is written."""
        if batch.encoded is not None:
            return batch
        regions = fusion.each_picture(fusion.one_sequence(batch.required("regions")))
        return replace(batch, encoded=appending.begin(self.stack, *self._context(regions))[1])

    def start(self, batch: Batch) -> appending.AppendState:
        state: appending.AppendState = self.encode_image(batch).encoded
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
        (tokens, mask), state = batch.text(), self.start(batch)
        ends = self._words(torch.full_like(tokens, self.config.mask), 0)
        rows = torch.cat([self._words(tokens[:, 1:], 0), ends], 1)
        visible = appending.every_append(state.real, mask[:, 1:], first=1)[:, :, -rows.shape[1] :]
        rows = appending.read_after(self.stack, rows, state, visible)
        return self.language_head(rows[:, -tokens.shape[1] :], self.text.words.weight)

    def answer_logits(self, batch: Batch) -> Float[Tensor, "B A"]:
        """From the product of the rows of [CLS] and of the [SEP] behind the regions, with all positions seeing all."""
        tokens, mask = batch.text()
        rows, real = self._context(fusion.regions_of(batch), BOTH[0])
        x = torch.cat([rows, self._words(tokens[:, 1:], 0, BOTH[1])], 1)
        x = self.stack(x, padding(torch.cat([real, mask[:, 1:]], 1)))
        return self.answer_head(x[:, 0] * x[:, rows.shape[1] - 1]).float()

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """Masked language modelling, of each text under a mask that is drawn for it; the end may be hidden too. With `labels`
        [B] (below 0 where a text is no question) the answers too; with the scores of a list [B A] the answers alone."""
        if batch.labels is not None and batch.labels.ndim == 2:
            return fusion.answer_losses(self, batch)
        c, generator = self.config, masking_generator(self.training)
        tokens, mask = batch.text()
        both = (torch.rand(len(tokens), generator=generator) < c.both_ways).to(tokens.device)
        picture, text = (torch.where(both, BOTH[part], WRITES[part]) for part in (0, 1))
        rows, real = self._context(fusion.regions_of(batch), picture)
        words, own = tokens[:, 1:], mask[:, 1:]
        masked = mask_some(words, own, c.mask, (c.mask + 1, c.vocabulary), generator, c.masked, c.most_masked)
        seen = torch.where(
            both[:, None, None, None], padding(torch.cat([real, own], 1)), appending.prefix_causal(real, own)
        )
        x = self.stack(torch.cat([rows, self._words(masked.ids, 0, text)], 1), seen)
        scores = self.language_head(x[:, rows.shape[1] :][masked.hidden], self.text.words.weight)
        return {"mlm": masked_loss(scores, words[masked.hidden])} | fusion.answer_losses(self, batch)
