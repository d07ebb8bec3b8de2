"""CLIP: Learning Transferable Visual Models From Natural Language Supervision (Radford et al., 2021, arXiv 2103.00020):
two encoders and one loss, whose texts then name classes that nobody trained.

Prose, tables and deviations: docs/papers/clip.md.

B texts, I pictures, N pictures per row, T tokens, E shared embedding.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from pairloom.abilities import EMBED
from pairloom.blocks.encoder_configs import TextConfig, TextEncoderConfig, VisionConfig, ViTConfig
from pairloom.blocks.feed import Activation
from pairloom.blocks.gather import gather_pairs, pair_up
from pairloom.blocks.image_encoder import ImageEncoderConfig, image_projection, image_tower, initialise_image
from pairloom.blocks.scaled_initialisation import initialise_scaled
from pairloom.blocks.text import WRITE, TextTransformer
from pairloom.blocks.transformer import TransformerConfig
from pairloom.data.batch import Batch
from pairloom.objectives.contrast import symmetric_contrast


@dataclass(frozen=True)
class Config:
    """ViT-B/32 (section 2.4, tables 19 and 20).

    stages: blocks of the four stages of a ResNet; with them image_width is that of its first stage, image_heads those of
    its pooling, and patch, image_depth and image_growth are idle. growth: hidden width of feed-forward parts over width.
    length: tokens that a text may have, and positions. sep: the id whose row speaks for the text. loss: the paper's
    "softmax", or SigLIP's "sigmoid", which also learns a `bias`. scale: of the cosines at the start (None: 1 / 0.07, or 10
    with the sigmoid loss); with the softmax it never passes `scale_limit`.

    vision, text: encoders of later models in place of the paper's, which pool and project by themselves. With `vision` the
    numbers of the image side are idle, but for image_size; with a text encoder of a library, those of the text side.
    """

    image_size: int = 224
    patch: int = 32
    image_width: int = 768
    image_depth: int = 12
    image_heads: int = 12
    image_growth: float = 4.0
    stages: tuple[int, ...] = ()
    vocabulary: int = 49408
    length: int = 77
    width: int = 512
    depth: int = 12
    heads: int = 8
    growth: float = 4.0
    embedding: int = 512
    activation: Activation = "quick_gelu"
    eps: float = 1e-5
    pad: int = 49407
    cls: int = 49406
    sep: int = 49407
    loss: Literal["softmax", "sigmoid"] = "softmax"
    scale: float | None = None
    scale_limit: float = 100.0
    bias: float = -10.0
    vision: VisionConfig | None = None
    text: TextConfig | None = None

    @property
    def image_encoder(self) -> ImageEncoderConfig:
        """The numbers of the image side alone."""
        return ImageEncoderConfig(
            **{
                field.name: getattr(self, field.name)
                for field in fields(ImageEncoderConfig)
                if hasattr(self, field.name)
            }
        )


TINY = Config(
    image_size=32, patch=8, image_width=32, image_depth=2, image_heads=2, vocabulary=64, length=12, width=32, depth=2,
    heads=2, embedding=16, pad=0, cls=2, sep=3,
)  # fmt: skip
LARGE = Config(patch=14, image_width=1024, image_depth=24, image_heads=16, width=768, heads=12, embedding=768)


def _resnet(stages: tuple[int, ...], size: int, width: int, embedding: int, text: int) -> Config:
    return Config(
        image_size=size, stages=stages, image_width=width, image_heads=width // 2,
        width=text, heads=text // 64, embedding=embedding,
    )  # fmt: skip


PRESETS: dict[str, Config] = {
    "base": Config(),
    "tiny": TINY,
    "ViT-B-32": Config(),
    "ViT-B-16": Config(patch=16),
    "ViT-L-14": LARGE,
    "ViT-L-14-336": replace(LARGE, image_size=336),
    "RN50": _resnet((3, 4, 6, 3), 224, 64, 1024, 512),
    "RN101": _resnet((3, 4, 23, 3), 224, 64, 512, 512),
    "RN50x4": _resnet((4, 6, 10, 6), 288, 80, 640, 640),
    "RN50x16": _resnet((6, 8, 18, 8), 384, 96, 768, 768),
    "RN50x64": _resnet((3, 15, 36, 10), 448, 128, 1024, 1024),
}
_SIGLIP = Config(  # Zhai et al., 2023 (arXiv 2303.15343), B/16
    vocabulary=32000, length=64, width=768, heads=12, embedding=768, activation="gelu", eps=1e-6, pad=1, sep=1,
    loss="sigmoid", vision=ViTConfig(), text=TextEncoderConfig(),
)  # fmt: skip
_SIGLIP_LARGE = replace(
    _SIGLIP, image_size=256, width=1024, depth=24, heads=16, embedding=1024, vision=ViTConfig(width=1024, depth=24, heads=16)
)  # fmt: skip
_SO400M = replace(
    _SIGLIP, width=1152, depth=27, heads=16, growth=4304 / 1152, embedding=1152,
    vision=ViTConfig(14, 1152, 27, 16, 4304 / 1152),
)  # fmt: skip
PRESETS |= {
    "SigLIP-B-16": _SIGLIP,
    "SigLIP-L-16-256": _SIGLIP_LARGE,
    "SigLIP-SO400M-14": _SO400M,
    "tiny-SigLIP": replace(
        TINY, loss="sigmoid", embedding=32, vision=ViTConfig(8, 32, 2, 2), text=TextEncoderConfig()
    ),
}
# "a random square crop from resized images is the only data augmentation" (section 2.3); the least share is open_clip's
PIXELS: dict[str, object] = {"fit": "crop", "crop_scale": (0.9, 1.0)}
_VIT = dict(
    lr=5e-4, min_lr=0.0, batch=32768, epochs=32, warmup=2000, schedule="cosine", weight_decay=0.2,
    betas=(0.9, 0.98), clip=0.0,
)  # fmt: skip
_RESNET = dict(_VIT, betas=(0.9, 0.999))
_SIGMOID = dict(
    _VIT, lr=1e-3, betas=(0.9, 0.95), weight_decay=1e-4, clip=1.0
)  # Adafactor in the paper; here AdamW
RECIPES: dict[str, dict[str, object]] = {
    "base": _VIT,
    "ViT-B-32": _VIT,
    "ViT-B-16": _VIT,
    "ViT-L-14": dict(_VIT, lr=4e-4),
    "ViT-L-14-336": dict(_VIT, lr=2e-5, epochs=1),  # one epoch more at the higher resolution
    "RN50": _RESNET,
    "RN101": _RESNET,
    "RN50x4": _RESNET,
    "RN50x16": dict(_RESNET, lr=4e-4),
    "RN50x64": dict(_RESNET, lr=3.6e-4),
    "SigLIP-B-16": _SIGMOID,
    "SigLIP-L-16-256": _SIGMOID,
    "SigLIP-SO400M-14": _SIGMOID,
}


def example(config: Config, generator: torch.Generator) -> Batch:
    """Six random pairs."""
    from pairloom.data.random_batch import random_pairs

    return random_pairs(config, generator)


class System(nn.Module):
    """CLIP. `seen` is what it made of pictures: their embeddings [I E]."""

    abilities = (EMBED,)
    trains_on = ("pairs",)
    image_network = ("rows", "image")
    compares = True

    def __init__(self, config: Config) -> None:
        super().__init__()
        c = self.config = config
        self.image, self.text = _vision(c), _text(c)
        self.image_projection = image_projection(c.image_encoder) if c.vision is None else None
        self.text_projection = nn.Linear(c.width, c.embedding, bias=False) if c.text is None else None
        scale = (10.0 if c.loss == "sigmoid" else 1 / 0.07) if c.scale is None else c.scale
        self.scale = nn.Parameter(torch.tensor(math.log(scale)))  # its logarithm
        if c.loss == "sigmoid":
            self.bias = nn.Parameter(torch.tensor(c.bias))
        self._initialise()

    def _initialise(self) -> None:
        """As the released code does, but for the image transformer, where that keeps torch's defaults."""
        if self.text_projection is not None:
            initialise_scaled(self.text.stack)
            nn.init.normal_(self.text.embed[0].words.weight, std=0.02)
            nn.init.normal_(self.text.embed[0].positions.weight, std=0.01)
            nn.init.normal_(self.text_projection.weight, std=self.config.width**-0.5)
        initialise_image(self.image, self.image_projection)

    def encode_image(self, batch: Batch) -> Batch:
        """Encode the pictures [I N 3 X Y], once."""
        if batch.encoded is not None:
            return batch
        return replace(batch, encoded=F.normalize(self.project_images(batch.required("images")), dim=-1))

    def project_images(self, images: Float[Tensor, "I N ..."]) -> Float[Tensor, "I E"]:
        """Embeddings of any length of pictures [3 X Y], or of what the image tower reads in their place, averaged over the N of a row."""
        rows = self.image(images.flatten(0, 1))
        if self.image_projection is not None:
            rows = self.image_projection(rows[:, 0])
        return rows.unflatten(0, images.shape[:2]).mean(1)  # type: ignore[no-any-return]

    @property
    def temperature(self) -> Tensor:
        """What cosines are divided by: one over the learned scale."""
        return torch.exp(-self.scale)

    def embed_image(self, batch: Batch) -> Float[Tensor, "I E"]:
        """Averaged over the N pictures of a row."""
        encoded: Tensor = self.encode_image(batch).encoded
        return encoded

    def embed_text(self, batch: Batch) -> Float[Tensor, "B E"]:
        """From the row of the first end token, which has read everything before it; a text encoder pools by itself."""
        tokens, mask = batch.text()
        if self.text_projection is None:
            return F.normalize(self.text(tokens, mask), dim=-1)
        return F.normalize(self.project_texts(tokens, mask)[0], dim=-1)

    def project_texts(
        self, tokens: Int[Tensor, "B T"], mask: Bool[Tensor, "B T"]
    ) -> tuple[Float[Tensor, "B E"], Float[Tensor, "B T D"]]:
        """Embeddings of any length, and the rows of all tokens. ValueError for a text encoder that pools by itself."""
        if self.text_projection is None:
            raise ValueError("this text encoder has no rows of its tokens")
        rows = self.text(tokens, mask, mode=WRITE)
        ends = ((tokens == self.config.sep) & mask).int().argmax(1)
        return self.text_projection(rows[torch.arange(len(rows), device=rows.device), ends]), rows

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        return self.compare(batch, self.embed_image(batch), self.embed_text(batch))

    def compare(
        self, batch: Batch, image: Float[Tensor, "I E"], text: Float[Tensor, "B E"]
    ) -> dict[str, Tensor]:
        """Symmetric cross-entropy (figure 3), or the sigmoid loss, over the pairs of all processes; pictures without image_ids
        all differ."""
        image, ids = pair_up(image, len(text), batch.image_of, batch.image_ids)
        everybody = gather_pairs(image, text, ids)
        if self.config.loss == "sigmoid":
            from pairloom.objectives.sigmoid import sigmoid_contrast

            _, texts, columns = everybody
            return {"contrast": sigmoid_contrast(image, texts, ids, columns, self.temperature, self.bias)}
        with torch.no_grad():
            self.scale.clamp_(max=math.log(self.config.scale_limit))
        return {"contrast": symmetric_contrast(image, text, ids, everybody, self.temperature)}


def _vision(c: Config) -> nn.Module:
    """The paper's image tower, or an encoder that projects by itself."""
    if c.vision is None:
        return image_tower(c.image_encoder)
    from pairloom.blocks.encoders import vision_encoder

    return vision_encoder(c.vision, c.image_size, c.embedding)


def _text(c: Config) -> nn.Module:
    """The paper's text transformer, or an encoder that pools and projects by itself."""
    shape = TransformerConfig(
        c.width, c.depth, c.heads, "pre", c.eps, growth=c.growth, activation=c.activation
    )
    if c.text is None:
        return TextTransformer(shape, c.vocabulary, c.length)
    from pairloom.blocks.encoders import text_encoder

    return text_encoder(c.text, shape, c.vocabulary, c.length, (c.pad, c.sep), c.embedding)
