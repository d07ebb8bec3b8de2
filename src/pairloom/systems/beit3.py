"""BEiT-3: Image as a Foreign Language: BEiT Pretraining for All Vision and Vision-Language Tasks (Wang et al., 2022, arXiv
2208.10442): one transformer with an expert for each modality learns pictures, texts and pairs by one objective: what is hidden.

Prose, tables and deviations: docs/papers/beit3.md.

B texts, I pictures, N of an example, P patches, S rows of N pictures, T tokens, D width, E shared embedding, V vocabulary.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from pairloom.abilities import CAPTION, EMBED, Ability
from pairloom.blocks import mask_append as appending
from pairloom.blocks.codebook_configs import CodebookConfig
from pairloom.blocks.masks import padding
from pairloom.blocks.transformer import Stack, initialise
from pairloom.data.batch import Batch
from pairloom.systems import _beit3_encoder as encoder
from pairloom.systems import _fusion as fusion
from pairloom.systems import _mask_writer as writer


@dataclass(frozen=True)
class Config(encoder.MultiwaySizes):
    """The released base.

    codes: how many a hidden patch may have; codebook: what gives them (None: they are the batch's). masked, pair_masked, caption_masked: share of hidden words of a text alone, of a
    pair's, of a caption to write; patches_masked: of the patches. data, itc, caption: weights (0: not learned, not asked).
    """

    codes: int = 8192
    codebook: CodebookConfig | None = None
    embedding: int = 768
    masked: float = 0.15
    pair_masked: float = 0.5
    caption_masked: float = 0.7
    patches_masked: float = 0.4
    label_smoothing: float = 0.1
    data: float = 1.0
    itc: float = 0.0
    caption: float = 0.0


TINY = Config(
    **encoder.TINY_MULTIWAY,
    codes=16,
    shared=True,
    joint=1,
    embedding=16,
    label_smoothing=0.0,
    itc=1.0,
    caption=1.0,
)
BASE, LARGE = Config(), Config(width=1024, depth=24, heads=16, embedding=1024)
PRESETS: dict[str, Config] = {
    "base": BASE, "large": LARGE,
    "giant": Config(patch=14, width=1408, depth=40, heads=16, growth=6144 / 1408, shared=True, joint=3, embedding=1408),
    "base-retrieval": replace(BASE, image_size=384, path=0.2, data=0.0, itc=1.0),
    "base-caption": replace(BASE, image_size=480, data=0.0, caption=1.0, length=32),
    "tiny": TINY,
}  # fmt: skip
_RECIPE = dict(schedule="cosine", weight_decay=0.05, betas=(0.9, 0.98))
RECIPES: dict[str, dict[str, object]] = {
    "giant": dict(_RECIPE, lr=1e-3, batch=2048, steps=1_000_000, warmup=10_000, clip=3.0),
    "base-retrieval": dict(_RECIPE, lr=2e-4, batch=3072, epochs=15, warmup=0.2),
    "base-caption": dict(_RECIPE, lr=4e-5, batch=256, epochs=10, warmup=0.1),
}


def example(config: Config, generator: torch.Generator) -> Batch:
    """Six random pairs, and the codes of the pictures' patches."""
    from pairloom.data.random_batch import random_pairs
    from pairloom.data.records import Codes

    batch = random_pairs(config, generator)
    ids = torch.randint(
        config.codes, (len(batch), (config.image_size // config.patch) ** 2), generator=generator
    )
    return replace(batch, codes=Codes(ids, torch.ones_like(ids, dtype=torch.bool)))


class System(writer.MaskWriter, encoder.Multiway):
    """BEiT-3. `encoded` are the last rows of the pictures [I S D] through the vision expert, and the state that a text behind them reads."""

    trains_on = ("pairs",)

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        c = self.config = config
        self.first_token, self.last_token = c.cls, c.sep
        self.hidden = nn.Parameter(torch.zeros(c.width))
        self.vision_norm, self.language_norm = (nn.LayerNorm(c.width, eps=1e-5) for _ in range(2))
        self.words, self.codes = nn.Linear(c.width, c.vocabulary), nn.Linear(c.width, c.codes)
        self.image_projection, self.text_projection = (
            nn.Linear(c.width, c.embedding, bias=False) for _ in range(2)
        )
        self.scale = nn.Parameter(torch.tensor(math.log(1 / 0.07)))  # its logarithm
        for part in (self.words, self.codes, self.image_projection, self.text_projection):
            initialise(part)
        nn.init.trunc_normal_(self.hidden, std=0.02)
        self.codebook: Any = None
        if c.codebook is not None:
            from pairloom.blocks.patch_codes import PatchCodes

            self.codebook = PatchCodes(c.codebook, c.image_size // c.patch, c.codes)

    @property
    def abilities(self) -> tuple[Ability, ...]:
        """Those whose loss has a weight."""
        weights = ((EMBED, self.config.itc), (CAPTION, self.config.caption))
        return tuple(ability for ability, weight in weights if weight)

    def encode_image(self, batch: Batch) -> Batch:
        """The pictures [I N 3 X Y] through the vision expert, once."""
        if batch.encoded is not None:
            return batch
        images = batch.required("images")
        rows = self.patches(images.flatten(0, 1)).unflatten(0, images.shape[:2]).flatten(1, 2)
        rows, state = appending.begin(self.vision, rows, torch.ones_like(rows[..., 0], dtype=torch.bool))
        return replace(batch, encoded=(self.vision_norm(rows), state))

    def embed_image(self, batch: Batch) -> Float[Tensor, "I E"]:
        """From the class row of each picture, averaged over N."""
        rows = self.encode_image(batch).encoded[0]
        first = rows.unflatten(1, (-1, self.patches.positions.shape[1]))[:, :, 0]
        return F.normalize(self.image_projection(first).mean(1), dim=-1)

    def embed_text(self, batch: Batch) -> Float[Tensor, "B E"]:
        """From the first row of the text through the language expert alone."""
        tokens, mask = batch.text()
        rows = self.language_norm(self.language(self.text(tokens), padding(mask)))
        return F.normalize(self.text_projection(rows[:, 0]), dim=-1)

    @property
    def writing_stack(self) -> Stack:
        """What reads a caption behind the state of a picture."""
        return self.language

    def token_scores(self, rows: Float[Tensor, "*M D"]) -> Float[Tensor, "*M V"]:
        return self.words(self.language_norm(rows))

    def start(self, batch: Batch) -> appending.AppendState:
        state = self.encode_image(batch).encoded[1]
        return state if batch.image_of is None else state.select(batch.image_of)

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """Masked data modelling of pictures (if there are codes), texts and pairs; contrast; captions, read from left to right."""
        from pairloom.objectives import masked as masking

        c, generator = self.config, masking.masking_generator(self.training)
        (tokens, mask), losses = batch.text(), {}

        def predicted(rows: Tensor, hidden: Tensor, smoothing: float = 0.0) -> Tensor:
            scores, right = self.token_scores(rows[hidden]).float(), tokens[hidden]
            return (
                F.cross_entropy(scores, right, label_smoothing=smoothing) if len(right) else scores.sum() * 0
            )

        def hide(share: float) -> masking.MaskedTokens:
            words = mask & (tokens != c.cls) & (tokens != c.pad)  # the end may be hidden, the beginning never
            return masking.mask_tokens(tokens, words, c.mask, (c.sep + 1, c.vocabulary), generator, share)

        if c.data:
            ids, hidden = hide(c.masked)
            losses["text"] = c.data * predicted(self.language(self.text(ids), padding(mask)), hidden)
            ids, hidden = hide(c.pair_masked)
            patches, gone = self._hide_patches(batch, generator)
            seen, read = self._fuse(patches, self.text(ids), mask)
            losses["pair"] = c.data * predicted(read, hidden)
            if batch.codes is not None or self.codebook is not None:
                codes = self.patch_codes(batch)[fusion.owner_of(batch)][gone]
                alone, both = (self.vision_norm(rows)[:, 1:][gone] for rows in (self.vision(patches), seen))
                losses["image"] = c.data * F.cross_entropy(self.codes(alone).float(), codes)
                losses["pair"] += c.data * F.cross_entropy(self.codes(both).float(), codes)
        batch = self.encode_image(batch) if c.itc or c.caption else batch
        if c.itc:
            losses["itc"] = c.itc * self._contrast(batch)
        if c.caption:
            state, (ids, hidden) = self.start(batch), hide(c.caption_masked)
            sees = appending.prefix_causal(state.real, mask)[:, :, -tokens.shape[1] :]
            rows = appending.read_after(self.language, self.text(ids), state, sees)
            losses["caption"] = c.caption * predicted(rows, hidden, c.label_smoothing)
        return losses

    def patch_codes(self, batch: Batch) -> Int[Tensor, "I P"]:
        """Of the first picture of each row: those that the batch has, else the codebook's. ValueError where there is neither."""
        if batch.codes is not None:
            return batch.codes.ids
        if self.codebook is None:
            raise ValueError("the batch has no codes, and the model no codebook")
        return self.codebook(batch.required("images")[:, 0])

    def _hide_patches(
        self, batch: Batch, generator: torch.Generator
    ) -> tuple[Float[Tensor, "B S D"], Bool[Tensor, "B P"]]:
        """The first picture of each text, some of whose patches are hidden, and which."""
        from pairloom.objectives.patches import mask_blocks

        c, images = self.config, batch.required("images")[fusion.owner_of(batch), 0]
        gone = mask_blocks(len(images), c.image_size // c.patch, c.patches_masked, generator).to(
            images.device
        )
        there = F.pad(gone, (1, 0))[..., None]
        return torch.where(there, self.hidden + self.patches.positions, self.patches(images)), gone

    def _contrast(self, batch: Batch) -> Float[Tensor, ""]:
        from pairloom.blocks.gather import gather_pairs, pair_up
        from pairloom.objectives.contrast import symmetric_contrast

        text = self.embed_text(batch)
        image, ids = pair_up(self.embed_image(batch), len(text), batch.image_of, batch.image_ids)
        return symmetric_contrast(image, text, ids, gather_pairs(image, text, ids), torch.exp(-self.scale))
