"""DALL-E: Zero-Shot Text-to-Image Generation (Ramesh et al., 2021, arXiv 2102.12092): a discrete VAE turns a picture into a grid
of codes, and one causal transformer models the words of its text and then the codes.

Prose, tables and deviations: docs/papers/dalle.md.

B texts, I pictures, R rows that are drawn, L slots of a text, N codes of a picture, T = L + N - 1, D width, V vocabulary, K codebook.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from pairloom.abilities import DRAW, Ability, Progress
from pairloom.blocks.code_attention import (
    AttentionWindow,
    CodeState,
    Pattern,
    read_block,
    sequence_mask,
    step_block,
)
from pairloom.blocks.code_drawing import chances, write_codes
from pairloom.blocks.discrete_vae import SCALE, CodeDecoder, CodeEncoder, away_from_edges, back_to_edges
from pairloom.blocks.transformer import Stack, TransformerConfig, initialise
from pairloom.data.batch import Batch
from pairloom.objectives.discrete_vae import (
    cosine_between,
    logit_laplace_loss,
    relaxed_codes,
    uniform_divergence,
)
from pairloom.objectives.masked import masking_generator


@dataclass(frozen=True)
class Config:
    """Sizes of the paper: 256 px, 32 x 32 codes of 8,192, and a transformer of 12 billion parameters.

    codebook: number of codes; code_width, code_blocks: of the dVAE's first group, and of each group. length: slots of a text, each with
    a padding embedding of its own. masks: "sparse": row and column attention, and a convolution of `kernel` in the last layer; "dense":
    every code sees all before it. text_weight: of the words' loss; the codes have the rest.
    temperature, temperature_steps: lowest temperature of the relaxed codes, reached from 1 by half a cosine; kl, kl_steps: weight of
    the divergence from the uniform distribution, per channel of a pixel as published, reached from 0.
    blank: share of the texts that training leaves empty, for classifier-free guidance (ours, not the paper's).
    """

    image_size: int = 256
    codebook: int = 8192
    code_width: int = 256
    code_blocks: int = 2
    vocabulary: int = 16384
    length: int = 256
    width: int = 3968
    depth: int = 64
    heads: int = 62
    dropout: float = 0.0
    masks: Literal["sparse", "dense"] = "sparse"
    kernel: int = 11
    text_weight: float = 1 / 8
    temperature: float = 1 / 16
    temperature_steps: int = 150_000
    kl: float = 6.6
    kl_steps: int = 5_000
    blank: float = 0.0
    pad: int = 0
    cls: int = 2
    sep: int = 3


TINY = Config(
    image_size=32, codebook=32, code_width=8, code_blocks=1, vocabulary=64, length=12, width=32, depth=4, heads=2, kernel=3,
    temperature_steps=60, kl_steps=60,
)  # fmt: skip
# ours, for laptops: pictures of 64 px as 8 x 8 codes
SMALL = replace(
    TINY, image_size=64, codebook=256, code_width=32, vocabulary=2000, length=32, width=192, depth=6, heads=4
)
PRESETS: dict[str, Config] = {
    "base": Config(),
    "dense": Config(masks="dense"),
    "small": replace(SMALL, temperature_steps=1500, kl_steps=500, kernel=5),
    "tiny": TINY,
}
PIXELS: dict[str, object] = {"mean": (0.5, 0.5, 0.5), "std": (0.5, 0.5, 0.5), "fit": "crop"}
RECIPES: dict[str, dict[str, object]] = {
    "codebook": dict(
        lr=1e-4, min_lr=1.25e-6, batch=512, steps=3_000_000, warmup=0, betas=(0.9, 0.999), weight_decay=1e-4, ema=0.999,
        clip=0.0,
    ),
    "writer": dict(
        lr=4.5e-4, batch=1024, steps=430_000, warmup=5000, betas=(0.9, 0.96), weight_decay=0.045, clip=4.0, ema=0.99
    ),
}  # fmt: skip


def example(config: Config, generator: torch.Generator) -> Batch:
    """Six texts with random pictures, and random codes for these."""
    from pairloom.data.random_batch import random_pairs
    from pairloom.data.records import Codes

    batch = random_pairs(config, generator)
    ids = torch.randint(config.codebook, (len(batch), (config.image_size // SCALE) ** 2), generator=generator)
    return replace(batch, codes=Codes(ids, torch.ones_like(ids, dtype=torch.bool)))


class Codebook(nn.Module):
    """Discrete VAE: pictures in [-1, 1] to codes and back."""

    def __init__(self, c: Config) -> None:
        super().__init__()
        self.encoder = CodeEncoder(c.code_width, c.codebook, c.code_blocks)
        self.decoder = CodeDecoder(c.code_width, c.codebook, c.code_blocks)

    @torch.no_grad()
    def encode(self, images: Float[Tensor, "I 3 H W"]) -> Int[Tensor, "I N"]:
        """The likeliest code of each cell."""
        return self.encoder.codes(images)

    def decode(self, codes: Int[Tensor, "I N"]) -> Float[Tensor, "I 3 H W"]:
        """The middle of what the decoder expects of each pixel, in [-1, 1]."""
        side = round(codes.shape[1] ** 0.5)
        mu = self.decoder.of_codes(codes.unflatten(1, (side, side)))[:, :3]
        return 2 * back_to_edges(mu.sigmoid()) - 1

    def losses(
        self, images: Float[Tensor, "I 3 H W"], temperature: float, kl: float, generator: torch.Generator
    ) -> dict[str, Tensor]:
        """Negative evidence lower bound, per channel of a pixel; kl: weight of its second part."""
        mapped = away_from_edges((images + 1) / 2)
        logits = self.encoder(mapped)
        outputs = self.decoder(relaxed_codes(logits, temperature, generator))
        channels = SCALE * SCALE * 3  # of the pixels that one code stands for
        return {
            "pixels": logit_laplace_loss(mapped, outputs),
            "uniform": kl * uniform_divergence(logits) / channels,
        }


class Writer(nn.Module):
    """Transformer over the slots of a text, whose unused ones have embeddings of their own, and then the codes."""

    def __init__(self, c: Config) -> None:
        super().__init__()
        side = c.image_size // SCALE
        self.length, self.side = c.length, side
        self.windows = [AttentionWindow(pattern, side, c.kernel) for pattern in patterns(c)]
        self.words = nn.Embedding(c.vocabulary, c.width)
        self.pads, self.places = nn.Embedding(c.length, c.width), nn.Embedding(c.length, c.width)
        self.codes = nn.Embedding(c.codebook, c.width)
        self.rows, self.columns = nn.Embedding(side, c.width), nn.Embedding(side, c.width)
        self.stack = Stack(TransformerConfig(c.width, c.depth, c.heads, "pre", 1e-5, c.dropout))
        self.norm = nn.LayerNorm(c.width)
        # two tables: the logits of a word are never those of a code, and the other way round
        self.to_word, self.to_code = (nn.Linear(c.width, count) for count in (c.vocabulary, c.codebook))
        initialise(self)

    def embed_text(self, ids: Int[Tensor, "B t"], mask: Bool[Tensor, "B t"]) -> Float[Tensor, "B L D"]:
        """All slots of the texts. ValueError for a text that has more words than there are slots."""
        if mask[:, self.length :].any():
            raise ValueError(f"a text of {int(mask.sum(1).max())} tokens has no room in {self.length} slots")
        room = self.length - min(self.length, ids.shape[1])
        ids, mask = (F.pad(part[:, : self.length], (0, room)) for part in (ids, mask))
        return torch.where(mask[..., None], self.words(ids), self.pads.weight) + self.places.weight

    def embed_codes(self, codes: Int[Tensor, "B n"], first: int = 0) -> Float[Tensor, "B n D"]:
        """Codes of the cells from `first` on."""
        cell = torch.arange(first, first + codes.shape[1], device=codes.device)
        return self.codes(codes) + self.rows(cell // self.side) + self.columns(cell % self.side)

    def forward(
        self, ids: Int[Tensor, "B t"], mask: Bool[Tensor, "B t"], codes: Int[Tensor, "B N"]
    ) -> tuple[Float[Tensor, "B L V"], Float[Tensor, "B N K"]]:
        """Logits of the word after each slot, and of each code."""
        x = torch.cat([self.embed_text(ids, mask), self.embed_codes(codes[:, :-1])], 1)
        for layer, window in zip(self.stack.layers, self.windows):
            seen = sequence_mask(window, self.length).to(x.device)[: x.shape[1], : x.shape[1]]
            x = layer(x, seen[None, None])
        x = self.norm(x)
        return self.to_word(x[:, : self.length]), self.to_code(x[:, self.length - 1 :])

    def start(self, ids: Int[Tensor, "B t"], mask: Bool[Tensor, "B t"]) -> tuple[Float[Tensor, "B K"], CodeState]:  # fmt: skip
        """Logits of the first code, and what the texts leave in every layer."""
        x, state = self.embed_text(ids, mask), CodeState()
        for layer, window in zip(self.stack.layers, self.windows):
            x, past = read_block(layer, x, window)
            state.layers.append(past)
        return self.to_code(self.norm(x[:, -1])), state

    def step(self, state: CodeState, codes: Int[Tensor, " R"]) -> tuple[Float[Tensor, "R K"], CodeState]:
        """Logits of the code after these, and the state."""
        x = self.embed_codes(codes[:, None], state.position)
        for layer, past in zip(self.stack.layers, state.layers):
            x = step_block(layer, x, past, state.position)
        return self.to_code(self.norm(x[:, 0])), CodeState(state.layers, state.position + 1)


def patterns(c: Config) -> list[Pattern]:
    """Attention of each layer: row, column, row, row and so on, and a convolution in the last (appendix B.1)."""
    if c.masks == "dense":
        return ["dense"] * c.depth
    ordinary: list[Pattern] = ["column" if index % 4 == 2 else "row" for index in range(1, c.depth)]
    return [*ordinary, "convolution"]


class System(nn.Module):
    """DALL-E: the part "codebook" (the discrete VAE) is trained before the part "writer" (the transformer)."""

    abilities = (Ability("write_codes", pictures=0), DRAW)
    trains_on = ("pairs",)
    turns = {"codebook": ("codebook.",), "writer": ("writer.",)}
    parts = {"codebook": ("codebook",), "writer": ("writer",)}
    training_state: tuple[str, ...] = ()

    def __init__(self, config: Config) -> None:
        super().__init__()
        c = self.config = config
        if c.image_size % SCALE:
            raise ValueError(f"pictures of {c.image_size} pixels have no whole number of codes a side")
        self.code_length, self.codebook_size = (c.image_size // SCALE) ** 2, c.codebook
        self.codebook, self.writer = Codebook(c), Writer(c)
        self.taken = 0

    def begin(self, progress: Progress) -> None:
        """Set the temperature of the relaxed codes and the weight of their divergence, before each optimiser step."""
        self.taken = progress.step

    # writing codes

    def start_codes(self, batch: Batch) -> tuple[Float[Tensor, "B K"], CodeState]:
        logits, state = self.writer.start(*batch.text())
        return logits, state.expand(1)

    def step_codes(
        self, state: CodeState, codes: Int[Tensor, " R"]
    ) -> tuple[Float[Tensor, "R K"], CodeState]:
        return self.writer.step(state, codes)

    def code_logits(self, batch: Batch) -> Float[Tensor, "B N K"]:
        return self.writer(*batch.text(), self._codes(batch))[1]

    def decode_codes(self, codes: Int[Tensor, "B N"]) -> Float[Tensor, "B 3 H W"]:
        return self.codebook.decode(codes)

    def _codes(self, batch: Batch) -> Int[Tensor, "B N"]:
        """The codes of each text's picture: those that are stated, else those of the pictures."""
        codes = (
            self.codebook.encode(batch.required("images")[:, 0]) if batch.codes is None else batch.codes.ids
        )
        return codes if batch.image_of is None else codes[batch.image_of]

    def _pictures(self, batch: Batch) -> Float[Tensor, "B 3 H W"]:
        """The picture of each text."""
        images = batch.required("images")[:, 0]
        return images if batch.image_of is None else images[batch.image_of]

    # drawing

    @torch.no_grad()
    def draw(
        self,
        batch: Batch,
        *,
        seeds: Sequence[int] | None = None,
        temperature: float = 1.0,
        guidance: float = 1.0,
        rows: int = 0,
    ) -> Float[Tensor, "R 3 H W"]:
        """Pictures in [-1, 1], one for each text. Texts that are alike are read once, where they stand together in equal numbers.

        seeds: of each row's draws. temperature: of the codes. guidance: scale of classifier-free guidance, 1: none; above 1 for a model
        that has learnt from empty texts (Config.blank). rows: of the codes of the batch's pictures, which begin the new ones and are not
        drawn. A picture whose logits are not numbers is not numbers either."""
        ids, mask = batch.text()
        begin = self._codes(batch)[:, : rows * self.writer.side] if rows else ids.new_zeros(len(ids), 0)
        chance = chances(range(len(ids)) if seeds is None else seeds, self.code_length)
        if guidance != 1:
            empty = torch.zeros_like(mask)
            empty[:, 0] = True
            ids, mask = torch.cat([ids, ids]), torch.cat([mask, empty])
        logits, state = self._candidates(ids, mask)
        codes, broken = write_codes(
            logits,
            state,
            self.writer.step,
            chance,
            temperature=temperature,
            guidance=guidance,
            begin=begin,
        )
        return torch.where(broken[:, None, None, None], torch.nan, self.decode_codes(codes))

    def _candidates(
        self, ids: Int[Tensor, "R t"], mask: Bool[Tensor, "R t"]
    ) -> tuple[Float[Tensor, "R K"], CodeState]:
        """Logits and state for texts of which equal ones, next to each other, are read once."""
        _, counts = torch.unique_consecutive(ids * mask, dim=0, return_counts=True)
        times = int(counts[0]) if len(set(counts.tolist())) == 1 else 1
        logits, state = self.writer.start(ids[::times], mask[::times])
        return logits.repeat_interleave(times, 0), state.expand(times)

    # training

    def losses(self, batch: Batch, turn: str) -> dict[str, Tensor]:
        """Losses of a turn. "codebook": evidence lower bound of the pictures. "writer": cross-entropy of the words and of the codes,
        from a codebook that this turn does not train."""
        c, generator = self.config, masking_generator(self.training)
        if turn == "codebook":
            temperature = cosine_between(1.0, c.temperature, self.taken, c.temperature_steps)
            kl = c.kl * min(1.0, self.taken / max(1, c.kl_steps))
            return self.codebook.losses(self._pictures(batch), temperature, kl, generator)
        ids, mask = batch.text()
        codes = self._codes(batch)
        if c.blank and self.training:
            blank = (torch.rand(len(ids), generator=generator) < c.blank).to(mask.device)
            mask = mask & ~(blank[:, None] & (torch.arange(ids.shape[1], device=mask.device) > 0))
        words, logits = self.writer(ids, mask, codes)
        real, short = mask[:, 1:], words[:, : ids.shape[1] - 1]
        texts = F.cross_entropy(short[real], ids[:, 1:][real]) if real.any() else short.sum() * 0
        pictures = F.cross_entropy(logits.flatten(0, 1), codes.flatten())
        return {"text": c.text_weight * texts, "image": (1 - c.text_weight) * pictures}
