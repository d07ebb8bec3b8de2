"""GAN-INT-CLS: Generative Adversarial Text to Image Synthesis (Reed et al., 2016, arXiv 1605.05396): a convolutional GAN whose
painter and critic both read a text embedding that a character network learnt beforehand; and an encoder of style, which inverts
the painter.

Prose, tables and deviations: docs/papers/reed_gan.md.

B texts, T characters, E text embedding, Z noise, H W sides of a picture.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from pairloom.abilities import DRAW
from pairloom.blocks.character_encoder import CharacterEncoder
from pairloom.blocks.encoder import Encoder, Network
from pairloom.data.batch import Batch, Texts
from pairloom.objectives.adversarial import critic_loss, interpolated, painter_loss
from pairloom.objectives.masked import masking_generator
from pairloom.objectives.mismatch import random_negatives

# The released alphabet of 70 characters, without the second of its two hyphens
ALPHABET = "abcdefghijklmnopqrstuvwxyz0123456789-,;.!?:'\"/\\|_@#$%^&*~`+=<>()[]{} "


@dataclass(frozen=True)
class Config:
    """Sizes of the released CUB scripts, 64 px.

    vocabulary: characters, and one number for all others, which are read as blank; length: characters of a text.
    character_widths: channels of the text encoder's three convolutions.
    image_network: the image encoder of the text encoder's own training, with its published weights where `frozen`.
    text_width: of the text inside generator (painter) and discriminator (critic). painter_width: channels of the generator's
    widest stage, divided by 8; critic_width: channels of the discriminator's narrowest stage. mismatched: the discriminator
    also learns from real pictures with wrong texts (CLS). interpolate: the generator also learns from interpolated texts
    (INT), with weight `interpolate_weight`: from the middle between two texts, or from anywhere on the line through both
    (`extrapolate`: "type 2" of the released code).
    """

    image_size: int = 64
    vocabulary: int = 70
    length: int = 201
    character_widths: tuple[int, int, int] = (384, 512, 512)
    embedding: int = 1024
    image_network: Network = "googlenet"
    frozen: bool = True
    patch: int = 16
    noise: int = 100
    text_width: int = 128
    painter_width: int = 128
    critic_width: int = 64
    mismatched: bool = True
    interpolate: bool = True
    interpolate_weight: float = 1.0
    extrapolate: bool = False
    pad: int = 0


TINY = Config(
    image_size=32, vocabulary=70, length=60, character_widths=(16, 16, 16), embedding=32, image_network="residual",
    frozen=False, patch=8, noise=8, text_width=8, painter_width=4, critic_width=4,
)  # fmt: skip
PRESETS: dict[str, Config] = {
    "gan": Config(mismatched=False, interpolate=False),
    "gan-cls": Config(interpolate=False),
    "gan-int": Config(mismatched=False),
    "gan-int-cls": Config(),
    "base": Config(),
    "coco": Config(interpolate=False, painter_width=196, critic_width=196),
    "tiny": TINY,
}
PIXELS: dict[str, object] = {"mean": (0.5, 0.5, 0.5), "std": (0.5, 0.5, 0.5), "fit": "crop"}
# Adam with momentum .5. Where the released code halves the rate every 100 epochs (COCO: 40), here it falls as much epoch by
# epoch. The text encoder: RMSProp, whose rate is multiplied by .98 in every epoch.
_GAN: dict[str, object] = dict(
    optimiser="adam", lr=2e-4, betas=(0.5, 0.999), batch=64, epochs=600, schedule="exponential", decay=0.5 ** (1 / 100),
    weight_decay=0.0, clip=0.0, warmup=0, min_lr=0.0,
    turns={"encoder": dict(optimiser="rmsprop", lr=7e-4, betas=(0.0, 0.99), decay=0.98)},
)  # fmt: skip
RECIPES: dict[str, dict[str, object]] = {
    "base": _GAN,
    "coco": {
        **_GAN,
        "epochs": 200,
        "decay": 0.5 ** (1 / 40),
        "turns": {"encoder": dict(lr=2e-4, decay=0.5 ** (1 / 50))},
    },
}


def example(config: Config, generator: torch.Generator) -> Batch:
    """Six texts of up to 40 characters, each with a random picture."""
    images = torch.randn(6, 1, 3, config.image_size, config.image_size, generator=generator)
    mask = torch.arange(40) < torch.tensor([40, 5, 40, 3, 6, 40])[:, None]
    ids = torch.randint(1, config.vocabulary, mask.shape, generator=generator)
    return Batch(
        images=images, texts=Texts(ids.masked_fill(~mask, config.pad), mask), image_ids=torch.arange(6)
    )


class Painter(nn.Module):
    """Generator (figure 2): noise and text to a 4 x 4 map, then deconvolutions that double the sides up to the picture's. No
    convolution has a bias: the released code sets them to zero before every step."""

    def __init__(self, c: Config) -> None:
        super().__init__()
        self.text = nn.Sequential(nn.Linear(c.embedding, c.text_width), nn.LeakyReLU(0.2))
        width = 8 * c.painter_width
        self.enter = nn.Sequential(
            nn.ConvTranspose2d(c.noise + c.text_width, width, 4, bias=False), nn.BatchNorm2d(width)
        )
        stages: list[nn.Module] = [_Bottleneck(width, width // 4, nn.ReLU()), nn.ReLU()]
        for index in range(doublings(c.image_size) - 1):
            after = max(c.painter_width, width // 2)
            stages += [nn.ConvTranspose2d(width, after, 4, 2, 1, bias=False), nn.BatchNorm2d(after)]
            stages += [_Bottleneck(after, after // 4, nn.ReLU())] if not index else []
            stages, width = [*stages, nn.ReLU()], after
        self.stages = nn.Sequential(*stages, nn.ConvTranspose2d(width, 3, 4, 2, 1, bias=False), nn.Tanh())

    def forward(self, texts: Float[Tensor, "B E"], noise: Float[Tensor, "B Z"]) -> Float[Tensor, "B 3 H W"]:
        """Pictures in [-1, 1]."""
        return self.stages(self.enter(torch.cat([noise, self.text(texts)], 1)[..., None, None]))


def halving(c: Config) -> tuple[nn.Sequential, int]:
    """The convolutions that halve a picture's sides down to a 4 x 4 map, and the channels of this map. As in the released code, none of
    the last two is followed by an activation."""
    width, count = c.critic_width, doublings(c.image_size)
    stages: list[nn.Module] = [nn.Conv2d(3, width, 4, 2, 1, bias=False), nn.LeakyReLU(0.2)]
    for index in range(1, count):
        stages += [nn.Conv2d(width, 2 * width, 4, 2, 1, bias=False), nn.BatchNorm2d(2 * width)]
        width *= 2
        stages += [nn.LeakyReLU(0.2)] if index < count - 2 else []
    return nn.Sequential(*stages, _Bottleneck(width, width // 4, nn.LeakyReLU(0.2)), nn.LeakyReLU(0.2)), width


class Critic(nn.Module):
    """Discriminator (figure 2): convolutions that halve the sides down to a 4 x 4 map, to which the text is concatenated."""

    def __init__(self, c: Config) -> None:
        super().__init__()
        self.stages, width = halving(c)
        self.text = nn.Sequential(
            nn.Linear(c.embedding, c.text_width), nn.BatchNorm1d(c.text_width), nn.LeakyReLU(0.2)
        )
        self.judge = nn.Sequential(
            nn.Conv2d(width + c.text_width, width, 1, bias=False), nn.BatchNorm2d(width), nn.LeakyReLU(0.2),
            nn.Conv2d(width, 1, 4, bias=False),
        )  # fmt: skip

    def forward(self, images: Float[Tensor, "B 3 H W"], texts: Float[Tensor, "B E"]) -> Float[Tensor, " B"]:
        """Log-odds that the picture is real and the text its own."""
        map_ = self.stages(images)
        joined = self.text(texts)[..., None, None].expand(-1, -1, *map_.shape[2:])
        return self.judge(torch.cat([map_, joined], 1)).flatten()


class StyleEncoder(nn.Module):
    """Style encoder S (section 4.4): the noise that a picture would have been drawn from. Convolutions as the discriminator's; the
    paper does not say which."""

    def __init__(self, c: Config) -> None:
        super().__init__()
        stages, width = halving(c)
        self.stages = nn.Sequential(stages, nn.Conv2d(width, c.noise, 4))

    def forward(self, images: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B Z"]:
        """Noise."""
        return self.stages(images)[..., 0, 0]


class _Bottleneck(nn.Module):
    """Residual of a 1 x 1 and two 3 x 3 convolutions."""

    def __init__(self, width: int, inside: int, activation: nn.Module) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(width, inside, 1, bias=False), nn.BatchNorm2d(inside), activation,
            nn.Conv2d(inside, inside, 3, 1, 1, bias=False), nn.BatchNorm2d(inside), activation,
            nn.Conv2d(inside, width, 3, 1, 1, bias=False), nn.BatchNorm2d(width),
        )  # fmt: skip

    def forward(self, x: Float[Tensor, "B C U V"]) -> Float[Tensor, "B C U V"]:
        return x + self.layers(x)


def doublings(image_size: int) -> int:
    """How often a 4 x 4 map must double to reach the picture. ValueError for a side that is no power of two from 16 on."""
    if image_size < 16 or image_size & (image_size - 1):
        raise ValueError(f"image size {image_size} is no power of two from 16 on")
    return image_size.bit_length() - 3


class System(nn.Module):
    """Reed's GAN: the part "text" (character encoder, matched with pictures) is trained before the part "gan", and that before
    the part "style"."""

    abilities = (DRAW,)
    trains_on = ("class_pairs",)
    turns = {
        "encoder": ("text.", "image."), "critic": ("critic.",), "painter": ("painter.",), "style": ("style.",)
    }  # fmt: skip
    parts = {"text": ("encoder",), "gan": ("critic", "painter"), "style": ("style",)}

    def __init__(self, config: Config) -> None:
        super().__init__()
        c = self.config = config
        self.text = CharacterEncoder(c.vocabulary, c.length, c.character_widths, c.embedding, c.pad)
        self.image = nn.ModuleDict({"network": Encoder(c.image_network, c.frozen, c.patch, c.embedding)})
        if self.image["network"].width != c.embedding:
            self.image["project"] = nn.Linear(int(self.image["network"].width), c.embedding)
        for part in self.text.parameters():
            nn.init.uniform_(part, -0.08, 0.08)
        self.painter, self.critic, self.style = Painter(c), Critic(c), StyleEncoder(c)
        for network in (self.painter, self.critic, self.style):
            network.apply(_initialise)

    def draw(
        self, batch: Batch, *, seeds: Sequence[int] | None = None, style: bool = False, **options: Any
    ) -> Float[Tensor, "B 3 H W"]:
        """Generate a picture in [-1, 1] for each text. seeds: of each row's noise (None: the same noise at every call).

        style: the noise is what the style encoder reads from the batch's picture of each text: the content is the text's, and
        the style (pose, background) is the picture's.
        """
        if options:
            raise ValueError(f"this system does not know {', '.join(options)}")
        texts = self.text(*batch.text())
        if style:
            return self.painter(texts, self.style(self._pictures(batch)))
        return self.painter(texts, self._noise(len(texts), texts.device, seeds))

    def draw_between(
        self, batch: Batch, shares: Float[Tensor, " S"], *, seeds: Sequence[int]
    ) -> Float[Tensor, "S 3 H W"]:
        """Pictures between the first two texts of a batch (section 4.3) and between the noises of two seeds, on straight lines: those
        of the first at share 0, of the second at 1."""
        shares = shares[:, None]
        first, second = self.text(*batch.text())[:2]
        one, other = self._noise(2, first.device, seeds)
        return self.painter(torch.lerp(first, second, shares), torch.lerp(one, other, shares))

    def _noise(
        self, rows: int, device: torch.device, seeds: Sequence[int] | None = None
    ) -> Float[Tensor, "B Z"]:
        """Noise, one row for each seed. Without seeds it comes from torch's default generator in training, and is the same at
        every call in evaluation."""
        if seeds is None:
            generator = None if self.training else torch.Generator(device).manual_seed(0)
            return torch.randn(rows, self.config.noise, device=device, generator=generator)
        draws = [
            torch.randn(self.config.noise, generator=torch.Generator().manual_seed(seed)) for seed in seeds
        ]
        return torch.stack(draws).to(device)

    def losses(self, batch: Batch, turn: str) -> dict[str, Tensor]:
        """Losses of a turn. "encoder": structured joint embedding. "critic", "painter": of the GAN, on texts from the text
        encoder, which these turns do not train. "style": squared error of the noise that a drawn picture came from."""
        if turn == "encoder":
            return {"joint": self._joint(batch)}
        with torch.no_grad():
            texts = self.text(*batch.text())
        if turn == "painter":
            return {"painter": self._paint(texts)}
        noise = self._noise(len(texts), texts.device)
        with torch.no_grad():
            drawn = self.painter(texts, noise)
        if turn == "style":
            return {"style": (self.style(drawn) - noise).square().sum(1).mean()}
        real = self._pictures(batch)
        wrong = self._mismatched(batch, texts) if self.config.mismatched else None
        scores = self.critic(drawn, texts)
        return {"critic": critic_loss(self.critic(real, texts), scores, wrong)}

    def _paint(self, texts: Float[Tensor, "B E"]) -> Float[Tensor, ""]:
        """Generator loss of the texts and, with INT, of those between them: one batch of half as many rows again, as in the released
        code, whose mean has a weight for each row."""
        weights = torch.ones(len(texts), device=texts.device)
        if self.config.interpolate:
            generator = masking_generator(self.training) if self.config.extrapolate else None
            between = interpolated(texts, generator)
            texts = torch.cat([texts, between])
            weights = torch.cat([weights, weights.new_full((len(between),), self.config.interpolate_weight)])
        drawn = self.painter(texts, self._noise(len(texts), texts.device))
        return painter_loss(self.critic(drawn, texts), weights)

    def _pictures(self, batch: Batch) -> Float[Tensor, "B 3 H W"]:
        images = batch.required("images")[:, 0]
        return images if batch.image_of is None else images[batch.image_of]

    def _mismatched(self, batch: Batch, texts: Tensor) -> Float[Tensor, " B"] | None:
        """The critic's scores of real pictures with texts of others; None where the batch has one picture only."""
        ids = self._picture_ids(batch).to(texts.device)
        other, available = random_negatives(ids, masking_generator(self.training))
        if not bool(available.all()):
            return None
        return self.critic(self._pictures(batch)[other], texts)

    def _picture_ids(self, batch: Batch) -> Int[Tensor, " B"]:
        """Which picture each text has."""
        ids = batch.image_ids if batch.image_ids is not None else batch.image_of
        return torch.arange(len(batch)) if ids is None else ids

    def _joint(self, batch: Batch) -> Float[Tensor, ""]:
        """Structured joint embedding (arXiv 1605.05395, equation 3): a text should score its own picture higher than every
        other one by a margin of 1, and a picture its own text."""
        pooled = self.image["network"](self._pictures(batch)).mean((2, 3))
        images = self.image["project"](pooled) if "project" in self.image else pooled
        scores = self.text(*batch.text()) @ images.T
        ids = self._picture_ids(batch).to(scores.device)
        others = ids[:, None] != ids
        own = scores.diagonal()
        by_text = ((scores - own[:, None] + 1).clamp(min=0) * others).sum()
        by_image = ((scores - own[None] + 1).clamp(min=0) * others).sum()
        return (by_text + by_image) / len(scores) ** 2


def _initialise(part: nn.Module) -> None:
    """Convolutions N(0, .02), gains of batch norms N(1, .02), as in the released code; linear maps as torch has them."""
    if isinstance(part, nn.Conv2d | nn.ConvTranspose2d):
        nn.init.normal_(part.weight, std=0.02)
        if part.bias is not None:
            nn.init.zeros_(part.bias)
    elif isinstance(part, nn.BatchNorm2d | nn.BatchNorm1d):
        nn.init.normal_(part.weight, 1.0, 0.02)
