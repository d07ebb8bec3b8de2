"""VL-T5: Unifying Vision-and-Language Tasks via Text Generation (Cho et al., 2021, arXiv 2102.02779): regions join the words in
the encoder of a T5, and every task is text that is written after a source text.

Prose, tables and deviations: docs/papers/vl_t5.md.

B texts, N pictures of an example, R regions of a picture, F features, T tokens, M predictions, D width, V vocabulary.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from pairloom.abilities import CAPTION, MATCH, Ability
from pairloom.blocks.cache import Cache
from pairloom.blocks.cross import CrossKeyValues
from pairloom.blocks.masks import causal, padding
from pairloom.blocks.region_names import NamedRegionEmbed
from pairloom.blocks.relative import BucketedBias, biased
from pairloom.blocks.text import begin_with
from pairloom.blocks.transformer import ModeSharing, Stack, TransformerConfig
from pairloom.data.batch import Batch, Texts
from pairloom.systems import _fusion as fusion

if TYPE_CHECKING:
    from pairloom.data.feed import RegionFeed
    from pairloom.data.records import Regions


@dataclass(frozen=True)
class Config:
    """T5 base on 36 regions; the vocabulary ends with 100 sentinels of spans and 100 names of regions, each counted from behind.

    inside: width of all heads together. start: the token that a decoder reads first. true, false: what is written of a pair that
    belongs together, and of another. caption_source, match_source, span_source, question_source: ids that stand before the source
    of a task ("caption:" and so on). caption, match, span: weights of the tasks (0: not learned). masked: share of the words in spans.
    """

    features: int = 2048
    regions: int = 36
    vocabulary: int = 32200
    sentinels: int = 100
    length: int = 20
    answer_length: int = 20
    width: int = 768
    inside: int = 768
    hidden: int = 3072
    depth: int = 12
    heads: int = 12
    buckets: int = 32
    farthest: int = 128
    dropout: float = 0.1
    pad: int = 0
    start: int = 0
    cls: int = 0
    sep: int = 1
    true: int = 1176
    false: int = 6136
    caption_source: tuple[int, ...] = ()
    match_source: tuple[int, ...] = ()
    span_source: tuple[int, ...] = ()
    question_source: tuple[int, ...] = ()
    caption: float = 1.0
    match: float = 1.0
    span: float = 1.0
    masked: float = 0.15


TINY = Config(
    features=24, regions=5, vocabulary=64, sentinels=4, length=12, answer_length=12, width=32, inside=32, hidden=64, depth=2,
    heads=2, buckets=8, farthest=16, dropout=0.0, cls=2, sep=3, true=5, false=6, caption_source=(7,), match_source=(8, 9),
    span_source=(9,), question_source=(10,),
)  # fmt: skip
PRESETS: dict[str, Config] = {"base": Config(), "tiny": TINY}
RECIPES: dict[str, dict[str, object]] = {
    "base": dict(lr=1e-4, batch=320, epochs=30, schedule="linear", warmup=0.05, weight_decay=0.01, clip=1.0),
}


def feed(config: Config) -> RegionFeed:
    """The 36 surest regions of a picture."""
    from pairloom.data.feed import RegionFeed

    return RegionFeed(config.features, config.regions)


def example(config: Config, generator: torch.Generator) -> Batch:
    """Six texts with random regions."""
    from pairloom.data.random_batch import random_regions

    return random_regions(config, generator, classes=0)


def named_tokens(config: Config) -> dict[str, str]:
    """What an own vocabulary needs behind its words, in this order, and the setting that is the id of each ("": none): the tasks, "true"
    and "false", the sentinels and the names of regions."""
    tasks = {name: f"{name}_source" for name in ("caption", "match", "span", "question")}
    settings = {**tasks, "true": "true", "false": "false"}
    names = {f"<{name}>": setting for name, setting in settings.items()}
    counted = range(config.sentinels - 1, -1, -1)
    return {**names, **{f"<{kind}_{at}>": "" for kind in ("extra_id", "vis_extra_id") for at in counted}}


class System(nn.Module):
    """VL-T5."""

    trains_on = ("pairs", "questions")

    def __init__(self, config: Config) -> None:
        super().__init__()
        c = self.config = config
        self.first_token, self.last_token = c.cls, c.sep
        shape = TransformerConfig(
            c.width, c.depth, c.heads, "pre", 1e-6, c.dropout, growth=c.hidden / c.width, activation="relu",
            norm_kind="rms", bias=False, inside=c.inside, scale=1.0, context=c.width,
        )  # fmt: skip
        self.words = nn.Embedding(c.vocabulary, c.width)
        self.regions = NamedRegionEmbed(c.features, c.width)
        self.encoder, self.decoder = Stack(shape), Stack(shape, ModeSharing(cross=1))
        self.encoder_norm, self.norm = (nn.RMSNorm(c.width, eps=1e-6) for _ in range(2))
        self.bias = BucketedBias(c.heads, c.buckets, c.farthest)
        self.past_bias = BucketedBias(c.heads, c.buckets, c.farthest, causal=True)
        self.dropout = nn.Dropout(c.dropout)
        for part in self.modules():  # T5's: queries are small in place of a scale
            if isinstance(part, nn.Linear):
                nn.init.normal_(part.weight, std=part.in_features**-0.5)
        for layer in (*self.encoder.layers, *self.decoder.layers):
            for attention in (*layer.attend, *layer.cross):
                nn.init.normal_(attention.fn.query.weight, std=(c.width * c.inside / c.heads) ** -0.5)
        nn.init.normal_(self.words.weight, std=1.0)

    @property
    def abilities(self) -> tuple[Ability, ...]:
        writes = (CAPTION, Ability("answer", reads="question", by="likelihood"))
        return (MATCH, *writes) if self.config.match else writes

    def _encode(self, sources: Texts, regions: Regions | None, owner: Tensor | None = None) -> CrossKeyValues:
        """The encoder over [source; regions]. Only words have relative positions, to words. owner: the regions of each source."""
        rows, seen = self.words(sources.ids), sources.mask
        length = rows.shape[1]
        if regions is not None:
            regions = regions if owner is None else regions[owner]
            rows = torch.cat([rows, self.regions(regions.features, regions.boxes, self.words.weight)], 1)
            seen = torch.cat([seen, regions.mask.flatten(1)], 1)
        more = rows.shape[1] - length
        bias = F.pad(self.bias(length, length), (0, more, 0, more))
        rows = self.encoder(self.dropout(rows), biased(bias, padding(seen)))
        return self.decoder.project(self.dropout(self.encoder_norm(rows)), seen)

    def _sources(self, before: tuple[int, ...], texts: Texts | None, rows: int) -> Texts:
        """Source texts: the ids of the task, then the text without its first token (None: the end alone)."""
        task = torch.tensor([*before, self.config.sep], device=self.words.weight.device).expand(rows, -1)
        if texts is None:
            return Texts.unpadded(task)
        task = task[:, :-1]
        mask = torch.cat([torch.ones_like(task, dtype=torch.bool), texts.mask[:, 1:]], 1)
        return Texts(torch.cat([task, texts.ids[:, 1:]], 1), mask)

    def _memory(self, batch: Batch) -> CrossKeyValues:
        """Of the questions, each with its picture; without questions of the pictures, with the task of captions as the source."""
        regions, question = batch.required("regions"), batch.question
        if question is None:
            return self._encode(self._sources(self.config.caption_source, None, len(regions)), regions)
        sources = self._sources(self.config.question_source, question.texts, len(question))
        return self._encode(sources, regions, question.image_of)

    def match(self, batch: Batch) -> Float[Tensor, " B"]:
        """Log-odds of writing "true" in place of "false" first, after the text as the source of the task of matching."""
        c, texts = self.config, batch.required("texts")
        first = Texts.unpadded(texts.ids.new_full((len(texts), 1), c.start))
        scores = self._write(first.ids, first.mask, self._matching(texts, batch))[:, 0].float()
        return scores[:, c.true] - scores[:, c.false]

    def _matching(self, texts: Texts, batch: Batch) -> CrossKeyValues:
        sources = self._sources(self.config.match_source, texts, len(texts))
        return self._encode(sources, batch.required("regions"), fusion.owner_of(batch))

    def start(self, batch: Batch) -> Cache:
        memory = self._memory(batch)
        every = torch.arange(len(memory), device=self.words.weight.device)
        owner = every if batch.image_of is None else batch.image_of
        return Cache(memory.read_by(owner), owner)

    def step(self, state: Cache, tokens: Int[Tensor, " B"]) -> tuple[Float[Tensor, "B V"], Cache]:
        from pairloom.blocks.step import step_block

        tokens = torch.full_like(tokens, self.config.start) if state.position == 0 else tokens
        x, grown = self.words(tokens)[:, None], []
        bias = self.past_bias(1, state.position + 1)
        for index, layer in enumerate(self.decoder.layers):
            past = state.past[index] if state.past else None
            x, row = step_block(layer, x, past, state.context, index, mask=bias)
            grown.append(row)
        return self._scores(x[:, 0]), replace(state, past=grown, position=state.position + 1)

    def logits(self, batch: Batch) -> Float[Tensor, "B T V"]:
        tokens, mask = batch.text()
        memory = self._memory(batch)
        memory = memory if batch.image_of is None else memory.read_by(batch.image_of)
        return self._write(begin_with(self.config.start, tokens), mask, memory)

    def _write(
        self, tokens: Int[Tensor, "B T"], mask: Bool[Tensor, "B T"], memory: CrossKeyValues
    ) -> Float[Tensor, "B T V"]:
        count = tokens.shape[1]
        seen = biased(self.past_bias(count, count), causal(mask))
        return self._scores(self.decoder(self.dropout(self.words(tokens)), seen, memory))

    def _scores(self, rows: Float[Tensor, "*M D"]) -> Float[Tensor, "*M V"]:
        return F.linear(self.dropout(self.norm(rows)) * self.config.width**-0.5, self.words.weight)

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """One loss for every task: the mean cross-entropy of a target's tokens, mean over the examples. Answers where the batch has
        questions; else captions, matching (half of the texts are another picture's) and spans."""
        from pairloom.objectives.masked import masking_generator
        from pairloom.objectives.mismatch import mismatched_half
        from pairloom.objectives.spans import corrupt_spans

        c, generator = self.config, masking_generator(self.training)
        tokens, mask = batch.text()
        losses = {}
        if batch.question is not None or c.caption:
            name, weight = ("caption", c.caption) if batch.question is None else ("answer", 1.0)
            losses[name] = weight * _mean_loss(self.logits(batch), Texts(tokens, mask), batch.weights)
        if batch.question is not None:
            return losses
        owner = fusion.owner_of(batch)
        if c.match:
            partner, wrong = mismatched_half(fusion.picture_ids(batch, owner), generator)
            memory = self._matching(batch.required("texts")[partner], batch)
            word = torch.where(wrong, c.false, c.true)
            ids = torch.stack([torch.full_like(word, c.start), word, torch.full_like(word, c.sep)], 1)
            target = Texts.unpadded(ids)
            losses["match"] = c.match * _mean_loss(self._write(ids, target.mask, memory), target)
        if c.span:
            source, target = (Texts(*one) for one in corrupt_spans(tokens, mask, c, generator))
            memory = self._encode(source, batch.required("regions"), owner)
            losses["span"] = c.span * _mean_loss(self._write(target.ids, target.mask, memory), target)
        return losses


def _mean_loss(
    logits: Float[Tensor, "B T V"], target: Texts, weights: Float[Tensor, " B"] | None = None
) -> Float[Tensor, ""]:
    each = F.cross_entropy(logits[:, :-1].float().transpose(1, 2), target.ids[:, 1:], reduction="none")
    real = target.mask[:, 1:]
    mean = (each * real).sum(1) / real.sum(1).clamp(min=1)
    return mean.mean() if weights is None else (mean * weights).sum() / weights.sum().clamp(min=1e-12)
