"""DALL-E mini and mega (Dayma et al., 2021, DOI 10.5281/zenodo.5146400): a BART reads the text and writes the codes of a VQGAN; the
published stand-in for the transformer of DALL-E.

Prose, tables and deviations: docs/papers/dalle_mini.md. The VQGAN's networks are those of diffusers (the `diffusion` extra).

B texts, I pictures, R rows that are drawn, T tokens, N codes of a picture, D width, K codebook.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from pairloom.abilities import DRAW, Ability
from pairloom.blocks.cache import Cache
from pairloom.blocks.code_drawing import chances, write_codes
from pairloom.blocks.cross import CrossKeyValues
from pairloom.blocks.masks import causal, padding
from pairloom.blocks.normformer import to_normformer
from pairloom.blocks.transformer import ModeSharing, Stack, TransformerConfig, initialise
from pairloom.data.batch import Batch
from pairloom.systems import _diffusion_text as diffusion


def _vqgan(channels: Sequence[int], width: int, groups: int = 32, layers: int = 2) -> dict[str, Any]:
    """Settings of diffusers' VQModel: attention at the last side alone, one code a place."""
    deep = len(channels) - 1
    return {
        "block_out_channels": list(channels), "layers_per_block": layers, "latent_channels": width, "norm_num_groups": groups,
        "down_block_types": ["DownEncoderBlock2D"] * deep + ["AttnDownEncoderBlock2D"],
        "up_block_types": ["AttnUpDecoderBlock2D"] + ["UpDecoderBlock2D"] * deep,
    }  # fmt: skip


@dataclass(frozen=True)
class Config:
    """Sizes of DALL-E mega: 256 px, 16 x 16 codes of 16,384.

    length: tokens of a text. depth: layers of the encoder and of the decoder. hidden: width inside the gated feed-forward parts.
    rows: of the decoder's tables, at least one more than codes. start: the row that the decoder begins with. top, guidance: codes
    that may be drawn, and scale of classifier-free guidance, where none is stated. vqgan: settings by diffusers' names.
    encodes: the VQGAN has its encoder, which training needs and the published file lacks.
    """

    image_size: int = 256
    codebook: int = 16384
    vocabulary: int = 50272
    length: int = 64
    width: int = 2048
    depth: int = 24
    heads: int = 32
    hidden: int = 4096
    rows: int = 16416
    start: int = 16383
    top: int = 256
    guidance: float = 16.0
    vqgan: dict[str, Any] = field(default_factory=lambda: _vqgan((128, 128, 256, 256, 512), 256))
    encodes: bool = True
    pad: int = 1
    cls: int = 0
    sep: int = 2


MINI = Config(vocabulary=50264, width=1024, depth=12, heads=16, hidden=2730, rows=16385)
TINY = Config(
    image_size=8, codebook=24, vocabulary=64, length=12, width=32, depth=2, heads=2, hidden=48, rows=25, start=24,
    guidance=1.0, vqgan=_vqgan((8, 16), 8, 4, 1), pad=0, cls=2, sep=3,
)  # fmt: skip
PRESETS: dict[str, Config] = {"mega": Config(), "mini": MINI, "tiny": TINY}
PIXELS: dict[str, Any] = {"mean": (0.0, 0.0, 0.0), "std": (1.0, 1.0, 1.0), "fit": "crop"}
RECIPES: dict[str, dict[str, object]] = {
    "vqgan": dict(lr=4.5e-6, batch=48, epochs=50, warmup=0, betas=(0.5, 0.9), weight_decay=0.0, clip=0.0),
    "writer": dict(lr=4.5e-5, batch=2048, epochs=5, warmup=10_000, schedule="constant", weight_decay=0.0, clip=1.0),
}  # fmt: skip


def example(config: Config, generator: torch.Generator) -> Batch:
    """Six texts with random pictures, and random codes for these."""
    from pairloom.data.random_batch import random_pairs
    from pairloom.data.records import Codes

    batch = random_pairs(config, generator)
    ids = torch.randint(config.codebook, (len(batch), side_of(config) ** 2), generator=generator)
    return replace(batch, codes=Codes(ids, torch.ones_like(ids, dtype=torch.bool)))


