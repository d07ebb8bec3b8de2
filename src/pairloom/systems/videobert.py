"""VideoBERT: A Joint Model for Video and Language Representation Learning (Sun et al., 2019, arXiv 1904.01766): a BERT over what is
said in a video and over visual words, the clusters of its clips' features.

Prose, tables and deviations: docs/papers/videobert.md.

B texts, L visual words of a video, T tokens, D width, V vocabulary, K visual words there are.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from pairloom.abilities import MATCH
from pairloom.blocks.embed import TextEmbed
from pairloom.blocks.language import LanguageHead
from pairloom.blocks.masks import padding
from pairloom.blocks.transformer import Stack, initialise
from pairloom.data.batch import Batch, Texts
from pairloom.data.records import Codes
from pairloom.objectives.masked import mask_tokens, mask_words, masked_loss, masking_generator
from pairloom.objectives.mismatch import mismatched_half
from pairloom.systems import _fusion as fusion

if TYPE_CHECKING:
    from pairloom.data.feed import ClipFeed, CodeFeed

VIDEO_MASK = 0  # the row of the visual words that stands for a hidden one; word k has row k + 1


@dataclass(frozen=True)
class Config(fusion.BertSizes):
    """BERT large with 20,736 = 12 ** 4 visual words more. most: visual words of a video. text, video, match: weights of the three
    regimes. subsample: in training every first to so-manieth visual word of a pair is read, drawn anew at each step (0: all).
    clip_features: width of a clip's features, from which the visual words are made by branches ** levels clusters that travel in
    the model (0: it is handed visual words)."""

    length: int = 64
    width: int = 1024
    depth: int = 24
    heads: int = 16
    codes: int = 20736
    most: int = 64
    text: float = 1.0
    video: float = 1.0
    match: float = 1.0
    subsample: int = 5
    clip_features: int = 0
    branches: int = 12
    levels: int = 4


TINY = Config(**fusion.TINY_BERT | {"positions": 32}, codes=16, most=6, subsample=2, branches=4, levels=2)
PRESETS: dict[str, Config] = {"large": Config(), "tiny": TINY}
RECIPES: dict[str, dict[str, object]] = {"large": dict(lr=1e-5, batch=128, steps=500_000)}


def feed(config: Config) -> ClipFeed | CodeFeed:
    """Features of the clips of a video, or its visual words."""
    from pairloom.data.feed import ClipFeed, CodeFeed

    if config.clip_features:
        return ClipFeed(config.clip_features, config.most)
    return CodeFeed(config.codes, config.most)


def example(config: Config, generator: torch.Generator) -> Batch:
    """Six texts with random visual words of different numbers."""
    from pairloom.data.random_batch import ROWS, random_texts

    ids = torch.randint(config.codes, (ROWS, 6), generator=generator)
    mask = torch.arange(6) < torch.tensor([6, 4, 1, 3, 6, 2])[:, None]
    return Batch(texts=random_texts(config, generator), codes=Codes(ids, mask), image_ids=torch.arange(ROWS))


class System(nn.Module):
    """VideoBERT. A row is [CLS] text [>] visual words [SEP]; a text alone has no [>], a video alone no text."""

    abilities = (MATCH,)
    trains_on = ("clips",)
    clusters: Any  # None where visual words are handed in

    def __init__(self, config: Config) -> None:
        super().__init__()
        c = self.config = config
        if c.clip_features and c.codes != c.branches**c.levels:
            raise ValueError(f"{c.branches} ** {c.levels} clusters are not {c.codes} visual words")
        self.clusters = None
        if c.clip_features:
            from pairloom.blocks.clusters import ClusterTree

            self.clusters = ClusterTree(c.clip_features, c.branches, c.levels)
        self.text = TextEmbed(c.vocabulary, c.positions, c.width, 1e-12, c.dropout, segments=2)
        self.visual = nn.Embedding(c.codes + 1, c.width)
        self.turn = nn.Parameter(torch.zeros(c.width))  # [>], between text and video
        self.stack = Stack(c.layers())
        self.pooler, self.match_head = nn.Linear(c.width, c.width), nn.Linear(c.width, 2)
        self.language_head = LanguageHead(c.width, c.vocabulary, 1e-12)
        self.visual_head = LanguageHead(c.width, c.codes, 1e-12)
        initialise(self)
        nn.init.normal_(self.turn, std=0.02)

    def match(self, batch: Batch) -> Float[Tensor, " B"]:
        """Log-odds that what is said and the video belong together."""
        logits = self.match_logits(batch)
        return logits[:, 1] - logits[:, 0]

    def match_logits(self, batch: Batch) -> Float[Tensor, "B 2"]:
        """The linguistic-visual alignment from [CLS]; class 1 = they belong together."""
        return self._align(batch.required("texts"), self.visual_words(batch)[fusion.owner_of(batch)])

    def fit_clusters(self, vectors: Float[Tensor, "n F"], seed: int) -> None:
        """Learn the visual words from the features of clips."""
        self.clusters.fit(vectors, seed)

    def visual_words(self, batch: Batch) -> Codes:
        """The visual words of the videos: those of the batch, or the clusters of its clips."""
        if batch.codes is not None or self.clusters is None:
            return batch.required("codes")
        clips = batch.required("clips")
        return Codes(self.clusters(clips.features), clips.mask)

    def video_scores(self, texts: Texts, length: int) -> Float[Tensor, "B L K"]:
        """What a video of so many visual words shows, by what is said: scores of the words at each hidden place."""
        hidden = torch.full((len(texts), length), VIDEO_MASK - 1, device=texts.ids.device)
        _, video = self._read(texts, Codes(hidden, torch.ones_like(hidden, dtype=torch.bool)))
        return self.visual_head(video, self.visual.weight[1:])

    def word_scores(self, texts: Texts, codes: Codes) -> Float[Tensor, "B T V"]:
        """What is said at each place of a text, [MASK] where it is open, by what the video shows."""
        rows, _ = self._read(texts, codes)
        return self.language_head(rows[:, : texts.ids.shape[1]], self.text.words.weight)

    def _align(self, texts: Texts, codes: Codes) -> Float[Tensor, "B 2"]:
        first = self._read(texts, codes)[0][:, 0]
        return self.match_head(torch.tanh(self.pooler(first))).float()

    def _read(
        self, texts: Texts | None, codes: Codes | None
    ) -> tuple[Float[Tensor, "B _ D"], Float[Tensor, "B L D"]]:
        """Rows of text and of visual words (masked ones are -1). Positions go on from a text's own last token, so that padding has no
        influence."""
        c, embed = self.config, self.text
        known = codes.ids if texts is None else texts.ids  # type: ignore[union-attr]
        if texts is None:
            texts = Texts.unpadded(known.new_tensor([c.cls]).expand(len(known), 1))
        ids, mask = texts.ids, texts.mask
        if codes is None:
            rows = self.stack(embed(ids), padding(mask))
            return rows, rows[:, :0]
        own = mask & (ids != c.sep)  # [SEP] ends the whole row, behind the video
        count = own.sum(1)[:, None]
        length = codes.mask.sum(1)[:, None]
        steps = torch.arange(codes.ids.shape[1], device=ids.device)
        video = self.visual(codes.ids + 1) + embed.positions(count + 1 + steps)
        turn = self.turn + embed.positions(count)
        end = embed.words(torch.full_like(count, c.sep)) + embed.positions(count + 1 + length)
        late = embed.segments.weight[1]  # type: ignore[union-attr]
        behind = torch.cat([turn, video, end], 1) + late
        x = torch.cat([embed(ids), embed.dropout(embed.norm(behind))], 1)
        one = torch.ones_like(mask[:, :1])
        x = self.stack(x, padding(torch.cat([own, one, codes.mask, one], 1)))
        return x, x[:, ids.shape[1] + 1 : -1]

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """A weighted sum of three regimes: hidden words of a text alone, hidden visual words of a video alone, and alignment of both,
        where half of the videos get another row's text."""
        c, generator = self.config, masking_generator(self.training)
        owner, texts = fusion.owner_of(batch), batch.required("texts")
        codes = self.visual_words(batch)[owner]
        masked = mask_words(texts.ids, texts.mask, c, generator)
        rows, _ = self._read(replace(texts, ids=masked.ids), None)
        words = self.language_head(rows[masked.hidden], self.text.words.weight)
        seen = mask_tokens(codes.ids, codes.mask, VIDEO_MASK - 1, (0, c.codes), generator, c.masked)
        _, video = self._read(None, replace(codes, ids=seen.ids))
        table = self.visual.weight[1:]
        partner, wrong = mismatched_half(fusion.picture_ids(batch, owner), generator)
        pairs = self._align(texts[partner], self._subsampled(codes, generator))
        return {
            "text": c.text * masked_loss(words, texts.ids[masked.hidden]),
            "video": c.video
            * masked_loss(self.visual_head(video[seen.hidden], table), codes.ids[seen.hidden]),
            "match": c.match * F.cross_entropy(pairs, (~wrong).long()),
        }

    def _subsampled(self, codes: Codes, generator: torch.Generator) -> Codes:
        """Against speech that does not fit what is seen at its time: every first to fifth visual word of a pair, in training."""
        if not self.training or not self.config.subsample:
            return codes
        step = int(torch.randint(1, self.config.subsample + 1, (), generator=generator))
        return Codes(codes.ids[:, ::step], codes.mask[:, ::step])
