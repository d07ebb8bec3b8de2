"""DALL-E 2, or unCLIP: Hierarchical Text-Conditional Image Generation with CLIP Latents (Ramesh et al., 2022, arXiv 2204.06125):
a prior turns a text into an embedding of a picture, a diffusion decoder draws the picture, and two more enlarge it.

U-Nets and schedulers are those of diffusers (the `diffusion` extra). Prose, tables and deviations: docs/papers/dalle2.md.

B texts, I pictures, R rows that are drawn, E embedding, C Y X what is noised.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from pairloom.abilities import DENOISE, DRAW, EMBED, Ability
from pairloom.blocks.degradation import gaussian_blur, random_degradation
from pairloom.config_json import from_dict
from pairloom.data.batch import Batch
from pairloom.errors import Mistake
from pairloom.objectives.denoise import distance
from pairloom.objectives.masked import masking_generator
from pairloom.systems import _diffusion_text as texts
from pairloom.systems import _pixel_diffusion as networks
from pairloom.systems import _sampling as sampling

Settings = dict[str, Any]  # settings by the names of diffusers, or of CLIP's Config
Noise = dict[str, Settings]  # schedulers of the parts, by diffusers' own names


def _noise(spacing: str = "trailing") -> Noise:
    """The paper's: cosine everywhere but in the last enlarger (table 3)."""

    def schedule(kind: str, betas: str = "squaredcos_cap_v2", **more: Any) -> Settings:
        own = {"num_train_timesteps": 1000, "timestep_spacing": spacing}
        return {"_class_name": kind, "beta_schedule": betas, **own, **more}

    return {
        "prior": schedule("DDPMScheduler", prediction_type="sample", clip_sample=False),
        "decoder": schedule("DDPMScheduler", variance_type="learned_range"),
        "up_256": schedule("DDIMScheduler"), "up_1024": schedule("DDIMScheduler", "linear"),
    }  # fmt: skip


def _clip(
    side: int, patch: int, image: tuple[int, int, int], text: tuple[int, int, int], embedding: int
) -> Settings:
    """A CLIP of these widths, depths and heads, by the names of its Config."""
    names = ("width", "depth", "heads")
    images = {f"image_{name}": value for name, value in zip(names, image)}
    return {"image_size": side, "patch": patch, "embedding": embedding, **images, **dict(zip(names, text))}


@dataclass(frozen=True)
class Config:
    """Sizes of the paper (table 3): CLIP ViT-H/16, a prior of a billion parameters, a decoder of 3.5, and pictures of 1,024 px.

    sides: of the pictures that the decoder draws and of those that each enlarger makes of them; the last is image_size. clip: sizes
    of the CLIP; vocabulary, length and ids are those of this config. reads_images: False for weights without CLIP's image side.
    normalised: CLIP's embeddings have length 1; the prior adds noise to embeddings times `scale` (None: the root of their width).
    decoder, up_256, up_1024, last: U-Nets by diffusers' names; an empty up_1024 is none; last: of the last step of up_256. noise: the
    scheduler of each part. steps: of the prior, the decoder and the enlargers. guidance: of the prior and of the decoder, 1: none.
    candidates: embeddings that the prior draws, of which the one nearest to the text is taken.
    prior_drop, text_drop, image_drop: shares of texts and embeddings that training leaves out, for guidance. blur: deviation of the
    blur of what up_256 enlarges. judge: the part whose denoising error says how well a text and a picture belong together.
    """

    image_size: int = 1024
    sides: tuple[int, ...] = (64, 256, 1024)
    vocabulary: int = 49408
    length: int = 77
    pad: int = 49407
    cls: int = 49406
    sep: int = 49407
    clip: Settings = field(default_factory=lambda: _clip(256, 16, (1280, 32, 16), (1024, 24, 16), 1024))
    reads_images: bool = True
    normalised: bool = True
    scale: float | None = 17.2
    prior_width: int = 2048
    prior_depth: int = 24
    prior_heads: int = 32
    decoder: Settings = field(
        default_factory=lambda: networks.decoder_settings([512, 1024, 1536, 2048], 3, 64, 2048)
    )
    up_256: Settings = field(default_factory=lambda: networks.enlarger_settings([320, 640, 960, 1280], 3))
    up_1024: Settings = field(
        default_factory=lambda: networks.enlarger_settings([192, 192, 384, 384, 768, 768], 2)
    )
    last: Settings = field(default_factory=dict)
    noise: Noise = field(default_factory=_noise)
    steps: tuple[int, int, int, int] = (64, 250, 27, 15)
    guidance: tuple[float, float] = (1.0, 2.0)
    candidates: int = 2
    prior_drop: float = 0.1
    text_drop: float = 0.5
    image_drop: float = 0.1
    blur: float = 0.6
    judge: Literal["prior", "decoder"] = "prior"

    @property
    def embedding(self) -> int:
        """Width of CLIP's embeddings."""
        return int(self.clip["embedding"])

    def __post_init__(self) -> None:
        if len(self.sides) != 2 + bool(self.up_1024) or self.sides[-1] != self.image_size:
            raise ValueError(
                f"sides {self.sides} are not those of a decoder and its enlargers, up to {self.image_size} pixels"
            )
        if self.judge == "prior" and not self.reads_images:
            raise ValueError("the prior cannot judge pictures without CLIP's image side: judge=decoder")


