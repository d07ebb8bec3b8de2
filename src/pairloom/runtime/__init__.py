"""Runtime: devices, packed sequences, fast engines, OpenVINO graphs, and the recording of attention.

The runtime uses of blocks/ only this: `TextTransformer.packed` and `packs_training`; `Block.run` and its
Residuals `attend`, `cross`, `feed` (one for each mode); `Residual.fn`, `norm`, `place`, `inner`, `around`; of Attention the
linear maps `query`, `key`, `value`, `out`, and `scale`, `split`, `dot_product`; of FeedForward `up`, `down`, `activation`; of
LanguageHead `dense`, `table`; of VisionTower `stack`, `norm`.
"""

from typing import Literal

Speed = Literal["exact", "fast", "int8"]
