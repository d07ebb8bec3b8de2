"""A frozen image tower: pictures -> cells of the last map, and pooled features.

Does not know: files of weights, texts, sets of pairs.

I pictures, S pixels a side, P cells of the last map, D features.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from pairloom.data.pixels import as_image
from pairloom.runtime.threads import one_thread
from pairloom.towers.pretrained import PretrainedNetwork

# Pictures of every pass, the last pass padded, so that features depend on their own picture alone. On a CPU it is one: torch
# computes the last elements of a tensor, those that fill no vector register, by another function than the others (SiLU differs
# in the last bit), and in a larger pass these are the last picture's.
CPU_BATCH, GPU_BATCH = 1, 8


class ImageTower:
    """A network with published weights, for inference.

    name: of the architecture. size: S. width: D. identity: SHA-256 of everything that features depend on, the weights and the
    preparation of pictures. checksum: SHA-256 of the file of weights alone.
    """

    def __init__(self, encoder: PretrainedNetwork, checksum: str, identity: str, device: str = "cpu") -> None:
        self.name, self.preparation = encoder.name, encoder.preparation
        self.checksum, self.identity = checksum, identity
        self.device = torch.device(device)
        self._batch = CPU_BATCH if self.device.type == "cpu" else GPU_BATCH
        network = encoder.network.requires_grad_(False).eval()
        self.network = network.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.size = self.preparation.size
        self.width = encoder.width

    def __repr__(self) -> str:
        return f"ImageTower({self.name!r}, size={self.size}, width={self.width})"

    def prepare(self, image: Image.Image) -> NDArray[np.uint8]:
        """[S S 3] of a picture, resized and cut as in the published evaluation; a smaller picture is enlarged."""
        return self.preparation.to_uint8(as_image(image))

    def pooled(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Features [I D] of prepared pictures [I S S 3]: what the published classifier reads."""
        rows = [pooled for _, pooled in self._passes(pixels)]
        return torch.cat(rows).numpy() if rows else np.zeros((0, self.width), np.float32)

    def grid(self, pixels: NDArray[np.uint8]) -> Tensor:
        """Cells [I P D] of the last map, row by row, on the CPU. Raises ValueError where there is no picture."""
        return self.both(pixels)[0]

    def both(self, pixels: NDArray[np.uint8]) -> tuple[Tensor, NDArray[np.float32]]:
        """Cells [I P D] and pooled features [I D] in one pass. Raises ValueError where there is no picture."""
        if not len(pixels):
            raise ValueError("there is no picture")
        cells, rows = zip(*self._passes(pixels))
        return torch.cat(cells), torch.cat(rows).numpy()

    def _passes(self, pixels: NDArray[np.uint8]) -> Iterator[tuple[Tensor, Tensor]]:
        """Cells and pooled features of a pass of pictures at a time."""
        if pixels.ndim != 4 or pixels.shape[1:] != (self.size, self.size, 3) or pixels.dtype != np.uint8:
            raise ValueError(
                f"pixels are {pixels.dtype} {list(pixels.shape)}, the tower reads uint8 [I {self.size} {self.size} 3]"
            )
        for start in range(0, len(pixels), self._batch):
            part = np.asarray(pixels[start : start + self._batch])
            count = len(part)
            full = np.concatenate([part, np.repeat(part[:1], self._batch - count, axis=0)])
            with one_thread(), torch.no_grad():
                images = self.preparation.normalise(torch.from_numpy(full).to(self.device))
                cells, pooled = self.network(images)
            yield cells[:count].float().cpu(), pooled[:count].float().cpu()
