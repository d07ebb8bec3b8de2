"""SimVLM: Simple Visual Language Model Pretraining with Weak Supervision (Wang et al., 2021, arXiv 2108.10904): one encoder and
decoder from scratch, with one loss: the encoder reads picture and a prefix of the text both ways, the decoder writes the rest.

Prose, tables and deviations: docs/papers/simvlm.md.

B texts, I pictures, N pictures of an example, P patches of all of them, L tokens of a prefix, T tokens, M memories (of pictures or
of questions), D width, V vocabulary.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from pairloom.abilities import CAPTION, Ability
from pairloom.blocks.cache import Cache
from pairloom.blocks.cross import CrossKeyValues
from pairloom.blocks.embed import TextEmbed
from pairloom.blocks.gather import mean_of_all
from pairloom.blocks.masks import causal, padding
from pairloom.blocks.relative import GridBias, biased
from pairloom.blocks.transformer import ModeSharing, Stack, TransformerConfig, initialise
from pairloom.data.batch import Batch
from pairloom.objectives.language import caption_loss


@dataclass(frozen=True)
class Config:
    """SimVLM base: the sizes of ViT-B for encoder and decoder, three stages of a ResNet-101 in place of the patch projection.

    network: "patches" is the linear projection that the paper compares with, "residual" the small stem of ours for small
    pictures. stages: of the ResNet. patch: its stride where it is no ResNet. length, answer_length: most tokens of a text and of
    an answer.
    """

    image_size: int = 224
    network: Literal["resnet101", "resnet152", "residual", "patches"] = "resnet101"
    stages: int = 3
    patch: int = 16
    vocabulary: int = 32000
    length: int = 64
    answer_length: int = 20
    positions: int = 256
    width: int = 768
    depth: int = 12
    decoder_depth: int = 12
    heads: int = 12
    dropout: float = 0.0
    pad: int = 0
    cls: int = 1
    sep: int = 2


TINY = Config(
    image_size=32, network="residual", patch=8, vocabulary=64, length=12, answer_length=12, positions=16, width=32, depth=1,
    decoder_depth=1, heads=2, cls=2, sep=3,
)  # fmt: skip
PRESETS: dict[str, Config] = {
    "base": Config(),
    "large": Config(network="resnet152", width=1024, depth=24, decoder_depth=24, heads=16),
    "huge": Config(network="resnet152", width=1280, depth=32, decoder_depth=32, heads=16),
    "tiny": TINY,
}
RECIPES: dict[str, dict[str, object]] = {
    "base": dict(
        lr=5e-4, batch=4096, steps=1_000_000, warmup=0.02, schedule="linear", betas=(0.9, 0.999), weight_decay=0.01
    ),
}  # fmt: skip


def example(config: Config, generator: torch.Generator) -> Batch:
    """Six random pictures, each with a question and an answer."""
    from pairloom.data.random_batch import random_pairs, random_texts
    from pairloom.data.records import Questions

    question = Questions(random_texts(config, generator))
    return replace(random_pairs(config, generator), question=question)


class System(nn.Module):
    """SimVLM. `encoded` is the rows of the pictures' patches before the encoder, [I P D]."""

    trains_on = ("pairs", "questions")
    abilities = (CAPTION, Ability("answer", reads="question", by="likelihood"))

    def __init__(self, config: Config) -> None:
        super().__init__()
        c = self.config = config
        self.first_token, self.last_token = c.cls, c.sep
        shape = TransformerConfig(c.width, c.depth, c.heads, "pre", 1e-6, c.dropout)
        self.network, channels = _network(c)
        self.project = nn.Linear(channels, c.width)
        side = c.image_size // (2 ** (c.stages + 1) if c.network.startswith("resnet") else c.patch)
        self.places = nn.Parameter(torch.zeros(side**2, c.width))
        self.text = TextEmbed(c.vocabulary, c.positions, c.width, None, c.dropout)
        self.bias = GridBias(c.heads, side, class_row=False)
        self.encoder = Stack(shape)
        decoder = shape._replace(depth=c.decoder_depth, context=c.width)
        self.decoder = Stack(decoder, ModeSharing(cross=1))
        self.encoder_norm, self.norm = (nn.LayerNorm(c.width, eps=1e-6) for _ in range(2))
        for part in (self.project, self.text, self.encoder, self.decoder):
            initialise(part)
        nn.init.trunc_normal_(self.places, std=0.02)

    def encode_image(self, batch: Batch) -> Batch:
        """The convolutional stage over the pictures [I N 3 X Y], once; the encoder reads them with each prefix."""
        if batch.encoded is not None:
            return batch
        images = batch.required("images")
        cells = self.network(images.flatten(0, 1)).flatten(2).transpose(1, 2)
        rows = self.project(cells) + self.places
        return replace(batch, encoded=rows.unflatten(0, images.shape[:2]).flatten(1, 2))

    def _encode(
        self, patches: Float[Tensor, "M P D"] | None, prefix: Int[Tensor, "M L"], real: Bool[Tensor, "M L"]
    ) -> CrossKeyValues:
        """What the decoder reads: the encoder over [patches; prefix], each row seeing all that is real. Pairs of patches of one
        picture have a relative bias; text has none of that kind. patches None: text alone."""
        rows, seen = self.text(prefix), real
        bias = rows.new_zeros(1, self.config.heads, rows.shape[1], rows.shape[1])
        if patches is not None:
            rows = torch.cat([patches, rows], 1)
            seen = torch.cat([real.new_ones(patches.shape[:2]), real], 1)
            one, count = self.bias(), patches.shape[1] // len(self.places)
            side = one.shape[-1]
            bias = rows.new_zeros(1, self.config.heads, rows.shape[1], rows.shape[1])
            for at in range(0, count * side, side):
                bias[..., at : at + side, at : at + side] = one
        rows = self.encoder_norm(self.encoder(rows, biased(bias, padding(seen))))
        return self.decoder.project(rows, seen)

    def _memory(self, batch: Batch) -> CrossKeyValues:
        """Of the questions, each with its picture; without questions of the pictures, with the first token as the whole prefix."""
        patches, question = self.encode_image(batch).encoded, batch.question
        if question is None:
            first = torch.full((len(patches), 1), self.config.cls, device=patches.device)
            return self._encode(patches, first, torch.ones_like(first, dtype=torch.bool))
        patches = patches if question.image_of is None else patches[question.image_of]
        return self._encode(patches, question.texts.ids, question.texts.mask)

    def start(self, batch: Batch) -> Cache:
        memory, owner = self._memory(batch), batch.image_of
        if owner is None:
            owner = torch.arange(len(memory), device=self.places.device)
        return Cache(memory.read_by(owner), owner)

    def step(self, state: Cache, tokens: Int[Tensor, " B"]) -> tuple[Float[Tensor, "B V"], Cache]:
        x, past = self.decoder.step(self.text(tokens[:, None], state.position), state.past, state.context)
        return self._scores(x[:, 0]), replace(state, past=past, position=state.position + 1)

    def logits(self, batch: Batch) -> Float[Tensor, "B T V"]:
        tokens, mask = batch.text()
        memory = self._memory(batch)
        if batch.image_of is not None:
            memory = memory.read_by(batch.image_of)
        return self._scores(self.decoder(self.text(tokens), causal(mask), memory))

    def _scores(self, rows: Float[Tensor, "*M D"]) -> Float[Tensor, "*M V"]:
        return F.linear(self.norm(rows), self.text.words.weight)

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """Prefix language modelling: cross-entropy of the text behind the prefix. The prefix is the question where there is one, else a
        random number of the text's own words; without pictures it is all that the encoder reads."""
        tokens, mask = batch.text()
        if batch.question is not None:
            rows, targets = self.logits(batch)[:, :-1], mask[:, 1:]
            return {"prefix": mean_of_all(*caption_loss(rows[targets], tokens[:, 1:][targets]))}
        from pairloom.objectives.masked import masking_generator

        draw = torch.rand(len(tokens), generator=masking_generator(self.training)).to(tokens.device)
        cut = (draw * (mask.sum(1) - 1)).long()
        rows, targets = self._behind(batch, cut)
        scores = self._scores(rows[:, :-1][targets])
        return {"prefix": mean_of_all(*caption_loss(scores, tokens[:, 1:][targets]))}

    def _behind(
        self, batch: Batch, cut: Int[Tensor, " B"]
    ) -> tuple[Float[Tensor, "B T D"], Bool[Tensor, "B _"]]:
        """Rows of the decoder where tokens 0 to cut are the prefix and the decoder reads on from token `cut`, and which tokens, from
        the second on, it has to write."""
        tokens, mask = batch.text()
        patches = None
        if batch.images is not None or batch.encoded is not None:
            patches = self.encode_image(batch).encoded
            patches = patches if batch.image_of is None else patches[batch.image_of]
        place = torch.arange(tokens.shape[1], device=tokens.device)
        memory = self._encode(patches, tokens, mask & (place <= cut[:, None]))
        itself = torch.eye(tokens.shape[1], dtype=torch.bool, device=tokens.device)  # a row before the cut
        seen = causal(mask & (place >= cut[:, None])) | itself
        rows = self.decoder(self.text(tokens), seen, memory)
        return rows, mask[:, 1:] & (place[1:] > cut[:, None])


def _network(c: Config) -> tuple[nn.Module, int]:
    """What makes a map of a picture, and its channels."""
    from pairloom.blocks import encoder
    from pairloom.blocks.patch_embed import stem_of

    if c.network.startswith("resnet"):
        return encoder.resnet(encoder.RESNET[c.network][: c.stages])
    return stem_of("residual" if c.network == "residual" else "patch", c.patch, c.width), c.width