def side_of(config: Config) -> int:
    """Codes of a row of a picture."""
    return config.image_size // 2 ** (len(config.vqgan["block_out_channels"]) - 1)


class VQGAN(nn.Module):
    """Taming Transformers for High-Resolution Image Synthesis (Esser et al., 2020, arXiv 2012.09841): pictures in [0, 1] to the nearest
    codes, and back."""

    def __init__(self, c: Config) -> None:
        super().__init__()
        diffusion.needs("diffusers")
        from diffusers import VQModel

        self.side = side_of(c)
        self.model: Any = VQModel(**c.vqgan, num_vq_embeddings=c.codebook)
        self.model.quantize.embedding.weight.data.uniform_(-1 / c.codebook, 1 / c.codebook)
        if not c.encodes:
            del self.model.encoder, self.model.quant_conv

    @torch.no_grad()
    def encode(self, images: Float[Tensor, "I 3 H W"]) -> Int[Tensor, "I N"]:
        """The nearest code of each place, row by row."""
        rows = self.model.encode(images).latents.movedim(1, -1).flatten(1, 2)
        return torch.cdist(rows, self.model.quantize.embedding.weight).argmin(-1)

    def decode(self, codes: Int[Tensor, "I N"]) -> Float[Tensor, "I 3 H W"]:
        rows = self.model.quantize.embedding(codes).unflatten(1, (self.side, self.side)).movedim(-1, 1)
        return self.model.decode(rows, force_not_quantize=True).sample

    def losses(self, images: Float[Tensor, "I 3 H W"]) -> dict[str, Tensor]:
        """L1 of the pixels and the codes' commitment; no perceptual loss and no critic."""
        latents = self.model.encode(images).latents
        nearest, commitment, _ = self.model.quantize(latents)
        outputs = self.model.decode(nearest, force_not_quantize=True).sample
        return {"pixels": F.l1_loss(outputs, images), "codes": commitment}


class BartWriter(nn.Module):
    """BART with NormFormer's norms and gated feed-forward parts; from a text to codes."""

    def __init__(self, c: Config) -> None:
        super().__init__()
        self.start, self.codebook, self.count = c.start, c.codebook, side_of(c) ** 2
        shape = TransformerConfig(
            c.width, c.depth, c.heads, "pre", 1e-5, context=c.width, growth=c.hidden / c.width, bias=False
        )
        self.words, self.places = nn.Embedding(c.vocabulary, c.width), nn.Embedding(c.length, c.width)
        self.codes, self.cells = nn.Embedding(c.rows, c.width), nn.Embedding(self.count, c.width)
        self.encoder, self.decoder = Stack(shape), Stack(shape, ModeSharing(cross=1))
        for stack in (self.encoder, self.decoder):
            to_normformer(stack, c.width, c.hidden)
        self.words_norm, self.text_norm, self.codes_norm, self.norm = (
            nn.LayerNorm(c.width, eps=1e-5) for _ in range(4)
        )
        self.to_code = nn.Linear(c.width, c.rows, bias=False)
        initialise(self)

    def read(self, ids: Int[Tensor, "B T"], mask: Bool[Tensor, "B T"]) -> CrossKeyValues:
        """Encode texts for the decoder."""
        x = self.words_norm(self.words(ids) + self.places.weight[: ids.shape[1]])
        return self.decoder.project(self.text_norm(self.encoder(x, padding(mask))), mask)

    def forward(self, codes: Int[Tensor, "B N"], texts: CrossKeyValues) -> Float[Tensor, "B N K"]:
        """Logits of each code, from those before it."""
        before = F.pad(codes[:, :-1], (1, 0), value=self.start)
        x = self.codes_norm(self.codes(before) + self.cells.weight[: before.shape[1]])
        real = torch.ones_like(before, dtype=torch.bool)
        return self._logits(self.decoder(x, causal(real), texts))

    def step(self, state: Cache, codes: Int[Tensor, " R"]) -> tuple[Float[Tensor, "R K"], Cache]:
        x = self.codes_norm(self.codes(codes) + self.cells.weight[state.position])
        x, past = self.decoder.step(x[:, None], state.past, state.context, room=self.count)
        return self._logits(x[:, 0]), replace(state, past=past, position=state.position + 1)

    def begin(self, texts: CrossKeyValues, owner: Int[Tensor, " R"]) -> tuple[Float[Tensor, "R K"], Cache]:
        """Logits of the first code and the state, of rows that read the text of their owner."""
        return self.step(Cache(texts.read_by(owner), owner), torch.full_like(owner, self.start))

    def _logits(self, x: Float[Tensor, "*R D"]) -> Float[Tensor, "*R K"]:
        return self.to_code(self.norm(x))[..., : self.codebook]


