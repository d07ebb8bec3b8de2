"""BLIP for visual dialog (Li et al., 2022, arXiv 2201.12086, section 5.5): a binary classifier of whether an answer is the
right one after this picture, caption and dialog. The encoder reads the dialog with the answer, and its cross-attention
reads picture and caption together.

Prose, tables and deviations: docs/papers/blip.md.

`texts` are the dialog so far with an answer at its end, `image_of` the picture of each; `caption` [I L] the caption of each
picture (left out: the picture alone); `labels` [B] 1 where the answer is the right one. All answers to a question read the
same cross-attention keys and values.

B dialogs with an answer, I pictures, N pictures of an example, L tokens of a caption, T tokens, S rows of a picture.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from pairloom.abilities import Ability
from pairloom.blocks.cross import CrossKeyValues
from pairloom.blocks.gather import mean_of_all
from pairloom.blocks.text import READ, begin_with
from pairloom.blocks.transformer import initialise
from pairloom.data.batch import Batch
from pairloom.systems import _blip_tasks as tasks


@dataclass(frozen=True)
class Config(tasks.Grounded):
    """384 px, as the paper says. length: most tokens of a dialog, whose oldest tokens are left out where there are more (ours:
    the paper gives no length). Caption and picture are read as one sequence, so both towers have the same width."""

    length: int = 256
    caption_length: int = 40

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.width != self.image_width:
            raise ValueError(f"width {self.width} and image_width {self.image_width} must be equal")


TINY = Config(
    image_size=32, patch=8, image_width=32, image_depth=2, image_heads=2, vocabulary=64, length=24, positions=32,
    width=32, depth=2, heads=2, dropout=0.0, cls=2, sep=3, dec=62, enc=63, caption_length=12,
)  # fmt: skip
PRESETS: dict[str, Config] = {"base": Config(), "tiny": TINY}
_FINE = dict(warmup=0, min_lr=0.0, schedule="cosine", weight_decay=0.05, decay_all=True, clip=0.0)
RECIPES: dict[str, dict[str, object]] = {"base": dict(_FINE, batch=240, lr=2e-5, epochs=20)}
CLEAN = ""  # no code was released


def example(config: Config, generator: torch.Generator) -> Batch:
    """Six random dialogs about captioned pictures."""
    from pairloom.data.random_batch import random_pairs, random_texts

    batch = random_pairs(config, generator)
    return replace(batch, caption=random_texts(config, generator), labels=torch.arange(len(batch)) % 2)


class System(nn.Module):
    """BLIP for dialogs."""

    abilities = (Ability("dialog", reads="dialog", by="match head"),)
    trains_on = ("dialogs",)

    def __init__(self, config: Config) -> None:
        super().__init__()
        c = self.config = config
        self.image = c.image_tower()
        self.text = c.text_tower(c.image_width)
        self.match_head = nn.Linear(c.width, 2)
        initialise(self)

    def encode_image(self, batch: Batch) -> Batch:
        """Encode pictures and captions, once: `encoded` is the cross-attention keys and values of each picture [I]."""
        if batch.encoded is not None:
            return batch
        rows = tasks.look(self.image, batch.required("images")).flatten(1, 2)
        mask = torch.ones(rows.shape[:2], dtype=torch.bool, device=rows.device)
        caption = batch.caption
        if caption is not None:
            rows = torch.cat([rows, self.text(caption.ids, caption.mask)], 1)
            mask = torch.cat([mask, caption.mask], 1)
        memory: CrossKeyValues = self.text.stack.project(rows, None if caption is None else mask)
        return replace(batch, encoded=memory)

    def match(self, batch: Batch) -> Float[Tensor, " B"]:
        """Log-odds that the answer is the right one."""
        logits = self.verdict(batch)
        return logits[:, 1] - logits[:, 0]

    def verdict(self, batch: Batch) -> Float[Tensor, "B 2"]:
        """The two classes: wrong, right."""
        tokens, mask = batch.text()
        memory = self.encode_image(batch).encoded
        if batch.image_of is not None:
            memory = memory.read_by(batch.image_of)
        return self.match_head(self.text(begin_with(self.config.enc, tokens), mask, memory)[:, 0]).float()

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """Cross-entropy of the two classes."""
        total = F.cross_entropy(self.verdict(batch), batch.required("labels"), reduction="sum")
        return {"right": mean_of_all(total, torch.tensor(float(len(batch)), device=total.device))}


def from_blip(theirs: Mapping[str, Tensor], config: Config) -> dict[str, Tensor]:
    """Initial weights from a pre-trained blip, under the names of this system: the image tower and the encoder of its
    matching."""
    return {
        **tasks.renamed(theirs, "towers.image.", "image."),
        **tasks.renamed(theirs, "match_head.", "match_head."),
        **tasks.renamed(tasks.one_mode(tasks.renamed(theirs, "towers.text.", ""), READ), "", "text."),
    }


STARTS, INHERITS = {"blip": from_blip}, tasks.SIZES