TINY = Config(
    image_size=32, sides=(8, 16, 32), vocabulary=64, length=12, pad=0, cls=2, sep=3, clip=_clip(32, 8, (32, 1, 2), (32, 1, 2), 16),
    scale=None, prior_width=32, prior_depth=2, prior_heads=2, decoder=networks.decoder_settings([8, 16], 1, 8, 16, 4),
    up_256=networks.enlarger_settings([8, 16], 1, 4), up_1024=networks.enlarger_settings([8, 16], 1, 4), noise=_noise("leading"), steps=(4, 4, 2, 2),
    image_drop=0.5,
)  # fmt: skip
# ours, for laptops: pictures of 64 px by way of 16 and 32
SMALL = Config(
    image_size=64, sides=(16, 32, 64), vocabulary=2000, length=32, pad=0, cls=2, sep=3, scale=None,
    clip=_clip(64, 8, (128, 4, 4), (128, 4, 4), 64), prior_width=128, prior_depth=4, prior_heads=4,
    decoder=networks.decoder_settings([64, 128], 1, 32, 128, 8), up_256=networks.enlarger_settings([32, 64], 1, 8),
    up_1024=networks.enlarger_settings([32, 64], 1, 8), steps=(32, 50, 15, 15), guidance=(1.0, 3.0),
)  # fmt: skip
PRESETS: dict[str, Config] = {"base": Config(), "small": SMALL, "tiny": TINY}
PIXELS: dict[str, object] = {"mean": (0.5, 0.5, 0.5), "std": (0.5, 0.5, 0.5), "fit": "crop"}


def _recipe(lr: float, batch: int, steps: int, beta: float = 0.999, decay: float = 0.0) -> dict[str, object]:
    return dict(
        lr=lr,
        batch=batch,
        steps=steps,
        betas=(0.9, beta),
        weight_decay=decay,
        ema=0.9999,
        schedule="constant",
    )


RECIPES: dict[str, dict[str, object]] = {
    "prior": _recipe(1.1e-4, 4096, 600_000, 0.96, 0.06),
    "decoder": _recipe(1.2e-4, 2048, 800_000),
    "up_256": _recipe(1.2e-4, 1024, 1_000_000),
    "up_1024": _recipe(1e-4, 512, 1_000_000),
}


def example(config: Config, generator: torch.Generator) -> Batch:
    """Six random pairs."""
    from pairloom.data.random_batch import random_pairs

    return random_pairs(config, generator)