class System(nn.Module):
    """DALL-E mini: the part "vqgan" is trained before the part "writer"."""

    abilities = (Ability("write_codes", pictures=0), DRAW)
    turns = {"vqgan": ("vqgan.",), "writer": ("writer.",)}
    parts = {"vqgan": ("vqgan",), "writer": ("writer",)}

    def __init__(self, config: Config) -> None:
        super().__init__()
        c = self.config = config
        self.code_length, self.codebook_size = side_of(c) ** 2, c.codebook
        self.vqgan, self.writer = VQGAN(c), BartWriter(c)

    @property
    def trains_on(self) -> tuple[str, ...]:
        return ("pairs",) if self.config.encodes else ()

    def start_codes(self, batch: Batch) -> tuple[Float[Tensor, "B K"], Cache]:
        ids, mask = batch.text()
        return self.writer.begin(self.writer.read(ids, mask), torch.arange(len(ids), device=ids.device))

    def step_codes(self, state: Cache, codes: Int[Tensor, " R"]) -> tuple[Float[Tensor, "R K"], Cache]:
        return self.writer.step(state, codes)

    def code_logits(self, batch: Batch) -> Float[Tensor, "B N K"]:
        return self.writer(self._codes(batch), self.writer.read(*batch.text()))

    def decode_codes(self, codes: Int[Tensor, "B N"]) -> Float[Tensor, "B 3 H W"]:
        return 2 * self.vqgan.decode(codes).clamp(0, 1) - 1

    def _pictures(self, batch: Batch) -> Float[Tensor, "B 3 H W"]:
        images = batch.required("images")[:, 0]
        return images if batch.image_of is None else images[batch.image_of]

    def _codes(self, batch: Batch) -> Int[Tensor, "B N"]:
        """The codes of each text's picture: those that are stated, else those of the pictures."""
        if batch.codes is None:
            return self.vqgan.encode(self._pictures(batch))
        return batch.codes.ids if batch.image_of is None else batch.codes.ids[batch.image_of]

    @torch.no_grad()
    def draw(
        self,
        batch: Batch,
        *,
        seeds: Sequence[int] | None = None,
        temperature: float = 1.0,
        guidance: float | None = None,
        top: int | None = None,
    ) -> Float[Tensor, "R 3 H W"]:
        """Pictures in [-1, 1], one for each text; equal texts are read once. guidance: over the text that is empty, 1: none. top: how many
        of the likeliest codes may be drawn (0: all). A picture whose logits are not numbers is not numbers either."""
        c, (ids, mask) = self.config, batch.text()
        scale = c.guidance if guidance is None else guidance
        chance = chances(range(len(ids)) if seeds is None else seeds, self.code_length)
        ids = ids.masked_fill(~mask, c.pad)
        if scale != 1:
            empty = torch.full_like(ids, c.pad)
            empty[:, :2] = torch.tensor([c.cls, c.sep])
            ids = torch.cat([ids, empty])
        texts, owner = torch.unique(ids, dim=0, return_inverse=True)
        first, state = self.writer.begin(self.writer.read(texts, texts != c.pad), owner)
        codes, broken = write_codes(
            first, state, self.writer.step, chance, temperature=temperature, guidance=scale,
            top=c.top if top is None else top,
        )  # fmt: skip
        return torch.where(broken[:, None, None, None], torch.nan, self.decode_codes(codes))

    def losses(self, batch: Batch, turn: str) -> dict[str, Tensor]:
        """Losses of a turn: of the VQGAN's pictures, or the cross-entropy of the codes, from a VQGAN that this turn does not train."""
        if turn == "vqgan":
            return self.vqgan.losses(self._pictures(batch))
        return {"image": F.cross_entropy(self.code_logits(batch).flatten(0, 1), self._codes(batch).flatten())}
