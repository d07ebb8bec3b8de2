"""VLP: Unified Vision-Language Pre-Training for Image Captioning and VQA (Zhou et al., 2019, arXiv 1909.11059): one transformer
over regions and words that understands under one attention mask and writes under another.

Prose, tables and deviations: docs/papers/vlp.md.

B texts, I pictures, N pictures of an example, R regions of all of them, F features, K classes of the detector, S context positions,
T tokens, D width, A answers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from pairloom.abilities import CAPTION
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
from pairloom.systems import _listed_answers as listed
from pairloom.systems import _mask_writer as writer

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


class System(writer.MaskWriter, listed.ListedAnswers):
    """VLP. A row is [CLS] regions [SEP] text [SEP]."""

    before, others = 1, (CAPTION,)

    def __init__(self, config: Config) -> None:
        super().__init__()
        c = self.config = config
        self.first_token, self.last_token = c.cls, c.sep
        self.text = TextEmbed(c.vocabulary, c.positions, c.width, EPS, c.dropout, segments=6)
        self.regions = ClassedRegionEmbed(c.features, c.classes, c.width, c.dropout)
        self.stack = Stack(c.layers()._replace(eps=EPS))
        self.language_head = LanguageHead(c.width, c.vocabulary, EPS)
        if c.answers:
            self.answer_head = nn.Sequential(
                nn.Linear(c.width, 2 * c.width), nn.ReLU(), nn.Linear(2 * c.width, c.answers)
            )
        initialise(self)

    def written_rows(
        self, ids: Int[Tensor, "B T"], first: int, kinds: Tensor | int = WRITES[1]
    ) -> Float[Tensor, "B T D"]:
        """kinds: the segment of each text."""
        kinds = torch.as_tensor(kinds, device=ids.device).reshape(-1, 1).expand_as(ids)
        return self.text(ids, self.config.most + 2 + first, kinds)

    def context(self, batch: Batch) -> tuple[Float[Tensor, "I S D"], Bool[Tensor, "I S"]]:
        return self._pictures(fusion.each_picture(fusion.one_sequence(batch.required("regions"))))

    def _pictures(
        self, regions: Regions, kinds: Tensor | int = WRITES[0]
    ) -> tuple[Float[Tensor, "I S D"], Bool[Tensor, "I S"]]:
        """[CLS] regions [SEP]. kinds: the segment of each picture."""
        c = self.config
        if regions.class_probabilities is None:
            raise Mistake(
                "VLP reads the detector's class probabilities.",
                "These regions have none, or those of another detector.",
                "Run a detector, and give its classes with the regions.",
            )
        rows = self.regions(regions.features, regions.boxes, regions.class_probabilities, regions.mask)
        kinds = torch.as_tensor(kinds, device=rows.device).expand(len(rows))[:, None]
        rows = self.text.dropout(self.text.norm(rows + self.text.segments(kinds)))  # type: ignore[misc]
        first = self.text(torch.full_like(kinds, c.cls), 0, kinds)
        last = self.text(torch.full_like(kinds, c.sep), c.most + 1, kinds)
        real = torch.ones_like(regions.mask[:, :1])
        return torch.cat([first, rows, last], 1), torch.cat([real, regions.mask, real], 1)

    def answer_logits(self, batch: Batch) -> Float[Tensor, "B A"]:
        """From the product of the rows of [CLS] and of the [SEP] behind the regions, with all positions seeing all."""
        tokens, mask = batch.text()
        rows, real = self._pictures(fusion.regions_of(batch), BOTH[0])
        x = torch.cat([rows, self.written_rows(tokens[:, 1:], 0, BOTH[1])], 1)
        x = self.stack(x, padding(torch.cat([real, mask[:, 1:]], 1)))
        return self.answer_head(x[:, 0] * x[:, rows.shape[1] - 1]).float()

    def pair_losses(self, batch: Batch) -> dict[str, Tensor]:
        """Masked language modelling, of each text under a mask that is drawn for it; the end may be hidden too."""
        c, generator = self.config, masking_generator(self.training)
        tokens, mask = batch.text()
        both = (torch.rand(len(tokens), generator=generator) < c.both_ways).to(tokens.device)
        picture, text = (torch.where(both, BOTH[part], WRITES[part]) for part in (0, 1))
        rows, real = self._pictures(fusion.regions_of(batch), picture)
        words, own = tokens[:, 1:], mask[:, 1:]
        masked = mask_some(words, own, c.mask, (c.mask + 1, c.vocabulary), generator, c.masked, c.most_masked)
        seen = torch.where(
            both[:, None, None, None], padding(torch.cat([real, own], 1)), appending.prefix_causal(real, own)
        )
        x = self.stack(torch.cat([rows, self.written_rows(masked.ids, 0, text)], 1), seen)
        scores = self.token_scores(x[:, rows.shape[1] :][masked.hidden])
        return {"mlm": masked_loss(scores, words[masked.hidden])}
