"""Latent diffusion: High-Resolution Image Synthesis with Latent Diffusion Models (Rombach et al., 2021, arXiv 2112.10752):
a network that reads a text removes noise from a compressed picture; Stable Diffusion is this with CLIP's text encoder.

UNet, autoencoder, text encoders and schedulers are those of diffusers and transformers (the `diffusion` extra).
Prose, tables and deviations: docs/papers/latent_diffusion.md; hard negatives: docs/papers/diffusion_itm.md.

B texts, I pictures, T tokens, D width of the context, C channels and Y X sides of a latent.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from pairloom.abilities import DENOISE, DRAW
from pairloom.blocks.lora import adapt, adapters
from pairloom.data.batch import Batch
from pairloom.objectives.denoise import distance, noised, pushed_away, target
from pairloom.systems import _diffusion_text as texts
from pairloom.systems import _sampling as sampling

Settings = dict[str, Any]  # settings by diffusers' own names
MAPS = ("to_q", "to_k", "to_v", "to_out.0")
CROSS, DOWN, UP = "CrossAttnDownBlock2D", "DownBlock2D", "UpBlock2D"
CROSS_UP = "CrossAttnUpBlock2D"


def _schedule(kind: str, prediction: str = "epsilon", **more: Any) -> Settings:
    """Stable Diffusion's noise schedule: beta from 0.00085 to 0.012, linear in its square root, over 1000 timesteps."""
    return {
        "_class_name": kind, "num_train_timesteps": 1000, "beta_start": 0.00085, "beta_end": 0.012,
        "beta_schedule": "scaled_linear", "prediction_type": prediction, **more,
    }  # fmt: skip


def _autoencoder(scale: float = 0.18215) -> Settings:
    return {
        "block_out_channels": [128, 256, 512, 512], "layers_per_block": 2, "latent_channels": 4, "scaling_factor": scale,
        "down_block_types": ["DownEncoderBlock2D"] * 4, "up_block_types": ["UpDecoderBlock2D"] * 4,
    }  # fmt: skip


def _text(width: int, depth: int, heads: int, activation: str = "gelu", **more: Any) -> Settings:
    return {
        "hidden_size": width, "intermediate_size": 4 * width, "num_hidden_layers": depth, "num_attention_heads": heads,
        "hidden_act": activation, **more,
    }  # fmt: skip


DROPPED = 0.1  # of the texts of plain training, so that guidance can be used


@dataclass(frozen=True)
class Config:
    """Stable Diffusion 1.5. unet, vae, text, text_2, scheduler: settings by the names of the libraries that build these parts,
    but for what follows from the rest (channels, sides, width of the context, vocabulary, ids).

    vae {}: none; the picture itself is the latent, with squares of `packing` x `packing` pixels moved into channels.
    text_2 {}: none; with it the context is the last layer but one of both encoders, and the UNet also reads the second one's
    pooled row (SDXL). pad, pad_2: padding ids; a text is padded to `length` tokens, and the network reads the padding.
    zero_empty: the conditioning of the empty text is all zeros (SDXL). dropped: share of the texts that are replaced by the
    empty one in training; None: a tenth, and none where a batch has hard negatives, as in HardNeg's released code. learn_text: the text encoder is trained too.
    rank: of low-rank adapters on the attention (0: none); with adapters all else is frozen. adapted: the adapters are on
    both attentions, as in the released code, or on cross-attention alone, as the paper says. margin: lambda, the error of a
    wrong pair, as a multiple of the true pair's, beyond which its loss is constant.
    """

    image_size: int = 512
    vocabulary: int = 49408
    length: int = 77
    pad: int = 49407
    cls: int = 49406
    sep: int = 49407
    pad_2: int = 0
    packing: int = 1
    zero_empty: bool = False
    dropped: float | None = None
    learn_text: bool = False
    rank: int = 0
    adapted: Literal["both", "cross"] = "both"
    margin: float = 1.0
    unet: Settings = field(default_factory=lambda: {"attention_head_dim": 8})
    vae: Settings = field(default_factory=_autoencoder)
    text: Settings = field(default_factory=lambda: _text(768, 12, 12, "quick_gelu"))
    text_2: Settings = field(default_factory=dict)
    scheduler: Settings = field(
        default_factory=lambda: _schedule(
            "PNDMScheduler", set_alpha_to_one=False, skip_prk_steps=True, steps_offset=1
        )
    )


def _small(channels: list[int], groups: int, head: int) -> Settings:
    return {
        "block_out_channels": channels, "layers_per_block": 1, "norm_num_groups": groups, "attention_head_dim": head,
        "down_block_types": [CROSS] * len(channels), "up_block_types": [CROSS_UP] * len(channels),
    }  # fmt: skip


