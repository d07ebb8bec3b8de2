"""Co-attention: two streams, each of which reads the other and then goes on by itself.

Does not know: what the streams are of.

B rows, T positions of the first stream, S of the second, D and E their widths.
"""

from __future__ import annotations

from jaxtyping import Bool, Float
from torch import Tensor, nn

from pairloom.blocks.masks import padding
from pairloom.blocks.transformer import Block, ModeSharing, TransformerConfig


class CoAttentionBlock(nn.Module):
    """Both streams read what the other was before this block (Lu et al., 2019, ViLBERT, figure 2; Tan and Bansal, 2019, LXMERT,
    section 2.2). The parts that follow are the configs' `order`: ("cross", "feed") is ViLBERT's, ("cross", "self", "feed")
    LXMERT's. first, second: the streams; each one's `context` is the width of the other.

    shared: one cross-attention for both directions, as in LXMERT's code; the streams then have one width.
    """

    def __init__(self, first: TransformerConfig, second: TransformerConfig, shared: bool = False) -> None:
        super().__init__()
        for name, stream in (("first", first), ("second", second)):
            if stream.order[0] != "cross":
                raise ValueError(f"the {name} stream reads the other before all else, not {stream.order}")
        if shared and first.width != second.width:
            raise ValueError(f"widths {first.width} and {second.width} cannot share a cross-attention")
        self.first = Block(first._replace(context=second.width), sharing=ModeSharing(cross=1))
        self.second = Block(second._replace(context=first.width), sharing=ModeSharing(cross=1))
        if shared:
            self.second.cross = self.first.cross

    def forward(
        self,
        x: Float[Tensor, "B T D"],
        y: Float[Tensor, "B S E"],
        x_mask: Bool[Tensor, "B T"] | None = None,
        y_mask: Bool[Tensor, "B S"] | None = None,
    ) -> tuple[Float[Tensor, "B T D"], Float[Tensor, "B S E"]]:
        """masks: True = real."""
        of_y, of_x = self.first.project(y, y_mask), self.second.project(x, x_mask)
        x_seen, y_seen = (None if mask is None else padding(mask) for mask in (x_mask, y_mask))
        return self.first(x, x_seen, of_y), self.second(y, y_seen, of_x)