class System(nn.Module):
    """DALL-E 2: the parts "clip", "prior", "decoder", "up_256" and "up_1024" are trained in this order."""

    trains_on = ("pairs",)
    turns = {name: (f"{name}.",) for name in ("clip", "prior", "decoder", "up_256", "up_1024")}
    parts = {name: (name,) for name in turns}

    def __init__(self, config: Config) -> None:
        super().__init__()
        from pairloom.blocks.embedding_prior import DiffusionPrior
        from pairloom.systems import clip

        c = self.config = config
        own = {name: getattr(c, name) for name in ("vocabulary", "length", "pad", "cls", "sep")}
        self.clip = clip.System(from_dict(clip.Config, {**c.clip, **own}))
        if not c.reads_images:
            self.clip.image, self.clip.image_projection = nn.Identity(), None
        embedding, width = self.clip.config.embedding, self.clip.config.width
        self.embedding, self.scale = embedding, embedding**0.5 if c.scale is None else c.scale
        self.prior = DiffusionPrior((c.prior_width, c.prior_depth, c.prior_heads), embedding, width, c.length)
        self.decoder = networks.PixelDecoder(c.decoder, c.sides[0], embedding, width)
        self.up_256 = networks.Enlarger(c.up_256, c.sides[1], c.last)
        self.up_1024 = networks.Enlarger(c.up_1024, c.sides[2]) if c.up_1024 else None
        self.diffusions = {part: sampling.Diffusion(settings) for part, settings in c.noise.items()}
        self.times = self.diffusions[c.judge].times
        self.latent = (embedding, 1, 1) if c.judge == "prior" else (3, c.sides[0], c.sides[0])

    @property
    def abilities(self) -> tuple[Ability, ...]:
        return (EMBED, DENOISE, DRAW) if self.config.reads_images else (DENOISE, DRAW)

    # embeddings

    def embed_image(self, batch: Batch) -> Float[Tensor, "I E"]:
        """CLIP's, of length 1."""
        return F.normalize(self.image_embedding(batch.required("images")[:, 0]), dim=-1)

    def embed_text(self, batch: Batch) -> Float[Tensor, "B E"]:
        """CLIP's, of length 1."""
        return self.clip.embed_text(batch)

    def image_embedding(self, images: Float[Tensor, "I 3 H W"]) -> Float[Tensor, "I E"]:
        """CLIP's embedding of pictures in [-1, 1], as prior and decoder read it."""
        from pairloom.data.transform import OPENAI_MEAN, OPENAI_STD

        mean, deviation = (images.new_tensor(one)[:, None, None] for one in (OPENAI_MEAN, OPENAI_STD))
        pixels = (networks.resized(images, self.clip.config.image_size) + 1) / 2
        return self._sized(self.clip.project_images(((pixels - mean) / deviation)[:, None]))

    def encode_text(self, tokens: Int[Tensor, "B T"], mask: Bool[Tensor, "B T"]) -> texts.TextConditioning:
        """CLIP's rows of the words, padded to the length that is read, and its embedding. ValueError for a longer text."""
        length = self.config.length
        if mask[:, length:].any():
            raise ValueError(
                f"a text of {int(mask.sum(1).max())} tokens is longer than the {length} that are read"
            )
        tokens, mask = (F.pad(one[:, :length], (0, max(0, length - one.shape[1]))) for one in (tokens, mask))
        pooled, rows = self.clip.project_texts(tokens, mask)
        return texts.TextConditioning(rows.masked_fill(~mask[..., None], 0), self._sized(pooled), mask)

    def empty_text(self, rows: int) -> texts.TextConditioning:
        """The conditioning of the empty text, `rows` times."""
        c, device = self.config, self.prior.query.device
        tokens = torch.tensor([[c.cls, c.sep]], device=device)
        text = self.encode_text(tokens, torch.ones_like(tokens, dtype=torch.bool))
        return text.rows(torch.zeros(rows, dtype=torch.long, device=device))

    def _sized(self, embedding: Tensor) -> Tensor:
        return F.normalize(embedding, dim=-1) if self.config.normalised else embedding

    def _scaled(self, embedding: Tensor) -> Tensor:
        """Embeddings as the prior adds noise to them."""
        return embedding * self.scale if self.config.normalised else self.prior.standardise(embedding)

    def _unscaled(self, embedding: Tensor) -> Tensor:
        return embedding / self.scale if self.config.normalised else self.prior.restore(embedding)

    # judging

    def posterior(self, images: Float[Tensor, "I 3 H W"]) -> tuple[Tensor, None]:
        """What noise is added to: embeddings [I E 1 1] of the prior, or small pictures of the decoder."""
        if self.config.judge == "prior":
            return self._scaled(self.image_embedding(images))[..., None, None], None
        return networks.resized(images, self.config.sides[0]), None

    def residual(
        self,
        latents: Float[Tensor, "B C Y X"],
        t: Int[Tensor, " B"],
        noise: Float[Tensor, "B C Y X"],
        text: texts.TextConditioning,
    ) -> Float[Tensor, "B C Y X"]:
        """The noise less its estimate by the part that judges. The decoder reads the text alone, as guidance has taught it to."""
        if self.config.judge == "prior":
            return self.diffusions["prior"].residual(
                latents, t, noise, lambda noisy, t: self.prior(noisy.flatten(1), t, *text)[..., None, None]
            )
        read = self.decoder.conditioning(self.decoder.no_image(len(t)), text)
        return self.diffusions["decoder"].residual(
            latents, t, noise, lambda noisy, t: self.decoder(noisy, t, read)
        )

    def denoising_error(
        self, batch: Batch, t: Int[Tensor, " B"], noise: Float[Tensor, "B C Y X"]
    ) -> Float[Tensor, " B"]:
        """Mean squared residual of each text with its picture."""
        latents = self.posterior(self._pictures(batch))[0]
        return distance(self.residual(latents, t, noise, self.encode_text(*batch.text())))

    # drawing

    @torch.no_grad()
    def draw(
        self,
        batch: Batch,
        *,
        seeds: Sequence[int] | None = None,
        steps: int | None = None,
        guidance: float | None = None,
        prior_guidance: float | None = None,
        candidates: int | None = None,
    ) -> Float[Tensor, "B 3 H W"]:
        """Pictures in [-1, 1] of the texts. seeds: one for each row; a row depends on its own alone.

        steps: of every sampler. guidance: of the decoder. prior_guidance, candidates: of the prior. None: what the config says."""
        text = self.encode_text(*batch.text())
        chances = sampling.generators(range(len(batch)) if seeds is None else seeds)
        image = self.draw_embedding(text, chances, steps, prior_guidance, candidates)
        return self.enlarge(self.decode(image, text, chances, steps, guidance), chances, steps)

    def draw_embedding(
        self,
        text: texts.TextConditioning,
        chances: Sequence[torch.Generator],
        steps: int | None = None,
        guidance: float | None = None,
        candidates: int | None = None,
    ) -> Float[Tensor, "B E"]:
        """Embeddings of pictures by the prior: of several candidates the one with the largest product with the text's (section 2.2)."""
        c, rows = self.config, len(chances)
        scale = c.guidance[0] if guidance is None else guidance
        both = text if scale <= 1 else text.concatenated([self.empty_text(rows)])

        def predict(noisy: Tensor, t: Tensor) -> Tensor:
            if scale <= 1:
                return self.prior(noisy, t, *text)  # type: ignore[no-any-return]
            output, empty = self.prior(noisy.repeat(2, 1), t.repeat(2), *both).chunk(2)
            return sampling.guided(output, empty, scale, output.shape[1])

        drawn = []
        for _ in range(c.candidates if candidates is None else candidates):
            start = sampling.noise_like((self.embedding,), chances, text.context.device)
            estimate = self.diffusions["prior"].sample(steps or c.steps[0], start, predict, chances)
            drawn.append(self._unscaled(estimate))
        every = torch.stack(drawn, 1)
        best = torch.einsum("bne,be->bn", every, text.pooled).argmax(1)
        return every[torch.arange(rows, device=best.device), best]

    def decode(
        self,
        image: Float[Tensor, "B E"],
        text: texts.TextConditioning,
        chances: Sequence[torch.Generator],
        steps: int | None = None,
        guidance: float | None = None,
        start: Float[Tensor, "B 3 y x"] | None = None,
        eta: float | None = None,
    ) -> Float[Tensor, "B 3 y x"]:
        """Small pictures of embeddings and texts. start: the noise to begin with (None: of each row's seed). eta: as of the sampler."""
        c = self.config
        if start is None:
            start = sampling.noise_like((3, c.sides[0], c.sides[0]), chances, image.device)
        predict = self._decoding(image, text, c.guidance[1] if guidance is None else guidance)
        return (
            self.diffusions["decoder"].sample(steps or c.steps[1], start, predict, chances, eta).clamp(-1, 1)
        )

    def invert(self, images: Float[Tensor, "B 3 H W"], steps: int | None = None) -> tuple[Tensor, Tensor]:
        """Pictures as the decoder has them: their embeddings [B E], and the noise [B 3 y x] from which they are drawn (section 3)."""
        c, image = self.config, self.image_embedding(images)
        predict = self._decoding(image, self.empty_text(len(images)), 1.0)
        return image, self.diffusions["decoder"].inverted(
            steps or c.steps[1], networks.resized(images, c.sides[0]), predict
        )

    def _decoding(self, image: Tensor, text: texts.TextConditioning, scale: float) -> sampling.Predict:
        """The decoder with its guidance, away from the estimate without embedding and text."""
        read, rows = self.decoder.conditioning(image, text), len(image)
        if scale <= 1:
            return lambda noisy, t: self.decoder(noisy, t, read)  # type: ignore[no-any-return]
        both = read.concatenated(
            [self.decoder.conditioning(self.decoder.no_image(rows), self.empty_text(rows))]
        )

        def predict(noisy: Tensor, t: Tensor) -> Tensor:
            output, empty = self.decoder(noisy.repeat(2, 1, 1, 1), t.repeat(2), both).chunk(2)
            return sampling.guided(output, empty, scale, 3)

        return predict

    def enlarge(
        self, pictures: Float[Tensor, "B 3 y x"], chances: Sequence[torch.Generator], steps: int | None = None
    ) -> Float[Tensor, "B 3 H W"]:
        """Pictures of the decoder at their full size."""
        for part, usual in zip(("up_256", "up_1024"), self.config.steps[2:]):
            network: networks.Enlarger | None = getattr(self, part)
            if network is not None:
                start = sampling.noise_like((3, network.side, network.side), chances, pictures.device)
                predict = network.beside(network.enlarge(pictures))
                pictures = self.diffusions[part].sample(steps or usual, start, predict, chances).clamp(-1, 1)
        return pictures

    # training

    def losses(self, batch: Batch, turn: str) -> dict[str, Tensor]:
        """Losses of a part. "clip": its contrast. "prior": squared error of the embedding. The others: that of the noise, and the bound
        of a learned variance."""
        if turn == "clip":
            image = self.image_embedding(batch.required("images")[:, 0])
            return self.clip.compare(batch, F.normalize(image, dim=-1), self.clip.embed_text(batch))
        generator, images = masking_generator(self.training), self._pictures(batch)
        if turn == "up_1024" and self.up_1024 is None:
            raise Mistake(
                "This model has no part up_1024.", "Its pictures are those of up_256.", "Train another part."
            )
        diffusion = self.diffusions[turn]
        if turn in ("up_256", "up_1024"):
            large, small = self._crops(images, turn, generator)
            return diffusion.losses(large, generator, getattr(self, turn).beside(small))
        with torch.no_grad():
            text, image = self.encode_text(*batch.text()), self.image_embedding(images)
        text = self._emptied(
            text, self.config.prior_drop if turn == "prior" else self.config.text_drop, generator
        )
        if turn == "prior":
            return diffusion.losses(
                self._scaled(image), generator, lambda noisy, t: self.prior(noisy, t, *text)
            )
        drop = self._drop(len(image), self.config.image_drop, generator).to(image.device)
        image = torch.where(drop[:, None], self.decoder.no_image(len(image)), image)
        read = self.decoder.conditioning(image, text)
        small = networks.resized(images, self.config.sides[0])
        return diffusion.losses(small, generator, lambda noisy, t: self.decoder(noisy, t, read))

    def _crops(self, images: Tensor, part: str, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Random crops of a fourth of the side: of large pictures, and of small ones that were corrupted and enlarged (section 2.1)."""
        network: networks.Enlarger = getattr(self, part)
        if part == "up_256":
            small = gaussian_blur(networks.resized(images, self.config.sides[0]), self.config.blur)
        else:
            small = random_degradation(networks.resized(images, self.config.sides[1]), generator)
        pair = torch.cat([networks.resized(images, network.side), network.enlarge(small)], 1)
        side = network.side // 4
        y, x = torch.randint(network.side - side + 1, (2,), generator=generator).tolist()
        large, small = pair[..., y : y + side, x : x + side].chunk(2, 1)
        return large, small

    def _emptied(
        self, text: texts.TextConditioning, share: float, generator: torch.Generator
    ) -> texts.TextConditioning:
        """The texts, with this share of them replaced by the empty one in training."""
        rows = len(text.context)
        drop = self._drop(rows, share, generator).to(text.context.device)
        return text.replaced(drop, self.empty_text(rows))

    def _drop(self, rows: int, share: float, generator: torch.Generator) -> Bool[Tensor, " B"]:
        return torch.rand(rows, generator=generator) < (share if self.training else 0.0)

    def _pictures(self, batch: Batch) -> Float[Tensor, "B 3 H W"]:
        """The picture of each text."""
        images = batch.required("images")[:, 0]
        return images if batch.image_of is None else images[batch.image_of]
