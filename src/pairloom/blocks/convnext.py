"""ConvNeXt (Liu et al., 2022): depthwise 7x7 convolutions and feed-forward parts, with layer norms.

There is no layer scale: readers of published weights fold it into the linear map before it.

I pictures, S pixels a side, X Y sides of a map, P cells of the last map, D its channels.
"""

from __future__ import annotations

from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor, nn

from pairloom.blocks.feed import FeedForward


class ConvNeXtBlock(nn.Module):
    """Depthwise convolution, layer norm over channels, feed-forward part, shortcut."""

    def __init__(self, channels: int, eps: float) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(channels, channels, 7, padding=3, groups=channels)
        self.norm = nn.LayerNorm(channels, eps)
        self.feed = FeedForward(channels, 4 * channels)

    def forward(self, x: Float[Tensor, "I C X Y"]) -> Float[Tensor, "I C X Y"]:
        cells = self.depthwise(x).flatten(2).transpose(1, 2)
        return x + self.feed(self.norm(cells)).transpose(1, 2).unflatten(2, x.shape[2:])


class ChannelNorm(nn.LayerNorm):
    """Layer norm over the channels of a map."""

    def forward(self, x: Float[Tensor, "I C X Y"]) -> Float[Tensor, "I C X Y"]:
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class ConvNeXt(nn.Module):
    """[I 3 S S] -> cells [I P D] of the last map, as they are, and the layer norm of their mean [I D].

    eps: of the norms; last_eps: of the last one.
    """

    def __init__(self, depths: Sequence[int], widths: Sequence[int], eps: float, last_eps: float) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, widths[0], 4, 4), ChannelNorm(widths[0], eps))
        self.halvings = nn.ModuleList(
            nn.Sequential(ChannelNorm(before, eps), nn.Conv2d(before, after, 2, 2))
            for before, after in zip(widths, widths[1:])
        )
        self.stages = nn.ModuleList(
            nn.Sequential(*(ConvNeXtBlock(width, eps) for _ in range(depth)))
            for depth, width in zip(depths, widths)
        )
        self.norm = nn.LayerNorm(widths[-1], last_eps)

    def forward(
        self, images: Float[Tensor, "I 3 S S"]
    ) -> tuple[Float[Tensor, "I P D"], Float[Tensor, "I D"]]:
        x = self.stages[0](self.stem(images))
        for halving, stage in zip(self.halvings, self.stages[1:]):  # type: ignore[arg-type]
            x = stage(halving(x))
        cells = x.flatten(2).transpose(1, 2)
        return cells, self.norm(cells.mean(1))
