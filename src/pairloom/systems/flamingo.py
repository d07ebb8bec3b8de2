"""Flamingo: a Visual Language Model for Few-Shot Learning (Alayrac et al., 2022, arXiv 2204.14198): a frozen picture tower
and a frozen language model, joined by a resampler and gated layers, learn new tasks from a few examples in the prompt.

Prose, tables and deviations: docs/papers/flamingo.md. What has requires_grad False is frozen: no optimiser moves it.

B texts, I rows of pictures, N pictures per row, F frames, S rows of a picture, Q latents, T tokens, D width of the
language model, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from pairloom.abilities import CAPTION, Ability
from pairloom.blocks.attention import KeyValue
from pairloom.blocks.cache import Cache
from pairloom.blocks.cross import CrossKeyValues
from pairloom.blocks.feed import Activation
from pairloom.blocks.gated import GatedCrossBlock, GatedMask
from pairloom.blocks.gather import mean_of_all
from pairloom.blocks.image_encoder import ImageEncoder, ImageEncoderConfig
from pairloom.blocks.resampler import Resampler, Resampling
from pairloom.blocks.transformer import TransformerConfig
from pairloom.data.batch import Batch
from pairloom.objectives.language import caption_loss

if TYPE_CHECKING:
    from pairloom.blocks.causal import Between

NEVER = -1e4  # logit of what is never said
VIT_L_14 = ImageEncoderConfig(
    image_size=224, patch=14, image_width=1024, image_depth=24, image_heads=16, embedding=768
)
# folders of earlier versions hold a whole CLIP: settings and tensors of its text side, which nothing reads
RETIRED = (
    "vision.vocabulary", "vision.length", "vision.width", "vision.depth", "vision.heads", "vision.growth", "vision.pad",
    "vision.cls", "vision.sep", "vision.scale", "vision.scale_limit", "vision.text", "vision.text_projection",
)  # fmt: skip


@dataclass(frozen=True)
class Config:
    """Flamingo-3B (table 5 and appendix B), with CLIP's ViT-L/14 as its picture tower.

    library: config of transformers' language model as JSON; "": one of our own of `width`, `depth`, `heads`, `positions`.
    every, first: a gated layer stands before the language model's layers first, first + every ...
    latents, resampler_*: of the resampler; frames: temporal embeddings that it learns (0: none). gate_heads, gate_inside:
    of the gated layers' attention. images: most pictures of a row in training; shots: most examples in a prompt.
    length: most tokens of a row in training. next_image: in half of the rows a text speaks of the picture after it (appendix
    A.3). image_mark, chunk_end: ids of <image> and of <|endofchunk|>. own_end: <|endofchunk|> is written by a row of its own, not by
    the one that it is read by, as where a language model's output table is not its input table.
    learn: "bridge": what joins the two, "language": the language model by itself, from texts alone, before the bridge.
    """

    vision: ImageEncoderConfig = VIT_L_14
    library: str = ""
    width: int = 2048
    depth: int = 24
    heads: int = 16
    positions: int = 2048
    every: int = 1
    first: int = 0
    latents: int = 64
    resampler_width: int = 1536
    resampler_depth: int = 6
    resampler_heads: int = 16
    resampler_inside: int = 1536
    frames: int = 8
    gate_heads: int = 16
    gate_inside: int = 2048
    activation: Activation = "squared_relu"
    eps: float = 1e-5
    images: int = 5
    shots: int = 32
    vocabulary: int = 32000
    length: int = 256
    pad: int = 0
    cls: int = 2
    sep: int = 3
    image_mark: int = 31998
    chunk_end: int = 31999
    own_end: bool = False
    next_image: bool = True
    learn: Literal["bridge", "language"] = "bridge"

    @property
    def image_size(self) -> int:
        return self.vision.image_size


TINY = Config(
    vision=ImageEncoderConfig(
        image_size=32, patch=8, image_width=32, image_depth=2, image_heads=2, embedding=16
    ),
    width=32, depth=2, heads=2, positions=64, latents=3, resampler_width=24, resampler_depth=1, resampler_heads=2,
    resampler_inside=32, frames=2, gate_heads=2, gate_inside=16, vocabulary=64, length=12, image_mark=62, chunk_end=63,
)  # fmt: skip
# OpenFlamingo: its resampler and gated layers; the language model comes with a folder. Its weights of June 2023 were trained on
# the tower's rows before the last norm, as open_clip handed them out until October of that year.
OPEN = Config(
    vision=replace(VIT_L_14, norm_rows=False), every=1, resampler_width=1024, resampler_heads=8, resampler_inside=512, frames=0, gate_heads=8, gate_inside=512,
    activation="gelu", images=6,
)  # fmt: skip
PRESETS: dict[str, Config] = {
    "base": Config(),
    "tiny": TINY,
    "3B": Config(),
    "9B": replace(Config(), width=4096, depth=40, heads=32, gate_heads=32, gate_inside=4096, every=4),
    "80B": replace(Config(), width=8192, depth=80, heads=64, gate_heads=64, gate_inside=8192, every=7),
    "open_flamingo-3B": OPEN,
    "open_flamingo-4B": replace(OPEN, every=2, first=1),
    "open_flamingo-9B": replace(OPEN, every=4, first=3),
}
RECIPES: dict[str, dict[str, object]] = {
    "base": dict(
        lr=1e-4, min_lr=1e-4, warmup=5000, schedule="constant", clip=1.0, weight_decay=0.1, steps=500_000
    ),
}


@dataclass
class ResampledImages:
    """What `see` makes of pictures: what each gated layer reads of them, how many a row has, and the tower's own embeddings
    [I E] of a row's pictures, for finding others alike."""

    memory: CrossKeyValues
    pictures: int
    embeddings: Tensor

    def beside(self, more: ResampledImages) -> ResampledImages:
        """These rows, then others."""
        pairs = zip(self.memory.layers, more.memory.layers)
        layers = [KeyValue(torch.cat([a.keys, b.keys]), torch.cat([a.values, b.values])) for a, b in pairs]
        return ResampledImages(
            CrossKeyValues(layers), self.pictures, torch.cat([self.embeddings, more.embeddings])
        )


