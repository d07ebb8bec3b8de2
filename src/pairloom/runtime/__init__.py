"""How a system is run on the machine at hand: devices, packed texts, engines, OpenVINO graphs; and recorded while it runs.

Knows no tasks and no files. What it knows of blocks/, and nothing else of them: `TextTower.packed`; `Block.run` and its
Residuals `attend`, `cross`, `feed` (one for each mode); `Residual.fn`, `norm`, `place`, `inner`, `around`; of Attention the
linear maps `query`, `key`, `value`, `out`, and `scale`, `split`, `dot_product`; of FeedForward `up`, `down`, `activation`; of
LanguageHead `dense`, `table`; of VisionTower `stack`, `norm`.
"""

from typing import Literal

Speed = Literal["exact", "fast"]
