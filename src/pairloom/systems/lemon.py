"""LEMON: Scaling Up Vision-Language Pre-training for Image Captioning (Hu et al., 2021, arXiv 2111.12233): VinVL's captioner,
learned from noisy alt texts by one loss: masked words of a caption that sees the picture and what came before.

Prose, tables and deviations: docs/papers/lemon.md.

B texts, I pictures, N pictures of an example, R regions of all of them, F features, G tags, S context positions, T tokens, D width.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from pairloom.abilities import CAPTION
from pairloom.blocks import mask_append as appending
from pairloom.blocks.embed import TextEmbed
from pairloom.blocks.language import LanguageHead
from pairloom.blocks.transformer import Stack, initialise
from pairloom.data.batch import Batch
from pairloom.objectives.masked import masking_generator
from pairloom.objectives.masked_count import mask_some
from pairloom.systems import _fusion as fusion
from pairloom.systems import _mask_writer as writer

if TYPE_CHECKING:
    from pairloom.data.feed import RegionFeed


@dataclass(frozen=True)
class Config(fusion.BertSizes):
    """LEMON base: BERT base on VinVL's 50 regions of 2,048 features and 6 numbers of the box.

    length: most tokens of a caption; tags, where a picture has some, begin at the position after them. most_masked: words of a
    caption that are hidden at most. label_smoothing: of the hidden words' targets.
    """

    length: int = 40
    features: int = 2048
    most_masked: int = 3
    label_smoothing: float = 0.1


TINY = Config(**fusion.TINY_BERT | {"positions": 32}, features=24, label_smoothing=0.0)
SIZES = {
    "tiny6": (6, 256, 4), "tiny12": (12, 256, 4), "small12": (12, 384, 6), "small24": (24, 384, 6), "base": (12, 768, 12),
    "base24": (24, 768, 12), "large": (24, 1024, 16), "huge": (32, 1280, 16),
}  # fmt: skip
PRESETS: dict[str, Config] = {
    **{name: Config(depth=depth, width=width, heads=heads) for name, (depth, width, heads) in SIZES.items()},
    "tiny": TINY,
}
RECIPES: dict[str, dict[str, object]] = {
    "base": dict(lr=3e-5, batch=512, epochs=60, schedule="linear", weight_decay=0.05, clip=1.0),
}


def feed(config: Config) -> RegionFeed:
    """The 50 surest regions of a picture."""
    from pairloom.data.feed import RegionFeed

    return RegionFeed(config.features, 50)


def example(config: Config, generator: torch.Generator) -> Batch:
    """Six captions with random regions and tags, which stand in the field of what is known of a picture beside its texts."""
    from pairloom.data.random_batch import random_regions, random_texts

    batch = random_regions(config, generator, classes=0)
    return replace(batch, caption=random_texts(config, generator))


class System(writer.MaskWriter):
    """LEMON. Tags and regions see each other, never a caption."""

    abilities = (CAPTION,)
    trains_on = ("pairs",)

    def __init__(self, config: Config) -> None:
        super().__init__()
        c = self.config = config
        self.first_token, self.last_token = c.cls, c.sep
        self.text = TextEmbed(c.vocabulary, c.positions, c.width, 1e-12, c.dropout, segments=2)
        self.regions = nn.Sequential(
            nn.Linear(c.features + 6, c.width), nn.LayerNorm(c.width, eps=1e-12), nn.Dropout(c.dropout)
        )
        self.stack = Stack(c.layers())
        self.language_head = LanguageHead(c.width, c.vocabulary, 1e-12)
        initialise(self)

    def context(self, batch: Batch) -> tuple[Float[Tensor, "I S D"], Bool[Tensor, "I S"]]:
        """What a caption sees: the tags of each picture (`caption` of the batch), if it has some, and its regions."""
        regions = fusion.each_picture(fusion.one_sequence(batch.required("regions")))
        sides = regions.boxes[..., 2:] - regions.boxes[..., :2]
        rows = self.regions(torch.cat([regions.features, regions.boxes, sides], -1))
        if batch.caption is None:
            return rows, regions.mask
        tags, mask = batch.caption.ids[:, 1:], batch.caption.mask[:, 1:]
        words = self.text(tags, self.config.length, torch.ones_like(tags))
        return torch.cat([words, rows], 1), torch.cat([mask, regions.mask], 1)

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """Masked language modelling under the sequence-to-sequence mask: a hidden word, or the end, is predicted from the picture and
        the words before it."""
        (tokens, mask), state, c = batch.text(), self.start(batch), self.config
        masked = mask_some(
            tokens, mask & (tokens != c.cls), c.mask, (c.mask + 1, c.vocabulary), masking_generator(self.training),
            c.masked, c.most_masked,
        )  # fmt: skip
        visible = appending.prefix_causal(state.real, mask)[:, :, -tokens.shape[1] :]
        rows = appending.read_after(self.stack, self.text(masked.ids), state, visible)
        loss = F.cross_entropy(
            self.token_scores(rows[masked.hidden]).float(),
            tokens[masked.hidden],
            label_smoothing=c.label_smoothing,
        )
        return {"mlm": loss}
