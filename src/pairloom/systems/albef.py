"""ALBEF: Align before Fuse: Vision and Language Representation Learning with Momentum Distillation (Li et al., 2021, arXiv
2107.07651): image and text encoder are aligned by contrast before the upper half of a BERT fuses them, and a slow copy of
the whole model softens the targets of noisy pairs.

Prose, tables and deviations: docs/papers/albef.md.

B texts, I pictures, N pictures of an example, S rows of a picture, T tokens, C width of the image tower, D width of the text
tower, E shared embedding.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from pairloom.abilities import EMBED, MATCH, Ability, Progress
from pairloom.blocks.gather import first_row, gather_pairs, mean_of_all
from pairloom.blocks.transformer import initialise
from pairloom.data.batch import Batch
from pairloom.systems import _albef_towers as parts
from pairloom.systems import _fusion as fusion

FIRST_ID = torch.iinfo(torch.long).min + 1  # of pictures without one; the id below it is the empty queue's


@dataclass(frozen=True)
class Config(parts.AlbefSizes):
    """Pre-training of the released code, at 256 px.

    queue 0 switches the queue off, momentum 0 the teacher and the queue. alpha: weight of the teacher's targets, reached
    over `ramp` epochs. itc, itm, mlm: weights of the losses (0: not computed, and what they teach is not asked).
    """

    image_size: int = 256
    length: int = 25
    embedding: int = 256
    queue: int = 65536
    momentum: float = 0.995
    alpha: float = 0.4
    ramp: float = 1.0
    temperature: float = 0.07
    itc: float = 1.0
    itm: float = 1.0
    mlm: float = 1.0


TINY = Config(**parts.TINY_ALBEF, embedding=16, queue=16, momentum=0.9)
RETRIEVAL = Config(image_size=384, length=30, mlm=0.0)
PRESETS: dict[str, Config] = {"base": Config(), "retrieval": RETRIEVAL, "tiny": TINY}
_RECIPE = dict(schedule="cosine", weight_decay=0.02, clip=0.0)
RECIPES: dict[str, dict[str, object]] = {
    "base": dict(_RECIPE, lr=1e-4, min_lr=1e-5, batch=512, epochs=30, warmup=2000),
    "retrieval": dict(_RECIPE, lr=1e-5, min_lr=1e-6, batch=256, epochs=5, warmup=100),
}


class ForwardPass(NamedTuple):
    """What one pass over a batch gives all losses. tokens, mask, states: of the texts; encoded, owner, ids: the pictures, and that
    of each text; mine, keys: embeddings of pictures and texts, the student's and the teacher's; slow: the teacher's pictures."""

    tokens: Tensor
    mask: Tensor
    states: Tensor
    encoded: parts.PictureRows
    owner: Tensor
    ids: Tensor
    mine: tuple[Tensor, Tensor]
    keys: tuple[Tensor, Tensor]
    slow: parts.PictureRows | None = None


def example(config: Config, generator: torch.Generator) -> Batch:
    """Six random pairs."""
    from pairloom.data.random_batch import random_pairs

    return random_pairs(config, generator)


