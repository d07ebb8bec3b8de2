"""The networks that draw pixels in DALL-E 2: a decoder that reads an embedding of the picture and a text, and an enlarger that reads
a small picture. Their U-Nets are those of diffusers.

Does not know: schedules of noise, samplers, where embeddings come from.

B rows, E embedding, C width of the words' rows, W width of the context, Y X sides of a picture.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from pairloom.systems import _diffusion_text as texts
from pairloom.systems import _sampling as sampling

Settings = dict[str, Any]  # of a U-Net, by diffusers' own names
EXTRA = 4  # tokens that an embedding becomes beside the words


def decoder_settings(
    channels: Sequence[int], depth: int, head: int, context: int, groups: int = 32
) -> Settings:
    """A U-Net with attention on all sides but the largest, and a learned variance."""
    inner = len(channels) - 1
    return {
        "block_out_channels": list(channels), "layers_per_block": depth, "attention_head_dim": head, "norm_num_groups": groups,
        "down_block_types": ["ResnetDownsampleBlock2D"] + ["SimpleCrossAttnDownBlock2D"] * inner,
        "up_block_types": ["SimpleCrossAttnUpBlock2D"] * inner + ["ResnetUpsampleBlock2D"], "out_channels": 6,
        "mid_block_type": "UNetMidBlock2DSimpleCrossAttn", "resnet_time_scale_shift": "scale_shift", "cross_attention_dim": context,
    }  # fmt: skip


def enlarger_settings(channels: Sequence[int], depth: int, groups: int = 32) -> Settings:
    """A U-Net of convolutions alone."""
    return {
        "block_out_channels": list(channels), "layers_per_block": depth, "norm_num_groups": groups, "out_channels": 3,
        "down_block_types": ["ResnetDownsampleBlock2D"] * len(channels),
        "up_block_types": ["ResnetUpsampleBlock2D"] * len(channels), "resnet_time_scale_shift": "scale_shift",
    }  # fmt: skip


class EmbeddingConditioning(nn.Module):
    """What a decoder reads of an embedding and of a text (Ramesh et al., 2022, section 2.1): both embeddings are projected and added to
    that of the timestep, and that of the picture is projected to four more tokens before those of the words.

    none: the learned embedding of no picture, for guidance.
    """

    def __init__(self, embedding: int, text_width: int, time_width: int, context: int) -> None:
        super().__init__()
        self.none = nn.Parameter(torch.zeros(embedding))
        self.text_to_time = nn.Linear(embedding, time_width)
        self.image_to_time = nn.Linear(embedding, time_width)
        self.image_to_tokens = nn.Linear(embedding, EXTRA * context)
        self.words = nn.Linear(text_width, context)
        self.norm = nn.LayerNorm(context)

    def forward(self, image: Float[Tensor, "B E"], text: texts.TextConditioning) -> texts.TextConditioning:
        """Tokens of the context with their mask; in place of a pooled row what is added to the embedding of the timestep."""
        assert text.pooled is not None and text.mask is not None
        tokens = self.image_to_tokens(image).unflatten(1, (-1, EXTRA)).transpose(1, 2)
        context = torch.cat([tokens, self.norm(self.words(text.context))], 1)
        added = self.image_to_time(image) + self.text_to_time(text.pooled)
        return texts.TextConditioning(context, added, F.pad(text.mask, (EXTRA, 0), value=True))


class PixelDecoder(nn.Module):
    """Decoder of embeddings: a conditional U-Net that predicts noise, and its variance where it has twice the channels.

    settings: of diffusers' UNet2DConditionModel, by its names; `cross_attention_dim` is the width of the context.
    """

    def __init__(self, settings: Mapping[str, Any], side: int, embedding: int, text_width: int) -> None:
        super().__init__()
        texts.needs("diffusers")
        from diffusers import UNet2DConditionModel

        own = {"sample_size": side, "in_channels": 3, "class_embed_type": "identity"}
        self.unet: Any = UNet2DConditionModel(**{**settings, **own})
        time_width = 4 * self.unet.config.block_out_channels[0]
        context = self.unet.config.cross_attention_dim
        self.conditioning = EmbeddingConditioning(embedding, text_width, time_width, context)

    def forward(
        self, noisy: Float[Tensor, "B 3 Y X"], t: Int[Tensor, " B"], read: texts.TextConditioning
    ) -> Float[Tensor, "B C Y X"]:
        """The noise, and the learned variance behind it. read: of `conditioning`."""
        assert read.mask is not None
        context, mask = read.context, read.mask
        cells = [(noisy.shape[-1] >> level) ** 2 for level in range(len(self.unet.config.block_out_channels))]
        if mask.shape[1] in cells:  # diffusers takes a mask of that length for one that has the cells already
            context, mask = F.pad(context, (0, 0, 0, 1)), F.pad(mask, (0, 1))
        more = {"class_labels": read.pooled, "attention_mask": mask, "return_dict": False}
        output: Tensor = self.unet(noisy, t, encoder_hidden_states=context, **more)[0]
        return output

    def no_image(self, rows: int) -> Float[Tensor, "B E"]:
        """The embedding of no picture, `rows` times."""
        return self.conditioning.none.expand(rows, -1)


class Enlarger(nn.Module):
    """Diffusion upsampler: a U-Net that predicts the noise of a large picture beside a small one, which is enlarged to its side. It has no
    attention and reads no text, so that it can learn from crops.

    settings: of diffusers' UNet2DModel. last: settings of another network for the last step; none where empty.
    """

    def __init__(self, settings: Mapping[str, Any], side: int, last: Mapping[str, Any] = {}) -> None:
        super().__init__()
        texts.needs("diffusers")
        from diffusers import UNet2DModel

        own = {"sample_size": side, "in_channels": 6, "add_attention": False}
        self.side = side
        self.unet: Any = UNet2DModel(**{**settings, **own})
        self.last: Any = UNet2DModel(**{**last, **own}) if last else None

    def beside(self, small: Float[Tensor, "B 3 Y X"]) -> sampling.Predict:
        """The network that reads these pictures, which were enlarged before."""

        def predict(noisy: Tensor, t: Tensor) -> Tensor:
            network = self.unet if self.last is None or self.training or int(t[0]) else self.last
            return network(torch.cat([noisy, small], 1), t, return_dict=False)[0]  # type: ignore[no-any-return]

        return predict

    def enlarge(self, small: Float[Tensor, "B 3 y x"]) -> Float[Tensor, "B 3 Y X"]:
        """The small pictures at the side of the large ones."""
        return resized(small, self.side)


def resized(images: Float[Tensor, "B 3 y x"], side: int) -> Float[Tensor, "B 3 Y X"]:
    """Pictures of another side: bicubic, smoothed where they shrink."""
    if images.shape[-1] == side:
        return images
    return F.interpolate(images, (side, side), mode="bicubic", align_corners=False, antialias=True)
