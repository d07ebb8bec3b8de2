"""Model: a system with its tokens and its feed.

Does not know: how a system was trained, what it is asked for, how it lies on disk.

B rows, T tokens, H = W sides of a picture.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy
import torch
from torch import Tensor

from pairloom.data.batch import Batch, Texts
from pairloom.data.feed import Feed
from pairloom.data.tokens import Tokens
from pairloom.data.transform import Transform
from pairloom.model.generation import Generation
from pairloom.runtime import Speed
from pairloom.runtime.packing import pack_texts

if TYPE_CHECKING:
    from pairloom.data.clips import ClipFeatures
    from pairloom.data.detected import Detected
    from pairloom.data.pixels import Picture
    from pairloom.data.records import Clips, Codes, Regions
    from pairloom.data.region_set import RegionSet


@dataclass
class Model:
    """name: of the system. feed: what it reads of a picture (`data/feed.py`). about: what the model card tells, by topic
    (preset, recipe, data, steps, metrics ...). generation: the defaults of captioning. regions: of pictures, for a model that reads
    those."""

    name: str
    system: Any
    tokens: Tokens
    feed: Feed
    about: dict[str, Any] = field(default_factory=dict)
    generation: Generation = Generation()
    regions: RegionSet | None = field(default=None, repr=False, compare=False)

    def __post_init__(self) -> None:
        if isinstance(self.system, torch.nn.Module):
            pack_texts(self.system)

    @property
    def config(self) -> Any:
        """The system's own Config."""
        return self.system.config

    @property
    def pixels(self) -> Transform:
        """How pictures become its pixels. Mistake where it does not read pixels."""
        if isinstance(self.feed, Transform):
            return self.feed
        from pairloom.model.pictures import no_pixels

        raise no_pixels(self)

    @property
    def device(self) -> torch.device:
        return next(iter(self.system.parameters())).device

    def to(self, device: torch.device | str) -> Model:
        """Move the system; batches follow it."""
        self.system.to(device)
        return self

    def eval(self) -> Model:
        """No dropout from here on."""
        self.system.eval()
        return self

    def at_speed(self, speed: Speed = "fast") -> Model:
        """The same model, only to be asked, by an engine of this machine: "exact" (fp32, the same tokens), "fast" or "int8"
        (what these may change: docs/speed.md). Raises ValueError for another speed."""
        from pairloom.runtime.engine import engine

        return dataclasses.replace(self, system=engine(self.system, speed))

    def texts(self, texts: Sequence[str]) -> Texts:
        """Tokenised texts, at most config.length tokens each."""
        return Texts(*self.tokens.encode(texts, self.config.length)).to(self.device)

    def pictures(self, images: Tensor | Sequence[Picture]) -> Tensor:
        """Normalised floats [B 3 H W] of pictures, on the model's device; a tensor is taken to be that already.

        Raises Unreadable where a picture cannot be decoded.
        """
        if not isinstance(images, Tensor):
            from pairloom.data.pixels import as_image

            pixels = numpy.stack([self.pixels.to_uint8(as_image(one)) for one in images])
            images = torch.from_numpy(self.pixels.normalise(pixels))
        return images.to(self.device)

    def batch(
        self,
        images: Tensor | Sequence[Picture | Detected | ClipFeatures] | None = None,
        texts: Sequence[str] | None = None,
        image_of: Sequence[int] | None = None,
        regions: Regions | None = None,
        codes: Codes | None = None,
        clips: Clips | None = None,
    ) -> Batch:
        """What every verb takes. image_of: which picture each text belongs to; text i belongs to picture i without it.
        images: pictures, or their Detected regions or the ClipFeatures of videos where the model reads those; regions, codes, clips: as records."""
        if images is not None and texts is not None and image_of is None and len(images) != len(texts):
            raise ValueError(
                f"{len(images)} pictures and {len(texts)} texts: say which belong together by image_of"
            )
        shown: dict[str, Any] = {"regions": regions, "codes": codes, "clips": clips}
        if isinstance(images, Tensor):
            shown["images"] = self.pictures(images)[:, None]
        elif images is not None:
            from pairloom.model.pictures import fields_of

            shown |= fields_of(self, [[image] for image in images])
        return Batch(
            **shown,
            texts=None if texts is None else self.texts(texts),
            image_of=None if image_of is None else torch.tensor(image_of),
        ).to(self.device)