@dataclass
class Reading:
    """cache: of the language model and the pictures; marks [B]: how many pictures each text has come past."""

    cache: Cache
    pictures: int
    marks: Tensor

    def __len__(self) -> int:
        return len(self.cache)

    def expand(self, times: int) -> Reading:
        """Every row `times` over, neighbours together."""
        return self.select(torch.arange(len(self), device=self.marks.device).repeat_interleave(times))

    def select(self, rows: Tensor) -> Reading:
        """Rows in this order."""
        return Reading(self.cache.select(rows), self.pictures, self.marks[rows])


def example(config: Config, generator: torch.Generator) -> Batch:
    """Six random pairs."""
    from pairloom.data.random_batch import random_pairs

    return random_pairs(config, generator)


class System(nn.Module):
    """Flamingo. A text without an <image> is a pair's: its first token is taken for the mark of its picture."""

    trains_on = ("documents",)

    def __init__(self, config: Config) -> None:
        super().__init__()
        c = self.config = config
        self.first_token, self.last_token = c.image_mark, c.sep
        self.vision = ImageEncoder(c.vision)
        self.language = self._language(c)
        self.longest = self.language.positions  # tokens that it can read at all
        wide = c.vision.image_width != c.resampler_width
        self.widen = nn.Linear(c.vision.image_width, c.resampler_width, bias=False) if wide else nn.Identity()
        self.resampler = Resampler(
            Resampling(
                c.resampler_width, c.resampler_depth, c.resampler_heads, c.resampler_inside, c.latents, c.frames,
                c.activation, eps=c.eps,
            )
        )  # fmt: skip
        depth = self.language.depth
        self.gated = nn.ModuleList(
            GatedCrossBlock(
                self.language.width, c.resampler_width, c.gate_heads, c.gate_inside, c.activation, c.eps
            )
            for _ in range(c.first, depth, c.every)
        )
        # <image> and <|endofchunk|> as they are read, and with own_end the latter as it is written
        self.marks = nn.Parameter(torch.empty(2 + c.own_end, self.language.width))
        nn.init.normal_(self.marks, std=self.language.width**-0.5)
        bridge = c.learn == "bridge"
        for name, parameter in self.named_parameters():
            frozen = name.startswith(("vision.", "language.")) if bridge else not name.startswith("language.")
            parameter.requires_grad_(not frozen)

    @property
    def abilities(self) -> tuple[Ability, ...]:
        """None while the language model alone is trained: nothing of a picture reaches it yet."""
        if self.config.learn == "language":
            return ()
        return (CAPTION, Ability("prompt", reads="document", by="likelihood", pictures=self.config.shots + 1))

    @staticmethod
    def _language(c: Config) -> Any:
        if c.library:
            from pairloom.blocks.library_language import LibraryModel

            return LibraryModel(c.library)
        from pairloom.blocks.causal import LanguageModel

        return LanguageModel(
            TransformerConfig(c.width, c.depth, c.heads, "pre", c.eps), c.vocabulary, c.positions
        )

    def train(self, mode: bool = True) -> System:
        """What is frozen stays in evaluation mode: no dropout of a language model that does not learn."""
        super().train(mode)
        for part in (self.vision, self.language):
            part.train(mode and any(value.requires_grad for value in part.parameters()))
        return self

    # looking

    def encode_image(self, batch: Batch) -> Batch:
        """Encode and resample the pictures [I N 3 X Y] or films [I N F 3 X Y], once."""
        if batch.encoded is not None or batch.images is None:
            return batch
        images = batch.images if batch.images.ndim == 6 else batch.images[:, :, None]
        with torch.no_grad():
            rows, embeddings = self.vision(images.flatten(0, 2))
            ones = embeddings.unflatten(0, (len(images), -1)).mean(1)
        rows = self.widen(rows[:, 1:]).unflatten(0, (-1, images.shape[2]))
        latents = self.resampler(rows).unflatten(0, images.shape[:2]).flatten(1, 2)
        memory = CrossKeyValues([part.attend.project(latents) for part in self.gated])
        return replace(batch, encoded=ResampledImages(memory, images.shape[1], F.normalize(ones, dim=-1)))

    def embed_image(self, batch: Batch) -> Float[Tensor, "I E"]:
        """What the picture tower alone makes of them."""
        embeddings: Tensor = self.encode_image(batch).encoded.embeddings
        return embeddings

    def arrange(self, batch: Batch, shows: Int[Tensor, "B N"]) -> Batch:
        """Rows of N pictures out of a batch of single ones, each looked at once."""
        encoded = self.encode_image(batch).encoded
        if encoded.pictures != 1:
            raise ValueError("only single pictures can be arranged")

        def gathered(part: Tensor) -> Tensor:  # [I H Q d] -> [B H N*Q d]
            return part[shows].transpose(1, 2).flatten(2, 3)

        layers = [KeyValue(gathered(layer.keys), gathered(layer.values)) for layer in encoded.memory.layers]
        embeddings = F.normalize(encoded.embeddings[shows].mean(1), dim=-1)
        return Batch(encoded=ResampledImages(CrossKeyValues(layers), shows.shape[1], embeddings))

    def _between(self, memory: CrossKeyValues | None, pictures: int, marks: Int[Tensor, "B T"]) -> Between:
        """The gated layers, each token reading the last picture before it alone (section 2.3, "phi")."""
        mask = None
        if memory is not None:
            at = torch.arange(pictures, device=marks.device).repeat_interleave(self.config.latents)
            mask = GatedMask.of(marks[:, :, None] - 1 == at, memory.readers)

        def between(index: int, x: Tensor) -> Tensor:
            which, off = divmod(index - self.config.first, self.config.every)
            if off or which < 0:
                return x
            read = None if memory is None else memory.layers[which]
            return self.gated[which](x, read, mask)

        return between

    def _read(
        self, tokens: Int[Tensor, "B T"], past: Sequence[KeyValue] | None, between: Between | None
    ) -> tuple[Float[Tensor, "B T V"], Sequence[KeyValue]]:
        """The language model's own logits, untouched, and beside them that of <|endofchunk|>; nobody writes an <image>."""
        c, known = self.config, self.language.vocabulary
        mark = torch.stack([tokens == c.image_mark, tokens == c.chunk_end], 2)
        x = self.language.embed(tokens.masked_fill(mark.any(2) | (tokens >= known), 0))
        if between is not None:
            x = torch.where(mark.any(2, keepdim=True), mark.to(x.dtype) @ self.marks[:2], x)
        logits, last, past = self.language.read(x, past, between)
        logits = F.pad(logits, (0, max(0, c.vocabulary - known)), value=NEVER)
        if between is not None:
            marks = torch.stack([torch.full_like(logits[..., 0], NEVER), last @ self.marks[-1]], -1)
            places = torch.tensor([c.image_mark, c.chunk_end], device=logits.device)
            logits = logits.index_copy(2, places, marks.to(logits.dtype))
        return logits, past

    # writing

    def start(self, batch: Batch) -> Reading:
        """Nothing is read yet but the pictures; a batch without any needs `image_of` to say how many texts there are."""
        encoded = self.encode_image(batch).encoded
        if encoded is None:
            raise ValueError("this verb needs pictures that the batch does not have")
        owner = batch.image_of
        if owner is None:
            owner = torch.arange(len(encoded.memory), device=self.marks.device)
        return Reading(Cache(encoded.memory.read_by(owner), owner), encoded.pictures, torch.zeros_like(owner))

    def read(self, state: Reading, tokens: Int[Tensor, "B T"]) -> tuple[Float[Tensor, "B V"], Reading]:
        """Several tokens at once, as in a prompt; the logits after the last."""
        marks = state.marks[:, None] + (tokens == self.config.image_mark).cumsum(1)
        cache = state.cache
        logits, past = self._read(tokens, cache.past, self._between(cache.context, state.pictures, marks))
        cache = replace(cache, past=past, position=cache.position + tokens.shape[1])
        return logits[:, -1], Reading(cache, state.pictures, marks[:, -1])

    def step(self, state: Reading, tokens: Int[Tensor, " B"]) -> tuple[Float[Tensor, "B V"], Reading]:
        return self.read(state, tokens[:, None])

    def logits(self, batch: Batch) -> Float[Tensor, "B T V"]:
        """Raises ValueError where a text has more marks than its row has pictures."""
        tokens, batch = self._marked(batch), self.encode_image(batch)
        if self.config.learn == "language":
            return self._read(tokens, None, None)[0]
        marks, encoded = (tokens == self.config.image_mark).cumsum(1), batch.encoded
        pictures = 0 if encoded is None else encoded.pictures
        if int(marks.max()) > pictures:
            raise ValueError(f"a text marks {int(marks.max())} pictures, its row has {pictures}")
        memory = None if encoded is None else encoded.memory
        if memory is not None and batch.image_of is not None:
            memory = memory.read_by(batch.image_of)
        return self._read(tokens, None, self._between(memory, pictures, marks))[0]

    def _marked(self, batch: Batch) -> Tensor:
        """The tokens; where a row has pictures and no mark, its first token becomes one."""
        tokens, _ = batch.text()
        alone = ~(tokens == self.config.image_mark).any(1)
        if batch.images is None and batch.encoded is None:
            return tokens
        first = tokens[:, :1].masked_fill(alone[:, None], self.config.image_mark)
        return torch.cat([first, tokens[:, 1:]], 1)

    # learning

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """The next token, where there is one and it is no <image> (equation 1)."""
        tokens, mask = batch.text()
        wanted = tokens[:, 1:]
        targets = mask[:, 1:] & (wanted != self.config.image_mark)
        scores = self.logits(batch)[:, :-1][targets]
        return {"lm": mean_of_all(*caption_loss(scores, wanted[targets]))}