TINY = Config(
    image_size=32, vocabulary=64, length=12, pad=0, cls=2, sep=3, packing=4, learn_text=True, unet=_small([48], 8, 2),
    vae={}, text=_text(32, 1, 2), scheduler=_schedule("DDIMScheduler", clip_sample=False, set_alpha_to_one=False),
)  # fmt: skip
VELOCITY = _schedule("DDIMScheduler", "v_prediction", clip_sample=False)
# the pooled text is added to the embedding of the timestep, too
POOLED_TEXT = {"addition_embed_type": "text", "addition_embed_type_num_heads": 4}
# A preset that learns the drawn world in a few minutes on a CPU. With v-prediction the late timesteps, where the text
# matters most, keep their weight in the loss.
DRAWN = replace(
    TINY, image_size=16, length=16, packing=4, unet=_small([64], 8, 4) | POOLED_TEXT, text=_text(64, 1, 4),
    scheduler=VELOCITY,
)  # fmt: skip
EULER = _schedule("EulerDiscreteScheduler")
SD2 = Config(
    unet={"attention_head_dim": [5, 10, 20, 20], "use_linear_projection": True}, text=_text(1024, 23, 16), pad=0,
    scheduler=EULER,
)  # fmt: skip
XL = Config(
    image_size=1024, zero_empty=True, vae=_autoencoder(0.13025), scheduler=EULER,
    text_2=_text(1280, 32, 20, projection_dim=1280),
    unet={
        "block_out_channels": [320, 640, 1280], "down_block_types": [DOWN, CROSS, CROSS],
        "up_block_types": [CROSS_UP, CROSS_UP, UP], "attention_head_dim": [5, 10, 20], "use_linear_projection": True,
        "transformer_layers_per_block": [1, 2, 10], "addition_embed_type": "text_time", "addition_time_embed_dim": 256,
        "projection_class_embeddings_input_dim": 2816,
    },
)  # fmt: skip
PRESETS: dict[str, Config] = {
    "base": Config(), "tiny": TINY, "drawn": DRAWN, "2.1-base": SD2, "xl": XL,
    "2.1": replace(SD2, image_size=768, scheduler=VELOCITY),
}  # fmt: skip
RECIPES: dict[str, dict[str, object]] = {
    "base": dict(lr=1e-4, min_lr=0.0, batch=2048, steps=595_000, warmup=10_000, schedule="constant", weight_decay=0.01, ema=0.9999),
    "drawn": dict(lr=3e-3, min_lr=1e-5, batch=64, steps=1300, warmup=30, weight_decay=0.01, ema=0.98),
    "hardneg": dict(lr=1e-4, batch=112, epochs=8, warmup=0, schedule="constant", weight_decay=0.01, decay_all=True, clip=1.0),
}  # fmt: skip
BESIDE = "diffusers"  # the layout in which a run writes its adapters, beside the model folder
PIXELS: Settings = {"mean": (0.5, 0.5, 0.5), "std": (0.5, 0.5, 0.5)}  # pictures in [-1, 1]


def example(config: Config, generator: torch.Generator) -> Batch:
    """Six random pairs."""
    from pairloom.data.random_batch import random_pairs

    return random_pairs(config, generator)