class System(nn.Module):
    """ALBEF. The momentum teacher, the queue and the count of batches are training state."""

    training_state = ("contrast.", "batches")
    trains_on = ("pairs",)

    def __init__(self, config: Config) -> None:
        super().__init__()
        c = self.config = config
        self.towers = parts.AlbefTowers(c)
        self.match_head = nn.Linear(c.width, 2)
        self.temperature = nn.Parameter(torch.tensor(c.temperature))
        initialise(self)
        self.contrast = None
        if c.momentum:
            from pairloom.blocks.momentum import MomentumContrast

            teacher = parts.AlbefTowers(c)
            self.contrast = MomentumContrast(teacher, c.queue, c.embedding, c.momentum, c.alpha, c.ramp)
            self.contrast.follow(self.towers, 0)
        self.register_buffer("batches", torch.zeros((), dtype=torch.long))
        self.progress = 0.0

    @property
    def abilities(self) -> tuple[Ability, ...]:
        """Those whose loss has a weight."""
        weights = {MATCH: self.config.itm, EMBED: self.config.itc}
        return tuple(ability for ability, weight in weights.items() if weight > 0)

    def begin(self, progress: Progress) -> None:
        """Before each optimiser step: the teacher follows, and the weight of its targets grows."""
        self.progress = progress.epoch
        if self.contrast is not None:
            self.contrast.follow(self.towers, progress.step)

    def encode_image(self, batch: Batch) -> Batch:
        """Encode the pictures [I N 3 X Y], once."""
        if batch.encoded is not None:
            return batch
        return replace(batch, encoded=self.towers.encode(batch.required("images")))

    def embed_image(self, batch: Batch) -> Float[Tensor, "I E"]:
        return self.towers.embed_image(self.encode_image(batch).encoded)

    def embed_text(self, batch: Batch) -> Float[Tensor, "B E"]:
        return self.towers.embed_text(self.towers.text(*self._unended(batch)))

    def match(self, batch: Batch) -> Float[Tensor, " B"]:
        """Log-odds that text and picture belong together."""
        logits = self.match_logits(batch)
        return logits[:, 1] - logits[:, 0]

    def match_logits(self, batch: Batch) -> Float[Tensor, "B 2"]:
        """The two classes of the ITM head; the paper's retrieval ranks by class 1 alone."""
        states, mask = self.encode_texts(batch).encoded_text, self._unended(batch)[1]
        return self._grounded(states, mask, self.encode_image(batch).encoded, fusion.owner_of(batch))

    def encode_texts(self, batch: Batch) -> Batch:
        """The texts through the text encoder, row for row."""
        if batch.encoded_text is not None:
            return batch
        return replace(batch, encoded_text=self.towers.text(*self._unended(batch)))

    def _unended(self, batch: Batch) -> tuple[Int[Tensor, "B T"], Bool[Tensor, "B T"]]:
        """The texts without [SEP], which the released tokenizer does not write after a single text."""
        tokens, mask = batch.text()
        return tokens, mask & (tokens != self.config.sep)

    def _grounded(
        self, states: Tensor, mask: Tensor, encoded: parts.PictureRows, owner: Tensor
    ) -> Float[Tensor, "B 2"]:
        return self.match_head(self.towers.fuse(states, mask, encoded, owner)[:, 0]).float()

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """ITC, ITM and MLM, each times its weight. Without image_ids the pictures of the batch all count as different."""
        with torch.no_grad():
            self.temperature.clamp_(0.001, 0.5)
        read, c = self._read(batch), self.config
        learned = {"itc": (c.itc, self._compare), "itm": (c.itm, self._match), "mlm": (c.mlm, self._words)}
        values = {name: weight * loss(read) for name, (weight, loss) in learned.items() if weight}
        self.batches += self.training
        return values

    def _read(self, batch: Batch) -> ForwardPass:
        encoded, owner = self.encode_image(batch).encoded, fusion.owner_of(batch)
        tokens, mask = self._unended(batch)
        states = self.towers.text(tokens, mask)
        mine = self.towers.embed_image(encoded)[owner], self.towers.embed_text(states)
        ids = batch.image_ids
        if ids is None:
            ids = FIRST_ID + (self.batches << 24) + first_row(len(encoded.rows)) + owner
        if self.contrast is None:
            return ForwardPass(tokens, mask, states, encoded, owner, ids, mine, mine)
        teacher = self.contrast.teacher
        with torch.no_grad():
            slow = teacher.encode(batch.required("images"))
            keys = teacher.embed_image(slow)[owner], teacher.embed_text(teacher.text(tokens, mask))
        return ForwardPass(tokens, mask, states, encoded, owner, ids, mine, keys, slow)

    @property
    def _alpha(self) -> float:
        return self.contrast.weight(self.progress) if self.contrast is not None else 0.0

    def _compare(self, read: ForwardPass) -> Tensor:
        """ITC: the student's rows against the keys of all processes, then the queue's; targets softened by the teacher."""
        from pairloom.objectives.contrast import symmetric_contrast

        new = gather_pairs(*read.keys, read.ids)
        candidates = new if self.contrast is None else self.contrast.candidates(new)
        loss = symmetric_contrast(*read.mine, read.ids, candidates, self.temperature, read.keys, self._alpha)
        if self.contrast is not None and self.training:
            self.contrast.push(new)
        return loss

    def _match(self, read: ForwardPass) -> Tensor:
        """ITM: each pair, its text with a wrong picture, its picture with a wrong text, from this process's batch. Wrong ones are
        drawn by how similar the student's row is to the teacher's key."""
        from pairloom.objectives.match import hard_pairs, match_loss

        ids, owner = read.ids, read.owner
        wrong_text, wrong_image, available = hard_pairs(
            *read.mine, ids, self.temperature, int(self.batches), read.keys
        )
        own = torch.arange(len(ids), device=ids.device)
        texts = torch.cat([own, own, wrong_text])
        pictures = torch.cat([owner, owner[wrong_image], owner])
        logits = self._grounded(read.states[texts], read.mask[texts], read.encoded, pictures)
        right = torch.ones_like(available)
        together = torch.cat([right, ~right, ~right]).long()
        return mean_of_all(*match_loss(logits, together, torch.cat([right, available, available])))

    def _words(self, read: ForwardPass) -> Tensor:
        """MLM: the teacher reads the same hidden words, and its own picture."""
        from pairloom.objectives.distilled import distilled_loss
        from pairloom.objectives.masked import mask_words, masking_generator

        masked = mask_words(read.tokens, read.mask, self.config, masking_generator(self.training))
        scores = self.towers.words(masked, read.mask, read.encoded, read.owner)
        soft = scores.detach()
        if self.contrast is not None and self._alpha:
            with torch.no_grad():
                soft = self.contrast.teacher.words(masked, read.mask, read.slow, read.owner)
        return distilled_loss(scores, read.tokens[masked.hidden], soft, self._alpha)
