"""BLIP: Bootstrapping Language-Image Pre-training for Unified Vision-Language Understanding and Generation (Li et al.,
2022, arXiv 2201.12086): one text transformer is encoder, image-grounded encoder and image-grounded decoder, so that one
model can judge pairs and write new texts.

Prose, tables and deviations: docs/papers/blip.md.

B texts, I pictures, N pictures per row, S rows of a picture, T tokens, C width of the image tower, D width of the text
tower, E shared embedding, V vocabulary.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, Literal

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from pairloom.abilities import CAPTION, EMBED, MATCH, Ability, Progress
from pairloom.blocks.cache import Cache
from pairloom.blocks.cross import CrossKeyValues
from pairloom.blocks.gather import (
    first_row,
    gather_pairs,
    gather_rows,
    gather_texts,
    mean_of_all,
    processes,
)
from pairloom.blocks.language import LanguageHead
from pairloom.blocks.patch_embed import Stem
from pairloom.blocks.text import READ, WRITE, TextTransformer, begin_with
from pairloom.blocks.transformer import ModeSharing, TransformerConfig, for_mode, initialise
from pairloom.blocks.vision import VisionTower
from pairloom.data.batch import Batch
from pairloom.objectives.contrast import symmetric_contrast
from pairloom.objectives.language import caption_loss
from pairloom.objectives.match import hard_pairs, match_loss

FIRST_ID = torch.iinfo(torch.long).min + 1  # of pictures without one; the id below it is the empty queue's
Sharing = Literal["all", "all but cross-attention", "all but self-attention", "none"]
# Table 3: what of the text tower encoder and decoder have one of (1) or each their own (2); first the embedding
TABLE_3: dict[Sharing, tuple[int, ModeSharing]] = {
    "all": (1, ModeSharing(attend=1, cross=1, feed=1)),
    "all but cross-attention": (1, ModeSharing(attend=1, cross=2, feed=1)),
    "all but self-attention": (1, ModeSharing(attend=2, cross=1, feed=1)),
    "none": (2, ModeSharing(attend=2, cross=2, feed=2)),
}


@dataclass(frozen=True)
class Config:
    """BLIP base in pre-training (section 4.1 and the released code).

    length: tokens that a text may have; positions: of the learned table. queue 0 switches the queue off, momentum 0
    the teacher and the queue: contrast then looks at the batch alone. alpha: weight of the teacher's targets, reached
    over `ramp` epochs. negatives: of the match, from this process's batch or from all "ranks". itc, itm, lm: weights of
    the losses (0: not computed). contrast_first: epochs with ITC alone. prompt_text: words before every text that
    are not learned: `prompt` tokens, prompt_ids.
    stem "conv" and "residual" are ours, not the paper's, and so is bag: the mean word joins the [CLS] row before the
    projection of the unimodal encoder, for sets too small to train a text tower (docs/log.md). The weights say what a
    model can be asked, too: a published captioner has itc 0 and itm 0, and is not asked to match.
    """

    image_size: int = 224
    patch: int = 16
    image_width: int = 768
    image_depth: int = 12
    image_heads: int = 12
    drop_path: float = 0.0
    stem: Stem = "patch"
    vocabulary: int = 30524
    length: int = 30
    positions: int = 512
    width: int = 768
    depth: int = 12
    heads: int = 12
    dropout: float = 0.1
    embedding: int = 256
    pad: int = 0
    cls: int = 101
    sep: int = 102
    dec: int = 30522
    enc: int = 30523
    sharing: Sharing = "all but self-attention"
    queue: int = 57600
    momentum: float = 0.995
    alpha: float = 0.4
    ramp: float = 2.0
    temperature: float = 0.07
    negatives: Literal["batch", "ranks"] = "batch"
    label_smoothing: float = 0.1
    itc: float = 1.0
    itm: float = 1.0
    lm: float = 1.0
    contrast_first: float = 0.0
    prompt: int = 0
    prompt_text: str = ""
    prompt_ids: tuple[int, ...] = ()
    bag: bool = False


LARGE = Config(image_width=1024, image_depth=24, image_heads=16, drop_path=0.1)
TINY = Config(
    image_size=32, patch=8, image_width=32, image_depth=2, image_heads=2, vocabulary=64, length=12, positions=16,
    width=32, depth=2, heads=2, dropout=0.0, embedding=16, cls=2, sep=3, dec=62, enc=63, queue=16,
)  # fmt: skip
CLEAN = "blip"  # how texts are cleaned: the released pre_caption
CAPTIONS = dict(prompt_text="a picture of", prompt=3)
MEANT = {"prompt": {"prompt_text": "a picture of"}}  # a setting of earlier versions -> what it meant
# fine-tuning: retrieval (CapFilt's filter) with ITC and ITM, captioning (its captioner) with LM after "a picture of"
FINE: dict[str, dict[str, Any]] = {
    "retrieval": dict(image_size=384, length=35, ramp=1.0, negatives="ranks", lm=0.0),
    "caption": dict(image_size=384, length=40, queue=0, momentum=0.0, itc=0.0, itm=0.0, **CAPTIONS),
}
# a small text tower to stand on a frozen image tower, for sets of a few thousand photos; ours, not the paper's
ON_TOWER = Config(
    image_depth=0, image_width=256, width=192, depth=2, heads=4, dropout=0.3, length=32, positions=40, embedding=128, queue=0,
    momentum=0.0, itm=0.0, bag=True,
)  # fmt: skip
PRESETS: dict[str, Config] = {
    "base": Config(),
    "large": LARGE,
    "tiny": TINY,
    "tower": ON_TOWER,
    "tower-caption": replace(ON_TOWER, itc=0.0, bag=False),
    **{
        f"{size}-{task}": replace(config, **fine)
        for size, config in (("base", Config()), ("large", LARGE))
        for task, fine in FINE.items()
    },
    **{f"base-sharing-{name}".replace(" ", "-"): replace(Config(), sharing=name) for name in TABLE_3},
}
_PRETRAIN = dict(
    epochs=20, warmup=3000, min_lr=1e-6, schedule="exponential", weight_decay=0.05, decay_all=True, clip=0.0
)
_FINE = dict(batch=256, warmup=0, min_lr=0.0, schedule="cosine", weight_decay=0.05, decay_all=True, clip=0.0)
RECIPES: dict[str, dict[str, object]] = {  # the paper's text; its code decays by .9
    "base": dict(_PRETRAIN, lr=3e-4, batch=2880, decay=0.85),
    "large": dict(_PRETRAIN, lr=2e-4, batch=2400, decay=0.85),
    "base-retrieval": dict(_FINE, lr=1e-5, epochs=6),
    "large-retrieval": dict(_FINE, lr=5e-6, epochs=6),
    "base-caption": dict(_FINE, lr=1e-5, epochs=5),
    "large-caption": dict(_FINE, lr=2e-6, epochs=5),
    "tower-caption": dict(
        lr=1e-3, batch=32, steps=2000, warmup=0.1, betas=(0.9, 0.98), ema=0.99, weight_decay=0.05
    ),
}


@dataclass
class ImageRows:
    """What `see` makes of pictures: their rows [I N S C], and the memories that the text tower reads, each made once."""

    rows: Tensor
    memories: dict[int, CrossKeyValues] = field(default_factory=dict)


class Towers(nn.Module):
    """Image tower, text tower and their projections into one space: what the teacher is a slow copy of."""

    def __init__(self, c: Config, embeds: int = 1, sharing: ModeSharing = ModeSharing()) -> None:
        super().__init__()
        shape = TransformerConfig(c.image_width, c.image_depth, c.image_heads, "pre", 1e-6, path=c.drop_path)
        self.image = VisionTower(shape, c.image_size, c.patch, c.stem)
        shape = TransformerConfig(c.width, c.depth, c.heads, "post", 1e-12, c.dropout, context=c.image_width)
        self.text = TextTransformer(shape, c.vocabulary, c.positions, embeds, sharing)
        self.image_projection = nn.Linear(c.image_width, c.embedding)
        self.text_projection = nn.Linear(c.width, c.embedding)
        self.bag = None
        if c.bag:
            from pairloom.blocks.bag_of_words import BagOfWords

            self.bag = BagOfWords(c.width, 1e-12, c.dropout)

    def look(self, images: Float[Tensor, "I N ..."]) -> Float[Tensor, "I N S C"]:
        return self.image(images.flatten(0, 1)).unflatten(0, images.shape[:2])

    def embed_image(self, rows: Float[Tensor, "I N S C"]) -> Float[Tensor, "I E"]:
        """From the class row of each picture, averaged over N (as for the frames of a video, section 5.6)."""
        return F.normalize(self.image_projection(rows[:, :, 0]).mean(1), dim=-1)

    def embed_text(self, tokens: Int[Tensor, "B T"], mask: Bool[Tensor, "B T"]) -> Float[Tensor, "B E"]:
        """From the [CLS] row of the unimodal encoder, with the bag where there is one."""
        row = self.text.first(tokens, mask)
        if self.bag is not None:
            row = row + self.bag(for_mode(self.text.embed, READ).words.weight, tokens, mask)
        return F.normalize(self.text_projection(row), dim=-1)


def example(config: Config, generator: torch.Generator) -> Batch:
    """Six random pairs."""
    from pairloom.data.random_batch import random_pairs

    return random_pairs(config, generator)


class System(nn.Module):
    """BLIP. The momentum teacher, the queue and the count of batches are training state."""

    training_state = ("contrast.", "batches")
    trains_on = ("pairs",)
    image_network = ("rows", "towers.image", "contrast.teacher.image")

    def __init__(self, config: Config) -> None:
        super().__init__()
        c = self.config = config
        self.first_token, self.last_token = c.dec, c.sep
        self.towers = Towers(c, *TABLE_3[c.sharing])
        self.head = LanguageHead(c.width, c.vocabulary, 1e-12)
        self.match_head = nn.Linear(c.width, 2)
        self.temperature = nn.Parameter(torch.tensor(c.temperature))
        initialise(self)
        self.contrast = None
        if c.momentum:
            from pairloom.blocks.momentum import MomentumContrast

            teacher = Towers(c)
            self.contrast = MomentumContrast(teacher, c.queue, c.embedding, c.momentum, c.alpha, c.ramp)
            self.contrast.follow(self.towers, 0)
        self.register_buffer("batches", torch.zeros((), dtype=torch.long))
        self.progress = 0.0

    @property
    def abilities(self) -> tuple[Ability, ...]:
        """Those whose loss has a weight."""
        weights = {MATCH: self.config.itm, EMBED: self.config.itc, CAPTION: self.config.lm}
        return tuple(ability for ability, weight in weights.items() if weight > 0)

    def begin(self, progress: Progress) -> None:
        """Before each optimiser step: the teacher follows, and the weight of its targets grows."""
        self.progress = progress.epoch
        if self.contrast is not None:
            self.contrast.follow(self.towers, progress.step)

    # looking, embedding, matching

    def encode_image(self, batch: Batch) -> Batch:
        """Encode the pictures [I N 3 X Y], once. Cross-attention memories follow when somebody reads them, once."""
        if batch.encoded is not None:
            return batch
        return replace(batch, encoded=ImageRows(self.towers.look(batch.required("images"))))

    def embed_image(self, batch: Batch) -> Float[Tensor, "I E"]:
        return self.towers.embed_image(self.encode_image(batch).encoded.rows)

    def embed_text(self, batch: Batch) -> Float[Tensor, "B E"]:
        return self.towers.embed_text(*batch.text())

    def match(self, batch: Batch) -> Float[Tensor, " B"]:
        """Log-odds that text and picture belong together; several texts of a picture (image_of) read it uncopied."""
        return self.match_logits(batch) @ torch.tensor([-1.0, 1.0], device=self.batches.device)

    def match_logits(self, batch: Batch) -> Float[Tensor, "B 2"]:
        """The two classes of the ITM head; the paper's retrieval adds class 1 to the cosine."""
        encoded = self.encode_image(batch).encoded
        return self._ground(*batch.text(), self._memory(encoded, READ, batch.image_of))

    def _ground(self, tokens: Tensor, mask: Tensor, memory: CrossKeyValues) -> Tensor:
        ids = begin_with(self.config.enc, tokens)
        return self.match_head(self.towers.text.first(ids, mask, memory)).float()

    def _memory(self, encoded: ImageRows, mode: int, owner: Tensor | None = None) -> CrossKeyValues:
        stack = self.towers.text.stack
        key = mode % len(stack.layers[0].cross)  # one projection serves both ways where they share it
        if key not in encoded.memories:
            encoded.memories[key] = stack.project(encoded.rows.flatten(1, 2), mode=mode)
        return encoded.memories[key] if owner is None else encoded.memories[key].narrowed_to(owner)

    # writing

    def start(self, batch: Batch) -> Cache:
        encoded, owner = self.encode_image(batch).encoded, batch.image_of
        if owner is None:
            owner = torch.arange(len(encoded.rows), device=encoded.rows.device)
        return Cache(self._memory(encoded, WRITE).read_by(owner), owner)

    def step(self, state: Cache, tokens: Int[Tensor, " B"]) -> tuple[Float[Tensor, "B V"], Cache]:
        text = self.towers.text
        x, past = text.step(tokens, state.position, state.past, state.context)
        return self.head(x, text.words), replace(state, past=past, position=state.position + 1)

    def logits(self, batch: Batch) -> Float[Tensor, "B T V"]:
        memory = self._memory(self.encode_image(batch).encoded, WRITE, batch.image_of)
        return self.head(self._decode(*batch.text(), memory), self.towers.text.words)

    def _decode(self, tokens: Tensor, mask: Tensor, memory: CrossKeyValues) -> Tensor:
        return self.towers.text(begin_with(self.config.dec, tokens), mask, memory, WRITE)

    # learning

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """ITC, ITM and LM, each times its weight. Without image_ids the pictures of the batch all count as different."""
        c, batch = self.config, self._named(self.encode_image(batch))
        if c.itc or c.itm:
            image, text = self.embed_image(batch), self.embed_text(batch)
        values = self.compare(batch, image, text) if c.itc else {}
        if c.itm and self.progress >= c.contrast_first:
            values["itm"] = c.itm * self._match(batch, image[batch.image_of].detach(), text.detach())
        if c.lm and self.progress >= c.contrast_first:
            values["lm"] = c.lm * self._caption(batch)
        self.batches += self.training
        return values

    def _named(self, batch: Batch) -> Batch:
        """With the picture of each text, and numbers for pictures that have none."""
        with torch.no_grad():
            self.temperature.clamp_(0.001, 0.5)
        if batch.image_of is None:
            batch = replace(batch, image_of=torch.arange(len(batch), device=self.temperature.device))
        if batch.image_ids is None:  # numbers of their own, that no other batch has
            pictures = batch.required("images") if batch.encoded is None else batch.encoded.rows
            nameless = FIRST_ID + (self.batches << 24) + first_row(len(pictures))
            batch = replace(batch, image_ids=nameless + batch.image_of)
        return batch

    @property
    def compares(self) -> bool:
        """Whether contrast is all there is to learn from, without a teacher."""
        return self.config.itc > 0 == self.config.itm == self.config.lm == self.config.momentum

    def compare(
        self, batch: Batch, image: Float[Tensor, "I E"], text: Float[Tensor, "B E"]
    ) -> dict[str, Tensor]:
        """ITC: the student's rows against everybody's columns: the teacher's of all processes, then the queue's."""
        batch = self._named(batch)
        image = image[batch.image_of]
        if self.contrast is None:
            everybody = gather_pairs(image, text, batch.image_ids)
            loss = symmetric_contrast(image, text, batch.image_ids, everybody, self.temperature)
            return {"itc": self.config.itc * loss}
        teacher = self.contrast.teacher
        with torch.no_grad():
            slow_image = teacher.embed_image(teacher.look(batch.required("images")))[batch.image_of]
            slow = slow_image, teacher.embed_text(*batch.text())
        new = gather_pairs(*slow, batch.image_ids)
        candidates, alpha = self.contrast.candidates(new), self.contrast.weight(self.progress)
        loss = symmetric_contrast(image, text, batch.image_ids, candidates, self.temperature, slow, alpha)
        if self.training:
            self.contrast.push(new)
        return {"itc": self.config.itc * loss}

    def _match(self, batch: Batch, image: Tensor, text: Tensor) -> Tensor:
        """Each pair, its picture with a wrong text, its text with a wrong picture; wrong ones drawn where they are hard.

        The draw is seeded by the batch's number, over the rows of all processes: any number of them draws the same.
        """
        tokens, mask = batch.text()
        owner, ids = batch.required("image_of"), batch.required("image_ids")
        wide, first = self.config.negatives == "ranks" and processes() > 1, 0
        if wide:
            image, text, ids = gather_rows(image), gather_rows(text), gather_rows(ids)
            tokens, mask = gather_texts(tokens), gather_texts(mask.long()).bool()
            first = first_row(len(owner))
        mine = torch.arange(first, first + len(owner), device=owner.device)
        drawn = hard_pairs(image, text, ids, self.temperature, int(self.batches))
        wrong_text, wrong_image, exists = (rows[mine] for rows in drawn)
        own = self._memory(batch.encoded, READ, torch.cat([owner, owner]))
        if wide:
            rows = gather_rows(batch.encoded.rows[owner])[wrong_image]
            other = self.towers.text.stack.project(rows.flatten(1, 2))
        else:
            other = self._memory(batch.encoded, READ).select(owner[wrong_image])
        both = torch.cat([mine, wrong_text])
        right = self._ground(tokens[both], mask[both], own)
        logits = torch.cat([right, self._ground(tokens[mine], mask[mine], other)])
        together = torch.arange(len(logits), device=logits.device) < len(owner)
        return mean_of_all(
            *match_loss(logits, together.long(), torch.cat([torch.ones_like(exists), exists, exists]))
        )

    def _caption(self, batch: Batch) -> Tensor:
        """The next token, where there is one and it is not part of the prompt."""
        tokens, mask = batch.text()
        hidden = self._decode(tokens, mask, self._memory(batch.encoded, WRITE, batch.image_of))
        targets = mask[:, 1:].clone()
        targets[:, : self.config.prompt] = False
        # the head runs only where it counts: nothing is wider than the vocabulary
        scores = self.head(hidden[:, :-1][targets], self.towers.text.words)
        return mean_of_all(*caption_loss(scores, tokens[:, 1:][targets], self.config.label_smoothing))