class System(nn.Module):
    """Latent diffusion. `encoded` is the latents of the pictures [I C Y X].

    times: number of timesteps. shares [times]: share of the picture's variance that is left at each ("alpha bar"). latent:
    (C, Y, X).
    """

    abilities = (DENOISE, DRAW)
    trains_on = ("pairs", "negatives")

    def __init__(self, config: Config) -> None:
        super().__init__()
        texts.needs("diffusers")
        from diffusers import AutoencoderKL, UNet2DConditionModel

        c = self.config = config
        self.vae: Any = AutoencoderKL(**c.vae).requires_grad_(False) if c.vae else None
        self.latent = latent_shape(c)
        ids = texts.Ids(c.vocabulary, c.cls, c.sep, (c.pad, c.pad_2))
        self.text = texts.TextEncoder(c.text, c.text_2, ids, c.length, c.zero_empty).requires_grad_(
            c.learn_text
        )
        channels, side, _ = self.latent
        own = {"sample_size": side, "in_channels": channels, "out_channels": channels}
        self.unet: Any = UNet2DConditionModel(**{**c.unet, **own, "cross_attention_dim": self.text.width})
        if c.rank:
            self.add_adapters(c)
        self.diffusion = sampling.Diffusion(c.scheduler)
        self.times, self.shares = self.diffusion.times, self.diffusion.shares

    def attention_maps(self, adapted: str) -> list[str]:
        """Names of the linear maps of the UNet's attention: of "both" attentions, or of "cross" attention alone."""
        kinds = ("attn1", "attn2") if adapted == "both" else ("attn2",)
        return [
            f"{name}.{which}"
            for name, _ in self.unet.named_modules()
            if name.rpartition(".")[2] in kinds
            for which in MAPS
        ]

    def add_adapters(self, config: Config) -> None:
        """Put low-rank adapters on the attention, as a config says, and freeze all else."""
        self.config = config
        adapt(self.unet, self.attention_maps(config.adapted), config.rank)
        self.text.requires_grad_(False)

    def added(self, before: Config) -> list[str]:
        """Names of the parts that a model of config `before` lacks and that a run may initialise: the adapters, where that
        config has none."""
        halves = ("down", "up") if not before.rank else ()
        return [f"unet.{name}.{half}." for name, _ in adapters(self.unet) for half in halves]

    def train(self, mode: bool = True) -> System:
        """Training mode; frozen parts stay in evaluation mode."""
        super().train(mode)
        for part in (self.vae, None if self.config.learn_text else self.text):
            if part is not None:
                part.eval()
        return self

    def encode_image(self, batch: Batch) -> Batch:
        """Encode the pictures [I 1 3 H W], once: `encoded` is the mean of the posterior."""
        return (
            batch
            if batch.encoded is not None
            else replace(batch, encoded=self.posterior(batch.required("images")[:, 0])[0])
        )

    def posterior(self, images: Float[Tensor, "I 3 H W"]) -> tuple[Tensor, Tensor | None]:
        """Mean and deviation [I C Y X] of the latents of pictures in [-1, 1]; no deviation where the pixels are the latent.
        ValueError for another size than the config's."""
        side = self.config.image_size
        if images.shape[-2:] != (side, side):
            raise ValueError(f"pictures are {tuple(images.shape[-2:])}, the system reads {side} px squares")
        if self.vae is None:
            return F.pixel_unshuffle(images, self.config.packing), None
        with torch.no_grad():
            distribution = self.vae.encode(images.to(self.vae.dtype)).latent_dist
        scale = self.vae.config.scaling_factor
        return distribution.mean.float() * scale, distribution.std.float() * scale

    def encode_text(self, tokens: Int[Tensor, "B T"], mask: Bool[Tensor, "B T"]) -> texts.TextConditioning:
        """Encode texts for the UNet."""
        conditioning: texts.TextConditioning = self.text(tokens, mask)
        return conditioning

    def empty_text(self, rows: int) -> texts.TextConditioning:
        """The conditioning of the empty text, `rows` times."""
        return self.text.nothing(rows, self.unet.device)

    def predict(
        self,
        noisy: Float[Tensor, "B C Y X"],
        t: Int[Tensor, " B"] | Float[Tensor, " B"],
        text: texts.TextConditioning,
        guidance: float | None = None,
    ) -> Float[Tensor, "B C Y X"]:
        """Output of the UNet: its estimate of the noise, or of v. guidance: for a network that is given it (`reads_guidance`)."""
        more: dict[str, Any] = {}
        if guidance is not None:
            waves = guidance_waves(guidance, self.config.unet["time_cond_proj_dim"])
            more["timestep_cond"] = waves.to(noisy.device, self.unet.dtype).expand(len(noisy), -1)
        if (
            text.pooled is not None
        ):  # original size, corner of the crop, target size (Podell et al., 2023, section 2.2)
            side = self.config.image_size
            sizes = noisy.new_tensor([[side, side, 0, 0, side, side]], dtype=text.pooled.dtype)
            ids = sizes.expand(len(noisy), -1)
            more["added_cond_kwargs"] = {"text_embeds": text.pooled, "time_ids": ids}
        kind = self.unet.dtype
        answer: Tensor = self.unet(noisy.to(kind), t, text.context.to(kind), return_dict=False, **more)[0]
        return answer.float()

    def residual(
        self,
        latents: Float[Tensor, "B C Y X"],
        t: Int[Tensor, " B"],
        noise: Float[Tensor, "B C Y X"],
        text: texts.TextConditioning,
    ) -> Float[Tensor, "B C Y X"]:
        """The noise minus the network's estimate of it from the noised latents, in 32 bits."""
        return self.diffusion.residual(latents, t, noise, lambda noisy, t: self.predict(noisy, t, text))

    @property
    def reads_guidance(self) -> bool:
        """Whether the network is given the scale of guidance, as latent consistency models are (Luo et al., 2023)."""
        return self.config.unet.get("time_cond_proj_dim") is not None

    def denoising_error(
        self, batch: Batch, t: Int[Tensor, " B"], noise: Float[Tensor, "B C Y X"]
    ) -> Float[Tensor, " B"]:
        """Mean squared residual of every text's picture (Krojer et al., 2023, section 3.1)."""
        text = self.text(*batch.text())
        return distance(self.residual(self._own(batch, self.encode_image(batch).encoded), t, noise, text))

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """Squared error of the prediction at random timesteps (equation 3), and the hinge loss of the batch's hard negatives,
        for which the texts or the pictures of `negatives` get the same timesteps and noise.

        In training the random numbers come from torch's default generator; in evaluation they are always the same.
        """
        device = self.unet.device
        seed = int(torch.randint(1 << 62, ())) if self.training else 0
        chance = torch.Generator(device).manual_seed(seed)
        tokens, mask = batch.text()
        rows = len(tokens)
        t = torch.randint(self.times, (rows,), generator=chance, device=device)
        noise = torch.randn(rows, *self.latent, generator=chance, device=device)
        drop = torch.rand(rows, generator=chance, device=device) < self._dropped(batch)
        clean = batch.encoded
        if clean is None:
            clean = self._learned(batch.required("images"), chance)
        clean = self._own(batch, clean)

        def error(latents: Tensor, text: texts.TextConditioning) -> Tensor:
            share = self.shares.to(device)[t]
            answer = self.predict(noised(latents, noise, share), t, text)
            return F.mse_loss(answer, target(latents, noise, share, self.diffusion.prediction))

        text = self.text(*self.text.emptied(tokens, mask, drop))
        values = {"denoise": error(clean, text)}
        negatives = batch.negatives
        if negatives is None:
            return values
        if negatives.texts is not None:
            emptied = self.text.emptied(negatives.texts.ids, negatives.texts.mask, drop)
            wrong = error(clean, self.text(*emptied))
        else:
            assert negatives.images is not None
            wrong = error(self._own(batch, self._learned(negatives.images, chance)), text)
        return {**values, "negative": pushed_away(values["denoise"], wrong, self.config.margin)}

    def _dropped(self, batch: Batch) -> float:
        """Share of the batch's texts that are replaced by the empty one."""
        if not self.training:
            return 0.0
        if self.config.dropped is not None:
            return self.config.dropped
        return DROPPED if batch.negatives is None else 0.0

    def _learned(self, images: Float[Tensor, "I 1 3 H W"], chance: torch.Generator) -> Tensor:
        """Latents of pictures: a sample of the posterior in training, its mean otherwise."""
        mean, deviation = self.posterior(images[:, 0])
        if not self.training or deviation is None:
            return mean
        return mean + deviation * torch.randn(mean.shape, generator=chance, device=mean.device)

    def _own(self, batch: Batch, latents: Tensor) -> Tensor:
        """The latents of each text's picture."""
        return latents if batch.image_of is None else latents[batch.image_of]

    @torch.no_grad()
    def draw(
        self, batch: Batch, *, steps: int = 50, guidance: float = 7.5, seeds: Sequence[int] | None = None
    ) -> Float[Tensor, "B 3 H W"]:
        """Sample pictures in [-1, 1] of the texts, with classifier-free guidance (Ho and Salimans, 2022): empty + guidance x
        (text - empty); up to 1 it is none. A latent consistency model is given the guidance instead, and reads no empty text.
        seeds: one for each row; a row's picture depends on no other row's seed."""
        (tokens, mask), device = batch.text(), self.unet.device
        seeds = range(len(tokens)) if seeds is None else seeds
        chances = sampling.generators(seeds)
        text, none = self.text(tokens, mask), self.text.nothing(len(tokens), device)

        def predict(noisy: Tensor, t: Tensor) -> Tensor:
            estimate = self.predict(noisy, t, text, guidance if self.reads_guidance else None)
            if guidance <= 1 or self.reads_guidance:
                return estimate
            return sampling.guided(estimate, self.predict(noisy, t, none), guidance, len(estimate[0]))

        start = sampling.noise_like(self.latent, chances, device)
        latents = self.diffusion.sample(steps, start, predict, chances)
        if self.vae is None:
            return F.pixel_shuffle(latents, self.config.packing).clamp(-1, 1)
        latents = (latents / self.vae.config.scaling_factor).to(self.vae.dtype)
        return self.vae.decode(latents).sample.float().clamp(-1, 1)  # type: ignore[no-any-return]


def guidance_waves(guidance: float, width: int) -> Float[Tensor, "1 G"]:
    """Sinusoidal embedding of a scale of guidance, as latent consistency models read it."""
    half = width // 2
    frequencies = torch.exp(torch.arange(half) * -(math.log(10000.0) / (half - 1)))
    angles = 1000 * (guidance - 1) * frequencies
    return F.pad(torch.cat([angles.sin(), angles.cos()]), (0, width % 2))[None]


def latent_shape(c: Config) -> tuple[int, int, int]:
    """(C, Y, X) of a config's latents."""
    if not c.vae:
        return 3 * c.packing**2, c.image_size // c.packing, c.image_size // c.packing
    side = c.image_size // 2 ** (len(c.vae["block_out_channels"]) - 1)
    return c.vae["latent_channels"], side, side
